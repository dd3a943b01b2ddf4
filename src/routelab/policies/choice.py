"""What a policy says: its estimates of all arms, and the arm it chose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import observed_mean
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
        propensity: probability in (0, 1] with which the policy chose this arm, or a function that computes it.
        estimates: of this request, shapes (1, k), or a function that computes them.

    A function is called once, when its value is first read (that is, when the decision is recorded).
    """

    __slots__ = ("_estimates", "_propensity", "arm")

    def __init__(
        self, arm: int, propensity: float | Callable[[], float], estimates: Estimates | Callable[[], Estimates]
    ) -> None:
        self.arm = arm
        self._propensity = propensity
        self._estimates = estimates

    @property
    def estimates(self) -> Estimates:
        """What the policy expected of each arm, shapes (1, k)."""
        if callable(self._estimates):
            self._estimates = self._estimates()
        return self._estimates

    @property
    def propensity(self) -> float:
        """Probability of the chosen arm."""
        if callable(self._propensity):
            self._propensity = float(self._propensity())
        return self._propensity

    def __repr__(self) -> str:
        return f"Choice(arm={self.arm}, propensity={self.propensity:.4g})"
