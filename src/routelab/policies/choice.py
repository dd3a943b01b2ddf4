"""What a policy says: its estimates of all arms, and the arm it chose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import observed_mean
from routelab.errors import PolicyError
from routelab.html import Card, Shown, number
from routelab.policies.objective import Objective

Floats = NDArray[np.float64]
Features = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, repr=False)
class Estimates(Shown):
    """What a policy expects of each arm.

    Args:
        quality: (n, k) in [0, 1].
        cost: (n, k) USD per request.
        latency: (n, k) seconds, or None where no latency was ever observed.
        quality_se: (n, k) standard error of ``quality``, or None.
    """

    quality: Floats
    cost: Floats
    latency: Floats | None = None
    quality_se: Floats | None = None

    def cells(self) -> list[tuple[str, ...]]:
        """Means over the requests as text, a row per arm: quality, ± SE, USD per 1,000, latency; "" is not known."""
        columns = (self.quality, self.quality_se, 1e3 * self.cost, self.latency)
        arms = self.quality.shape[1]
        means = [[""] * arms if one is None else [number(mean) for mean in observed_mean(one)] for one in columns]
        return list(zip(*means, strict=True))

    def _card(self) -> Card:
        n, k = self.quality.shape
        header = ("arm", "quality", "± SE", "USD per 1,000", "latency (s)")
        rows = [(str(arm), *row) for arm, row in enumerate(self.cells())]
        return Card(f"{n} requests × {k} arms", rows, header, ["means over the requests"] if n > 1 else [])

    def scores(self, objective: Objective) -> Floats:
        """Constrained utility (n, k) under ``objective``."""
        return objective.scores(self.quality, self.cost, self.latency)

    def greedy(self, objective: Objective) -> Floats:
        """One-hot (n, k) at the arm of the highest constrained utility."""
        scores = self.scores(objective)
        probabilities = np.zeros(scores.shape)
        probabilities[np.arange(len(scores)), scores.argmax(axis=1)] = 1.0
        return probabilities


class Choice:
    """One decision: the arm, its propensity and the estimates behind it.

    Args:
        arm: column index of the chosen provider.
        propensity: probability in (0, 1] with which the policy chose this arm, or a function that computes those (k,)
            of all arms, at this moment whenever it is called. A policy that changes as it chooses gives the function.
        estimates: of this request, shapes (1, k), or a function that computes them.

    A function is called when its value is first read, maybe by another thread (that which records the decision).

    >>> expected = Estimates(np.array([[0.9, 0.5]]), np.zeros((1, 2)))
    >>> Choice(1, lambda: np.array([0.75, 0.25]), expected).propensity, Choice(1, 1.0, expected).probabilities
    (0.25, array([0., 1.]))
    """

    __slots__ = ("_estimates", "_propensity", "arm")

    def __init__(
        self,
        arm: int,
        propensity: float | Floats | Callable[[], Floats],
        estimates: Estimates | Callable[[], Estimates],
    ) -> None:
        self.arm = arm
        self._propensity = propensity
        self._estimates = estimates

    @property
    def estimates(self) -> Estimates:
        """What the policy expected of each arm, shapes (1, k)."""
        known = self._estimates
        if callable(known):
            known = self._estimates = known()
        return known

    @property
    def complete(self) -> bool:
        """Whether it tells the probabilities of all arms."""
        return not isinstance(self._propensity, float | int) or self._propensity == 1.0

    @property
    def probabilities(self) -> Floats:
        """Probability (k,) of each arm.

        Raises:
            PolicyError: the policy told that of the chosen arm alone.
        """
        known = self._propensity
        if isinstance(known, float | int):
            if not self.complete:
                raise PolicyError("the policy told the propensity of its choice alone; ask its `propensities`")
            certain: Floats = np.eye(self.estimates.quality.shape[1])[self.arm]
            return certain
        if callable(known):
            known = self._propensity = known()
        return known

    @property
    def propensity(self) -> float:
        """Probability of the chosen arm."""
        return self._propensity if isinstance(self._propensity, float | int) else float(self.probabilities[self.arm])

    def __repr__(self) -> str:
        return f"Choice(arm={self.arm}, propensity={self.propensity:.4g})"
