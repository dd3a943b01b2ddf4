"""What a router optimises: quality, less a price on cost and latency, within constraints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.errors import RoutelabError
from routelab.request import is_finite

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Objective:
    """Utility = quality − cost_weight·(cost_usd − credit) − latency_weight·latency_s, within constraints on estimates.

    Args:
        cost_weight: λ ≥ 0, quality per USD.
        latency_weight: μ ≥ 0, quality per second.
        min_quality: estimated quality an arm must reach, in [0, 1].
        max_cost: estimated cost an arm may not pass, USD per request.
        max_latency: estimated latency an arm may not pass, seconds.
        credit: USD ≥ 0 that this request would cost less than estimated at each arm (k,), for instance by a prompt
            cache. It counts in the utility, not in ``max_cost``.

    Raises:
        RoutelabError: a negative or non-finite weight or credit, or a bound outside its range.

    >>> Objective(cost_weight=10.0).utility(np.array([0.9, 0.8]), np.array([0.02, 0.001]))
    array([0.7 , 0.79])
    """

    cost_weight: float = 0.0
    latency_weight: float = 0.0
    min_quality: float | None = None
    max_cost: float | None = None
    max_latency: float | None = None
    credit: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse weights and bounds that mean nothing."""
        for name in ("cost_weight", "latency_weight", "max_cost", "max_latency"):
            value = getattr(self, name)
            if value is not None and not (is_finite(value) and value >= 0.0):
                raise RoutelabError(f"Objective.{name} is {value!r}; give a finite number ≥ 0")
        quality = self.min_quality
        if quality is not None and not (is_finite(quality) and 0.0 <= quality <= 1.0):
            raise RoutelabError(f"Objective.min_quality is {quality!r}; give a number in [0, 1]")
        if self.credit is not None:
            credit = tuple(self.credit)
            if not all(is_finite(usd) and usd >= 0.0 for usd in credit):
                raise RoutelabError(f"Objective.credit is {credit!r}; give finite USD ≥ 0, one for each arm")
            object.__setattr__(self, "credit", credit)

    def __str__(self) -> str:
        """What is not as in ``Objective()``; "quality" alone where nothing is.

        >>> print(Objective(cost_weight=10.0, min_quality=0.5), Objective(), sep="; ")
        cost_weight 10, min_quality 0.5; quality
        """
        names = ("cost_weight", "latency_weight", "min_quality", "max_cost", "max_latency")
        told = {name: getattr(self, name) for name in names}
        return ", ".join(f"{name} {value:g}" for name, value in told.items() if value) or "quality"

    @property
    def constrained(self) -> bool:
        """Whether any bound is set."""
        return self.min_quality is not None or self.max_cost is not None or self.max_latency is not None

    def net(self, cost: Floats) -> Floats:
        """Cost (…, k) less the credit, USD; may be negative.

        Raises:
            RoutelabError: there are more or fewer credits than arms.
        """
        if self.credit is None:
            return cost
        if np.shape(cost)[-1:] != (len(self.credit),):
            raise RoutelabError(f"Objective.credit has {len(self.credit)} arms, the costs are {np.shape(cost)}")
        net: Floats = cost - np.array(self.credit)
        return net

    def utility(self, quality: Floats, cost: Floats, latency: Floats | None = None) -> Floats:
        """Unconstrained utility, elementwise, NaN where an outcome is; latency needed only when it has a weight."""
        value = quality - self.cost_weight * self.net(cost) if self.cost_weight else quality
        if self.latency_weight:
            if latency is None:
                raise RoutelabError("Objective.latency_weight is set, but no latency is known; train on latency_s")
            value = value - self.latency_weight * latency
        return value

    def feasible(self, quality: Floats, cost: Floats, latency: Floats | None = None) -> NDArray[np.bool_]:
        """Arms (…, k) whose estimates meet the constraints; where none does, those with the least violation.

        Violations are relative to their bounds, and add up.

        Raises:
            RoutelabError: there is a bound on latency, but a latency is unknown.
        """
        excess = np.zeros(np.broadcast_shapes(np.shape(quality), np.shape(cost)))
        if self.min_quality is not None:
            excess += np.maximum(0.0, self.min_quality - quality) / max(self.min_quality, 1e-12)
        if self.max_cost is not None:
            excess += np.maximum(0.0, cost - self.max_cost) / max(self.max_cost, 1e-12)
        if self.max_latency is not None:
            excess += np.maximum(0.0, _known("max_latency", latency) - self.max_latency) / max(self.max_latency, 1e-12)
        mask: NDArray[np.bool_] = excess <= excess.min(axis=-1, keepdims=True)
        return mask

    def scores(self, quality: Floats, cost: Floats, latency: Floats | None = None) -> Floats:
        """Utility (…, k) of the feasible arms, −inf for the others.

        Raises:
            RoutelabError: the objective needs latencies, but one is unknown.
        """
        value = self.utility(quality, cost, _known("latency_weight", latency) if self.latency_weight else None)
        if not self.constrained:
            return value
        return np.where(self.feasible(quality, cost, latency), value, -np.inf)


def _known(name: str, latency: Floats | None) -> Floats:
    if latency is None or np.isnan(latency).any():
        raise RoutelabError(f"Objective.{name} is set, but not every latency is known; train on latency_s")
    return latency


def cost_weight_sweep(cost: Floats, settings: int = 32) -> Floats:
    """The default trade-off sweep: 0, then logarithmic up to where the cheapest provider always wins.

    As quality spans at most [0, 1], the cheapest provider wins for sure once λ times the gap to the next mean
    cost reaches 1; λ starts where the widest gap is worth 0.001 of quality. Only mean training costs are used.

    Args:
        cost: (n, k) USD, NaN = unobserved.
        settings: length of the sweep, between 2 and 32.

    >>> cost_weight_sweep(np.array([[0.001, 0.01, 0.1]]), settings=4).round(3)
    array([0.00000e+00, 1.00000e-02, 1.05900e+00, 1.11111e+02])
    """
    if not 2 <= settings <= 32:
        raise RoutelabError(f"a sweep has between 2 and 32 settings, got {settings}")
    means = np.sort(np.nanmean(cost, axis=0))
    widest = means[-1] - means[0]
    if not widest > 0.0:
        return np.zeros(1)
    gaps = means[1:] - means[0]
    narrowest = max(float(gaps[gaps > 0.0][0]), widest * 1e-6)
    return np.concatenate([[0.0], np.geomspace(1.0 / narrowest, 1e-3 / widest, settings - 1)[::-1]])
