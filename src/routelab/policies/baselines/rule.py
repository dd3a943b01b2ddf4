"""RulePolicy: the hand-written router that teams start with."""

from __future__ import annotations

import numpy as np

from routelab.policies.base import Choice, Features, Floats
from routelab.policies.means import MeansPolicy
from routelab.policies.objective import Objective
from routelab.request import REQUEST_NAMES

_COMPLEXITY, _REASONING, _TIER = map(REQUEST_NAMES.index, ("estimated_complexity", "requires_reasoning", "user_tier"))


class RulePolicy(MeansPolicy):
    """The harder the request, the dearer the provider: difficulty picks the rank in ascending mean cost.

    difficulty = 0.6·estimated_complexity + 0.3·requires_reasoning + 0.1·premium tier, in [0, 1]; the provider's rank is
    ⌊difficulty·k⌋. It reads the first six columns of ``RequestFeaturizer`` and learns only the order of costs, so a
    router can use it before any outcome is known.

    >>> X = np.zeros((2, 6)); X[1, 1:3] = 1.0
    >>> policy = RulePolicy().fit(X, np.full((2, 2), 0.5), np.array([[0.01, 0.1]] * 2), providers=("small", "large"))
    >>> policy.action_probabilities(X, Objective())
    array([[1., 0.],
           [0., 1.]])
    """

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """One-hot (n, k) at the provider of the rank that the difficulty asks for, whatever the objective."""
        self.check_fitted()
        k = len(self.providers_)
        difficulty = 0.6 * X[:, _COMPLEXITY] + 0.3 * X[:, _REASONING] + 0.1 * X[:, _TIER]
        rank = np.minimum((difficulty * k).astype(np.intp), k - 1)
        out = np.zeros((len(X), k))
        out[np.arange(len(X)), np.argsort(self.means_[1], kind="stable")[rank]] = 1.0
        return out

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Choose by the rule, propensity 1."""
        arm = int(self.action_probabilities(x[None, :], objective)[0].argmax())
        return Choice(arm, 1.0, self.predict(x[None, :]))
