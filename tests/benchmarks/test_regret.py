"""Regret beside mabwiser on two fixed problems, the same streams for both: ``pytest -s`` prints it.

Bernoulli: 10 arms with means .1, .15, …, .55. Linear: 10 arms, d = 16, contexts and coefficients of unit norm, noise of
standard deviation .25. Each has 20,000 rounds and 10 seeds; a seed makes one table of the outcomes of all arms, of
which each player sees those it chooses. Regret is counted in expected rewards, of the linear problem in those before
scaling: ours takes rewards in [0, 1], so it gets (r + 2)/4, clipped (at 4 standard deviations of noise or further), and
mabwiser r itself. Ours learns an intercept, so mabwiser is given a constant feature. These problems never change, which
``wander=0`` says; at its default ours keeps looking after arms that may have changed, and pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from mabwiser.mab import LearningPolicy
from peers import Floats, MABWiser, Ours, play
from sklearn.base import clone

from routelab import LinTSPolicy, LinUCBPolicy, ThompsonPolicy
from routelab.policies import Policy

SEEDS, ROUNDS, ARMS, WIDTH, NOISE = range(10), 20_000, 10, 16, 0.25


@dataclass(frozen=True)
class Problem:
    """A table of outcomes: features (n, p), expected and drawn rewards of all arms, both (n, k)."""

    X: Floats
    expected: Floats
    rewards: Floats

    def regret(self, arms: Floats) -> float:
        """Expected reward that the arms (n,) lost against the best arm of each round."""
        return float((self.expected.max(axis=1) - self.expected[np.arange(len(arms)), arms]).sum())


def bernoulli(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    expected = np.tile(np.linspace(0.1, 0.55, ARMS), (ROUNDS, 1))
    return Problem(np.zeros((ROUNDS, 1)), expected, (rng.random((ROUNDS, ARMS)) < expected).astype(float))


def linear(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    contexts, coefficients = (unit_rows(rng.normal(size=(n, WIDTH))) for n in (ROUNDS, ARMS))
    expected = contexts @ coefficients.T
    return Problem(contexts, expected, expected + rng.normal(scale=NOISE, size=expected.shape))


def unit_rows(values: Floats) -> Floats:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def in_unit_interval(problem: Problem) -> Floats:
    return np.clip((problem.rewards + 2.0) / 4.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("problem", "ours", "theirs"),
    [
        (bernoulli, ThompsonPolicy(), LearningPolicy.ThompsonSampling()),
        (linear, LinUCBPolicy(wander=0.0), LearningPolicy.LinUCB()),
        (linear, LinTSPolicy(wander=0.0), LearningPolicy.LinTS()),
    ],
    ids=["Thompson", "LinUCB", "LinTS"],
)
def test_regret_is_not_above_mabwisers(problem: Callable[[int], Problem], ours: Policy, theirs: LearningPolicy) -> None:
    context, regrets = problem is linear, []
    for seed in SEEDS:
        drawn = problem(seed)
        with_constant = np.column_stack([np.ones(ROUNDS), drawn.X])
        streams = (
            (Ours(clone(ours), ARMS, seed), drawn.X, in_unit_interval(drawn) if context else drawn.rewards),
            (MABWiser(theirs, ARMS, seed, context=context), with_constant, drawn.rewards),
        )
        free, rounds = np.zeros((ROUNDS, ARMS)), range(ROUNDS)
        regrets.append([drawn.regret(play(player, X, rewards, free, rounds)) for player, X, rewards in streams])
    both = np.array(regrets)
    difference = both[:, 0] - both[:, 1]
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    print(f"\n{ours}: regret {both[:, 0].mean():.1f}, mabwiser {both[:, 1].mean():.1f}", end="")
    print(f", difference {difference.mean():+.1f} ± {2 * error:.1f} (2 SE of {len(difference)} pairs)")
    assert difference.mean() <= 2 * error
