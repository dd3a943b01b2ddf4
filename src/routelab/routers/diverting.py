"""Where a request goes when the provider that a policy chose cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence

from routelab.policies import Choice, Estimates, Objective
from routelab.policies.base import Floats


def next_best(estimates: Estimates, objective: Objective, arms: Sequence[int]) -> int:
    """The one of ``arms`` with the highest utility; those that meet the constraints go before those that do not."""
    scores = estimates.scores(objective)[0]
    utility = objective.utility(estimates.quality, estimates.cost, estimates.latency)[0]
    return max(arms, key=lambda arm: (scores[arm], utility[arm]))


def divert(choice: Choice, objective: Objective, closed: Sequence[int]) -> Choice:
    """The choice among the arms that are not ``closed``.

    The mass of closed arms moves to the best open arm b: p'_j = p_j + [j = b]·Σ p_closed for open j, else 0. It is
    exact, so that the log stays usable for off-policy evaluation.

    >>> import numpy as np
    >>> expected = Estimates(np.array([[0.9, 0.5, 0.7]]), np.zeros((1, 3)))
    >>> choice = divert(Choice(0, np.array([0.8, 0.1, 0.1]), expected), Objective(), [0])
    >>> choice.arm, choice.probabilities.tolist()
    (2, [0.0, 0.1, 0.9])
    """
    shut = list(closed)
    arms = range(choice.estimates.quality.shape[1])
    best = next_best(choice.estimates, objective, [arm for arm in arms if arm not in closed])

    def moved() -> Floats:
        probabilities = choice.probabilities.copy()
        probabilities[best] += probabilities[shut].sum()
        probabilities[shut] = 0.0
        return probabilities

    return Choice(best if choice.arm in closed else choice.arm, moved, choice.estimates)
