"""How long a bandit takes to decide and to learn, beside its peers in the same run; 3 arms, 25 features and a constant.

Medians (p50); only ratios are asserted, which do not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from time import perf_counter_ns

import numpy as np
import pytest
from mabwiser.mab import LearningPolicy
from peers import MABWiser, Ours, ParetoBandit, Player, play, shipped_models
from pytest_benchmark.fixture import BenchmarkFixture

from routelab import LinTSPolicy, LinUCBPolicy, Objective, ThompsonPolicy
from routelab.policies import Policy

ARMS, WIDTH, LEARNED = 3, 25, 2000
OBJECTIVE = Objective(cost_weight=10.0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(LEARNED, WIDTH))
REWARDS = 1.0 / (1.0 + np.exp(-X[:, :ARMS] - RNG.normal(size=(LEARNED, ARMS))))
COSTS = RNG.gamma(2.0, np.geomspace(1e-5, 1e-2, ARMS), size=(LEARNED, ARMS))


def trained(policy: Policy, arms: int = ARMS) -> Policy:
    """A policy that has learned something of every arm."""
    for arm in range(arms):
        policy.add_provider(str(arm))
    for row, x in enumerate(X):
        policy.update(x, row % arms, float(REWARDS[row, row % ARMS]), float(COSTS[row, row % ARMS]))
    return policy


def microseconds(steps: dict[str, Callable[[], object]], turns: int = 20, calls: int = 100) -> dict[str, float]:
    """Median time of each step; they take turns, so that what else the machine does falls on all of them."""
    times: dict[str, list[int]] = {name: [] for name in steps}
    for name in list(steps) * turns:
        for _ in range(calls):
            start = perf_counter_ns()
            steps[name]()
            times[name].append(perf_counter_ns() - start)
    return {name: float(np.median(taken)) / 1000.0 for name, taken in times.items()}


def rounds(player: Player) -> Callable[[], None]:
    """A function that has a player, which has seen all contexts, decide and learn once more."""
    play(player, X, REWARDS, COSTS, range(LEARNED))
    rows = cycle(range(LEARNED))

    def step() -> None:
        row = next(rows)
        arm = player.choose(X[row])
        player.learn(X[row], arm, float(REWARDS[row, arm]), float(COSTS[row, arm]))

    return step


@pytest.mark.parametrize("policy", [LinUCBPolicy, LinTSPolicy])
def test_linear_bandit_select(benchmark: BenchmarkFixture, policy: type[Policy]) -> None:
    fitted, contexts = trained(policy()), cycle(X)
    benchmark(lambda: fitted.select(next(contexts), OBJECTIVE, RNG))


@pytest.mark.parametrize("policy", [LinUCBPolicy, LinTSPolicy])
def test_linear_bandit_update(benchmark: BenchmarkFixture, policy: type[Policy]) -> None:
    fitted, outcomes = trained(policy()), cycle(zip(X, REWARDS[:, 0].tolist(), COSTS[:, 0].tolist(), strict=True))

    def learn() -> None:
        x, reward, cost = next(outcomes)
        fitted.update(x, 0, reward, cost)

    benchmark(learn)


@pytest.mark.parametrize("arms", [3, 10])
def test_thompson_select(benchmark: BenchmarkFixture, arms: int) -> None:
    benchmark(trained(ThompsonPolicy(), arms).select, X[0], OBJECTIVE, RNG)


@pytest.mark.parametrize("arms", [3, 10])
def test_thompson_propensity_when_recorded(benchmark: BenchmarkFixture, arms: int) -> None:
    policy = trained(ThompsonPolicy(), arms)
    benchmark.pedantic(
        lambda choice: choice.propensity,
        setup=lambda: ((policy.select(X[0], OBJECTIVE, RNG),), {}),
        rounds=2000,
    )


@pytest.mark.parametrize("budget", [None, 1e-3], ids=["free", "paced"])
def test_linucb_decides_and_learns_faster_than_its_peers(benchmark: BenchmarkFixture, budget: float | None) -> None:
    """``extra_info`` holds p50 in microseconds of both steps together, and how many times longer the peers take.

    With a budget, ours and paretobandit run their pacers too; mabwiser has none.
    """
    models = tuple(shipped_models())
    players = {
        "routelab": rounds(Ours(LinUCBPolicy(), ARMS, 0, budget)),
        "paretobandit": rounds(ParetoBandit(models, WIDTH, 0, budget)),
        "mabwiser": rounds(MABWiser(LearningPolicy.LinUCB(), ARMS, 0)),
    }
    times = microseconds(players)
    benchmark.extra_info.update({f"{name}, us": round(time, 1) for name, time in times.items()})
    ratios = {name: times[name] / times["routelab"] for name in ("paretobandit", "mabwiser")}
    benchmark.extra_info.update({f"{name} / routelab": round(ratio, 1) for name, ratio in ratios.items()})
    benchmark(players["routelab"])
    print("\n", benchmark.extra_info)
    if budget is None:
        assert ratios["paretobandit"] >= 2.0
        assert ratios["mabwiser"] >= 10.0
