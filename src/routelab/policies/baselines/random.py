"""RandomPolicy: a fixed mixture of providers, blind to the request."""

from __future__ import annotations

import numpy as np

from routelab.hull import upper_hull
from routelab.policies.base import Choice, Features, Floats
from routelab.policies.means import MeansPolicy
from routelab.policies.objective import Objective


class RandomPolicy(MeansPolicy):
    """Each provider with probability 1/k: the negative control, and the best logger for evaluation.

    With ``max_cost`` it is the cost-matched mixture that a router has to beat: of the two neighbouring providers on
    the upper hull of the training means, such that the expected training cost is the bound. A bound below the
    cheapest gives the cheapest, one beyond the last that improves quality gives that one.

    >>> policy = RandomPolicy().fit(np.zeros((1, 1)), np.array([[0.2, 0.9]]), np.array([[1.0, 3.0]]))
    >>> policy.select(np.zeros(1), Objective(), np.random.default_rng(0)).propensity
    0.5
    >>> policy.action_probabilities(np.zeros((1, 1)), Objective(max_cost=1.5))
    array([[0.75, 0.25]])
    """

    def mixture(self, objective: Objective) -> Floats:
        """Probability (k,) of each arm under ``objective``; only its ``max_cost`` counts."""
        self.check_fitted()
        arms = np.eye(len(self.providers_))
        if objective.max_cost is None:
            return np.full(len(arms), 1.0 / len(arms))
        cost = self.means_[1]
        hull = upper_hull(cost, self.means_[0])
        return np.array([np.interp(objective.max_cost, cost[hull], arm[hull]) for arm in arms])

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """The same mixture for each of the n requests, (n, k)."""
        return np.tile(self.mixture(objective), (len(X), 1))

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Draw an arm from the mixture."""
        mixture = self.mixture(objective)
        arm = int(rng.choice(len(mixture), p=mixture))
        return Choice(arm, mixture, self.predict(x[None, :]))
