"""FixedPolicy: always the same provider."""

from __future__ import annotations

import numpy as np

from routelab.policies.base import Choice, Features, Floats
from routelab.policies.means import MeansPolicy
from routelab.policies.objective import Objective


class FixedPolicy(MeansPolicy):
    """Always one provider: the one named, or the one with the best training quality (``best-single``).

    Args:
        provider: name of the arm, or None for the best mean training quality.

    Attributes:
        arm_: column of that provider.

    >>> policy = FixedPolicy().fit(np.zeros((1, 1)), np.array([[0.2, 0.9]]), np.ones((1, 2)))
    >>> policy.action_probabilities(np.zeros((1, 1)), Objective())
    array([[0., 1.]])
    """

    def __init__(self, provider: str | None = None) -> None:
        self.provider = provider

    @property
    def arm_(self) -> int:
        """Column of the provider that is always chosen."""
        self.check_fitted()
        return int(self.means_[0].argmax()) if self.provider is None else self._position(self.provider)

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """One-hot (n, k) at the fixed arm, whatever the objective."""
        self.check_fitted()
        out = np.zeros((len(X), len(self.providers_)))
        out[:, self.arm_] = 1.0
        return out

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Choose the fixed arm, propensity 1."""
        return Choice(self.arm_, 1.0, self.predict(x[None, :]))
