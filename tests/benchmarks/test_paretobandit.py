"""Beside paretobandit 0.1.1 on its own data, in one run: ``pytest -s tests/benchmarks/test_paretobandit.py``.

Both start cold, read the same feature vectors in the same order, see the outcome of the arm they chose and no other,
learn through val and test, and are scored on test. Ours is ``LinUCBPolicy()`` with ``BudgetPacer(budget)``, one setting
for all budgets; theirs what its authors found best for a cold start, with its pacer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from peers import Floats, Ours, ParetoBandit, Player, interval, play

from routelab import LinUCBPolicy, RequestFeaturizer, load_source

SEEDS = range(20)
BUDGETS = (2.93e-5, 8.29e-5, 2.345e-4, 6.64e-4, 1.878e-3, 5.31e-3, 1.504e-2)
COMPONENTS = 25  # of the embedding of a prompt
PHASE = 608  # prompts of a phase of its silent regression
DEGRADED, LEFT = 1, 0.75  # its arm, and the reward that is left of it


@dataclass(frozen=True)
class Replay:
    """Outcomes of all prompts, those of val first."""

    X: Floats
    quality: Floats
    cost: Floats
    learned: int
    models: tuple[str, ...]

    def ours(self, seed: int, budget: float) -> Player:
        return Ours(LinUCBPolicy(), len(self.models), seed, budget)

    def theirs(self, seed: int, budget: float) -> Player:
        return ParetoBandit(self.models, self.X.shape[1], seed, budget)


@pytest.fixture(scope="module", params=["all features", "whitened components"])
def replay(request: pytest.FixtureRequest) -> Replay:
    """All features as we make them, or only the components, each of unit variance as its authors advise."""
    table = load_source("paretobandit")
    val, test = table.split(0.7, seed=0)  # the table's own split
    featurizer = RequestFeaturizer(n_components=COMPONENTS, standardize=True).fit(val)
    X = np.vstack([featurizer.transform(val), featurizer.transform(test)]).astype(float)
    if request.param == "whitened components":
        X = np.ascontiguousarray(X[:, -COMPONENTS:] / X[: val.n, -COMPONENTS:].std(axis=0))
    quality, cost = np.vstack([val.quality, test.quality]), np.vstack([val.cost, test.cost])
    return Replay(X, quality, cost, val.n, table.providers)


def budget_run(replay: Replay, player: Player, seed: int) -> tuple[float, float]:
    """Mean reward and cost over test."""
    rng = np.random.default_rng(seed)
    val, test = rng.permutation(replay.learned), replay.learned + rng.permutation(len(replay.X) - replay.learned)
    play(player, replay.X, replay.quality, replay.cost, val)
    player.new_period()
    arms = play(player, replay.X, replay.quality, replay.cost, test)
    return float(replay.quality[test, arms].mean()), float(replay.cost[test, arms].mean())


def regression_run(replay: Replay, player: Player, seed: int) -> tuple[float, float, float, float]:
    """Mean reward of three phases of test, in the second of which one arm does badly, and mean cost over all three."""
    rng = np.random.default_rng(seed)
    val, test = rng.permutation(replay.learned), replay.learned + rng.permutation(len(replay.X) - replay.learned)
    degraded = replay.quality.copy()
    degraded[:, DEGRADED] = LEFT
    play(player, replay.X, replay.quality, replay.cost, val)
    player.new_period()
    rewards, costs = [], []
    for rows, quality in (
        (test[:PHASE], replay.quality),
        (test[PHASE : 2 * PHASE], degraded),
        (test[:PHASE], replay.quality),
    ):
        arms = play(player, replay.X, quality, replay.cost, rows)
        rewards.append(float(quality[rows, arms].mean()))
        costs.append(float(replay.cost[rows, arms].mean()))
    return rewards[0], rewards[1], rewards[2], float(np.mean(costs))


def side_by_side(
    replay: Replay, run: Callable[[Replay, Player, int], tuple[float, ...]], budgets: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """What ``run`` gives for ours and for theirs, each (budgets, seeds, figures), the last of them cost / budget."""
    ours = np.array([[run(replay, replay.ours(seed, budget), seed) for seed in SEEDS] for budget in budgets])
    theirs = np.array([[run(replay, replay.theirs(seed, budget), seed) for seed in SEEDS] for budget in budgets])
    for results in (ours, theirs):
        results[:, :, -1] /= np.array(budgets)[:, None]
    return ours, theirs


def told(label: str, *columns: Floats) -> str:
    """A line of means and their 95 % intervals, of columns (seeds,) each."""
    return f"{label:>10}  " + "  ".join("{:+.4f} ±{:.4f}".format(*interval(column)) for column in columns)


def above(one: Floats, other: Floats) -> bool:
    """Whether the interval of ``one`` lies above that of ``other``, of rewards (seeds,) both."""
    (mean, half), (mean_other, half_other) = interval(one), interval(other)
    return mean - half > mean_other + half_other


def test_reward_is_above_theirs_at_six_of_seven_budgets_and_never_below(replay: Replay) -> None:
    ours, theirs = side_by_side(replay, budget_run, BUDGETS)
    print("\n    budget  reward, ours     theirs           difference       cost/budget, ours theirs")
    for budget, mine, other in zip(BUDGETS, ours, theirs, strict=True):
        print(told(f"{budget:.3e}", mine[:, 0], other[:, 0], mine[:, 0] - other[:, 0], mine[:, 1], other[:, 1]))
    assert sum(above(mine, other) for mine, other in zip(ours[:, :, 0], theirs[:, :, 0], strict=True)) >= 6
    assert not any(above(other, mine) for mine, other in zip(ours[:, :, 0], theirs[:, :, 0], strict=True))
    assert ours[:, :, 1].mean(axis=1).max() <= 1.01


def test_reward_is_above_theirs_over_a_silent_regression_and_in_no_phase_below(replay: Replay) -> None:
    budgets = (3.0e-4, 6.62e-4, 1.87e-3)
    ours, theirs = side_by_side(replay, regression_run, budgets)
    for phase, name in enumerate(("normal", "degraded", "recovered")):
        print(f"\n{name}\n    budget  reward, ours     theirs           difference")
        for budget, mine, other in zip(budgets, ours[:, :, phase], theirs[:, :, phase], strict=True):
            print(told(f"{budget:.3e}", mine, other, mine - other))
    print("\n    budget  cost/budget over the three phases, ours and theirs")
    for budget, mine, other in zip(budgets, ours[:, :, -1], theirs[:, :, -1], strict=True):
        print(told(f"{budget:.3e}", mine, other))
    rewards = zip(ours[:, :, :3].mean(axis=2), theirs[:, :, :3].mean(axis=2), strict=True)
    assert all(above(mine, other) for mine, other in rewards)
    cells = [(ours[row, :, phase], theirs[row, :, phase]) for row in range(len(budgets)) for phase in range(3)]
    assert not any(above(other, mine) for mine, other in cells)
    assert ours[:, :, -1].mean(axis=1).max() <= 1.01
