"""Prequential replay: a bandit meets recorded prompts one by one and sees only the outcome of the arm it chose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.errors import RoutelabError
from routelab.policies.base import Features, Floats, Policy
from routelab.policies.objective import Objective


@dataclass(frozen=True, slots=True)
class Replay:
    """What happened in one pass over n prompts.

    Args:
        arms: (n,) chosen columns.
        reward: (n,) quality of the chosen arm in [0, 1].
        cost: (n,) USD of the chosen arm.
        regret: (n,) cumulative utility lost against the best arm of each prompt in hindsight.
        fixed_regret: (n,) cumulative utility lost against the best single arm in hindsight; may be negative.
    """

    arms: NDArray[np.intp]
    reward: Floats
    cost: Floats
    regret: Floats
    fixed_regret: Floats


def replay(
    policy: Policy, X: Features, quality: Floats, cost: Floats, objective: Objective, rng: np.random.Generator
) -> Replay:
    """Let ``policy`` choose and learn through the rows in their order; it is updated in place.

    Args:
        policy: a bandit that knows its k arms (``add_provider``), cold or warm.
        X: (n, p) features.
        quality: (n, k) in [0, 1], complete.
        cost: (n, k) USD, complete.
        objective: the trade-off; regret is measured in its utility.
        rng: of the policy's own draws.

    Raises:
        RoutelabError: an outcome is missing, shapes disagree, or the policy has another number of arms.

    >>> from routelab.policies import ThompsonPolicy
    >>> policy = ThompsonPolicy().add_provider("good").add_provider("bad")
    >>> quality = np.tile([0.9, 0.1], (200, 1))
    >>> run = replay(policy, np.zeros((200, 1)), quality, np.zeros((200, 2)), Objective(), np.random.default_rng(0))
    >>> bool((run.arms[-50:] == 0).mean() > 0.95)
    True
    """
    if len(X) != len(quality) or quality.shape != cost.shape:
        raise RoutelabError(f"X has {len(X)} rows, quality {quality.shape}, cost {cost.shape}; give one row per prompt")
    if np.isnan(quality).any() or np.isnan(cost).any():
        raise RoutelabError("replay needs every outcome; drop the prompts with a missing quality or cost")
    if len(policy.providers_) != quality.shape[1]:
        raise RoutelabError(f"the policy has {len(policy.providers_)} arms, the outcomes {quality.shape[1]} columns")
    arms = np.empty(len(X), dtype=np.intp)
    for row, x in enumerate(X):
        arm = policy.select(x, objective, rng).arm
        policy.update(x, arm, float(quality[row, arm]), float(cost[row, arm]))
        arms[row] = arm
    rows = np.arange(len(X))
    utility = objective.utility(quality, cost)
    gained = utility[rows, arms]
    return Replay(
        arms=arms,
        reward=quality[rows, arms],
        cost=cost[rows, arms],
        regret=np.cumsum(utility.max(axis=1) - gained),
        fixed_regret=np.cumsum(utility[:, utility.mean(axis=0).argmax()] - gained),
    )
