"""Two problems whose rewards are seen exactly or through a judge: half exactly, half as a verdict of right or wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.base import clone

from routelab import Objective
from routelab.arrays import Floats
from routelab.policies import Policy

ARMS, WIDTH, SE = 6, 8, 0.4
Problem = Callable[[np.random.Generator, int], tuple[Floats, Floats]]


def linear(rng: np.random.Generator, rounds: int) -> tuple[Floats, Floats]:
    """Features (n, p) and expected rewards (n, k) within [0.2, 0.8]."""
    X, theta = rng.normal(size=(rounds, WIDTH)), rng.normal(size=(WIDTH, ARMS))
    return X, np.clip(0.5 + 0.12 * X @ theta / np.sqrt(WIDTH), 0.2, 0.8)


def constant(rng: np.random.Generator, rounds: int) -> tuple[Floats, Floats]:
    return np.zeros((rounds, 1)), np.tile(rng.permutation(np.linspace(0.4, 0.6, ARMS)), (rounds, 1))


def regret(policy: Policy, problem: Problem, seed: int, rounds: int, *, told: bool) -> float:
    """Expected reward lost against the best arm, where the policy is ``told`` the standard errors or not.

    An exact reward varies by 0.05 around its expectation. A verdict is 1 with the reward as its probability: unbiased,
    with a standard deviation of 0.4 to 0.5.
    """
    rng = np.random.default_rng(seed)
    X, expected = problem(rng, rounds)
    exact = np.clip(expected + 0.05 * rng.normal(size=expected.shape), 0.0, 1.0)
    verdicts, judged = (rng.random(exact.shape) < exact).astype(float), rng.random(rounds) < 0.5
    player = clone(policy)
    for arm in range(ARMS):
        player.add_provider(str(arm))
    lost = 0.0
    for row, x in enumerate(X):
        arm = player.select(x, Objective(), rng).arm
        reward = verdicts[row, arm] if judged[row] else exact[row, arm]
        player.update(x, arm, float(reward), se=SE if told and judged[row] else None)
        lost += expected[row].max() - expected[row, arm]
    return float(lost)


def saved(policy: Policy, problem: Problem, seeds: int, rounds: int) -> tuple[float, float, float]:
    """Mean regret without and with the standard errors told, and the standard error of the paired difference."""
    pairs = np.array(
        [[regret(policy, problem, seed, rounds, told=told) for told in (False, True)] for seed in range(seeds)]
    )
    difference = pairs[:, 0] - pairs[:, 1]
    return float(pairs[:, 0].mean()), float(pairs[:, 1].mean()), float(difference.std(ddof=1) / np.sqrt(seeds))
