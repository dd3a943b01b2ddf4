"""RandomPolicy: a fixed mixture of providers, blind to the request."""

from __future__ import annotations

import numpy as np

from routelab.policies.base import Choice, Features, Floats
from routelab.policies.means import MeansPolicy
from routelab.policies.objective import Objective


class RandomPolicy(MeansPolicy):
    """Each provider with the same probability 1/k: the negative control, and the best logger for evaluation.

    >>> policy = RandomPolicy().fit(np.zeros((1, 1)), np.array([[0.2, 0.9]]), np.ones((1, 2)))
    >>> policy.select(np.zeros(1), Objective(), np.random.default_rng(0)).propensity
    0.5
    """

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """Uniform (n, k), whatever the objective."""
        self.check_fitted()
        return np.full((len(X), len(self.providers_)), 1.0 / len(self.providers_))

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Draw an arm, propensity 1/k."""
        self.check_fitted()
        k = len(self.providers_)
        return Choice(int(rng.integers(k)), 1.0 / k, self.predict(x[None, :]))
