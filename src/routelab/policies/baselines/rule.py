"""RulePolicy: the hand-written router that teams start with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from routelab.errors import PolicyError
from routelab.policies.base import Choice, Features, Floats
from routelab.policies.means import MeansPolicy
from routelab.policies.objective import Objective
from routelab.request import REQUEST_NAMES

_READ = [REQUEST_NAMES.index(name) for name in ("estimated_complexity", "requires_reasoning", "user_tier")]
_ROUNDING = 1e-3


class RulePolicy(MeansPolicy):
    """The harder the request, the dearer the provider: difficulty picks the rank in ascending mean cost.

    difficulty = 0.6·estimated_complexity + 0.3·requires_reasoning + 0.1·premium tier, in [0, 1]; the provider's rank is
    ⌊difficulty·k⌋. It reads the first six columns of ``RequestFeaturizer`` and learns only the order of costs, so a
    router can use it before any outcome is known.

    Args:
        scaling: centre and factor, (2, p), of standardised features (``RequestFeaturizer.scaling_``), which are undone
            first; a column that never varied is taken for its centre. None where features are not standardised.

    >>> X = np.zeros((2, 6)); X[1, 1:3] = 1.0
    >>> policy = RulePolicy().fit(X, np.full((2, 2), 0.5), np.array([[0.01, 0.1]] * 2), providers=("small", "large"))
    >>> policy.action_probabilities(X, Objective())
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(self, scaling: Sequence[Sequence[float]] | None = None) -> None:
        self.scaling = scaling

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """One-hot (n, k) at the provider of the rank that the difficulty asks for, whatever the objective.

        Raises:
            PolicyError: features outside [0, 1], as standardised ones are where ``scaling`` is not given.
        """
        self.check_fitted()
        k = len(self.providers_)
        read = X[:, _READ]
        if self.scaling is not None:
            centre, factor = np.asarray(self.scaling)[:, _READ]
            read = np.round(centre + np.divide(read, factor, out=np.zeros(read.shape), where=factor != 0.0), 6)
        if not ((read > -_ROUNDING) & (read < 1.0 + _ROUNDING)).all():
            raise PolicyError(
                "RulePolicy reads complexity, reasoning and tier in [0, 1], and these features are not; give it the "
                "scaling of a featurizer that standardises, RulePolicy(scaling=featurizer.scaling_.tolist())"
            )
        difficulty = 0.6 * read[:, 0] + 0.3 * read[:, 1] + 0.1 * read[:, 2]
        rank = (difficulty * k).astype(np.intp).clip(0, k - 1)
        out = np.zeros((len(X), k))
        out[np.arange(len(X)), np.argsort(self.means_[1], kind="stable")[rank]] = 1.0
        return out

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Choose by the rule, propensity 1."""
        arm = int(self.action_probabilities(x[None, :], objective)[0].argmax())
        return Choice(arm, 1.0, self.predict(x[None, :]))
