"""A policy's curve: what every evaluation prompt would have cost and earned under each trade-off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.errors import RoutelabError
from routelab.evaluation.crossfit import Curve
from routelab.html import Card, Shown, number
from routelab.policies.base import Features, Floats, Policy
from routelab.policies.objective import Objective

_SHOWN = 5


@dataclass(frozen=True, slots=True, repr=False)
class PolicyCurve(Shown):
    """Expected outcomes of one policy on n evaluation prompts under s settings of λ.

    Args:
        name: of the policy.
        cost_weights: (s,) λ, quality per USD.
        probabilities: (s, n, k) probability of each arm.
        outcomes: quality (n, s) in [0, 1] and cost (n, s) in USD, in expectation over the policy's own randomness.
    """

    name: str
    cost_weights: Floats
    probabilities: Floats
    outcomes: Curve

    def _card(self) -> Card:
        (n, s), k = self.outcomes.quality.shape, self.probabilities.shape[2]
        some = np.unique(np.linspace(0, s - 1, min(s, _SHOWN)).astype(int))
        rows = [
            (
                number(float(self.cost_weights[i])),
                number(1e3 * float(self.outcomes.cost[:, i].mean())),
                number(float(self.outcomes.quality[:, i].mean())),
            )
            for i in some
        ]
        title = f"{self.name}: {s} settings of λ on {n} prompts × {k} providers"
        return Card(title, rows, ("λ", "USD per 1,000", "quality"), [f"{len(some)} of {s} settings"])

    @property
    def points(self) -> Floats:
        """Mean cost in USD and mean quality under each setting, (s, 2)."""
        return np.column_stack([self.outcomes.cost.mean(axis=0), self.outcomes.quality.mean(axis=0)])

    @property
    def shares(self) -> Floats:
        """Share of the prompts that each provider answers under each setting, (s, k)."""
        shares: Floats = self.probabilities.mean(axis=1)
        return shares

    def labels_agree(self, best: Floats) -> Floats:
        """Accuracy (s,): probability of choosing the arm ``best[s, n]``, averaged over the prompts."""
        chosen = np.take_along_axis(self.probabilities, best[:, :, None].astype(np.intp), axis=2)
        accuracy: Floats = chosen[:, :, 0].mean(axis=1)
        return accuracy


def curve_of(
    name: str, cost_weights: Floats, probabilities: Iterable[Floats], quality: Floats, cost: Floats
) -> PolicyCurve:
    """The curve of known action probabilities, one (n, k) or (1, k) matrix per λ.

    Raises:
        RoutelabError: an outcome of the evaluation prompts is missing.

    >>> quality, cost = np.array([[0.0, 1.0]]), np.array([[0.1, 0.3]])
    >>> curve_of("coin", np.zeros(1), [np.array([[0.5, 0.5]])], quality, cost).points
    array([[0.2, 0.5]])
    """
    if np.isnan(quality).any() or np.isnan(cost).any():
        raise RoutelabError("an evaluation prompt lacks an outcome of some provider; drop it with `complete_rows`")
    stacked = np.stack([np.broadcast_to(matrix, quality.shape) for matrix in probabilities])
    outcomes = Curve(np.einsum("snk,nk->ns", stacked, quality), np.einsum("snk,nk->ns", stacked, cost))
    return PolicyCurve(name, np.asarray(cost_weights, dtype=np.float64), stacked, outcomes)


def is_greedy(policy: Policy) -> bool:
    """Whether a policy always chooses the highest utility of its own ``predict``."""
    return type(policy).action_probabilities is Policy.action_probabilities


def curve_under(
    name: str,
    policy: Policy | Callable[[Objective], Policy],
    X: Features,
    quality: Floats,
    cost: Floats,
    objectives: Sequence[Objective],
) -> PolicyCurve:
    """The curve of a policy under given objectives.

    Args:
        name: of the policy.
        policy: fitted; or, where each trade-off needs a policy of its own, a function from objective to fitted policy.
        X: (n, p) features of the evaluation prompts.
        quality: (n, k) in [0, 1], complete.
        cost: (n, k) USD, complete.
        objectives: one per setting; most differ in λ, those of a random mixture in the budget.
    """
    matrices: Iterable[Floats]
    if not isinstance(policy, Policy):
        matrices = (policy(objective).action_probabilities(X, objective) for objective in objectives)
    elif is_greedy(policy):  # estimates do not depend on the objective: once is enough
        estimates = policy.predict(X)
        matrices = (estimates.greedy(objective) for objective in objectives)
    else:
        matrices = (policy.action_probabilities(X, objective) for objective in objectives)
    return curve_of(name, np.array([one.cost_weight for one in objectives]), matrices, quality, cost)


def policy_curve(
    name: str,
    policy: Policy | Callable[[Objective], Policy],
    X: Features,
    quality: Floats,
    cost: Floats,
    cost_weights: Floats,
) -> PolicyCurve:
    """Sweep λ over a policy: ``curve_under`` with one objective for each of ``cost_weights`` (s,), quality per USD."""
    objectives = [Objective(cost_weight=float(weight)) for weight in cost_weights]
    return curve_under(name, policy, X, quality, cost, objectives)


def complete_rows(quality: Floats, cost: Floats) -> NDArray[np.bool_]:
    """Prompts (n,) for which every provider's quality and cost are known.

    >>> complete_rows(np.array([[1.0, np.nan], [0.5, 0.5]]), np.ones((2, 2)))
    array([False,  True])
    """
    return np.asarray(~(np.isnan(quality) | np.isnan(cost)).any(axis=1))
