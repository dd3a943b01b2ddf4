"""What a policy sends to a provider that cannot be asked goes to the next best, and the log knows with what odds."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from routelab import (
    BanditRouter,
    BudgetPacer,
    EpsilonGreedyPolicy,
    LinTSPolicy,
    LLMRequest,
    MLRouter,
    Objective,
    PerformanceDB,
    RandomPolicy,
    RequestFeaturizer,
    ThompsonPolicy,
)
from routelab.policies import Policy
from routelab.providers import Circuit, Limits, ProviderError, ProviderPool
from routing import EASY, Answering
from test_limits import Clock
from test_waiting import Slow

NAMES = ("a", "b", "c", "d")
PLAIN = RequestFeaturizer(embedder=None, providers=NAMES).fit([EASY])


def pool_of(*providers: Answering, closed: tuple[str, ...] = ()) -> ProviderPool:
    """A pool in which the providers ``closed`` have been asked too often."""
    pool = ProviderPool(providers, limits={name: Limits(requests_per_minute=1) for name in closed})
    for name in closed:
        asyncio.run(pool.complete(name, EASY))
    return pool


def learned(policy: Policy) -> Policy:
    """The policy, which has seen all four arms: the best is "c", then come "a", "d" and "b"."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        policy.add_provider(name, cost=0.001)
    x = PLAIN.transform_one(EASY, {})
    for _ in range(8):
        for arm, quality in enumerate((0.6, 0.2, 0.7, 0.5)):
            policy.update(x, arm, float(rng.random() < quality), 0.001)
    return policy


BANDITS = {
    "thompson": lambda: learned(ThompsonPolicy()),
    "epsilon-greedy": lambda: learned(EpsilonGreedyPolicy(0.4)),
    "lints": lambda: learned(LinTSPolicy(alpha=1.0)),
}


def bandit(kind: str, pool: ProviderPool, **settings: object) -> BanditRouter:
    return BanditRouter(pool, policy=BANDITS[kind](), featurizer=PLAIN, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted(BANDITS))
def test_the_mass_of_those_who_cannot_be_asked_moves_to_the_next_best(db: PerformanceDB, kind: str) -> None:
    pool = pool_of(*map(Answering, NAMES), closed=("c", "b"))
    router = bandit(kind, pool, db=db)
    free = router.policy.propensities(router.features(EASY), Objective())()
    decision = router.decide(EASY)
    quality = decision.estimates.quality[0]
    best = max((0, 3), key=lambda arm: quality[arm])
    moved = np.array([free[0], 0.0, 0.0, free[3]])
    moved[best] += free[1] + free[2]
    logged = db.log().iloc[0]
    assert logged["probabilities"] == pytest.approx(moved, abs=1e-4)
    assert logged["propensity"] == pytest.approx(moved[NAMES.index(decision.provider.name)], abs=1e-4)
    assert logged["policy"] == type(router.policy).__name__


@pytest.mark.parametrize("kind", sorted(BANDITS))
def test_arms_are_played_as_often_as_the_log_says_while_some_cannot_be_asked(db: PerformanceDB, kind: str) -> None:
    router = bandit(kind, pool_of(*map(Answering, NAMES), closed=("c",)), db=db)
    n = 1200
    for _ in range(n):
        router.decide(EASY)  # nothing is learned, so that the probabilities stay
    log = db.log()
    expected = np.array(log["probabilities"].tolist()).mean(axis=0)
    played = np.array([(log["provider"] == name).mean() for name in NAMES])
    assert np.abs(played - expected).max() < 4.0 * np.sqrt(0.25 / n)
    assert played[2] == 0.0
    assert expected.max() < 0.98  # it does choose


@pytest.mark.parametrize("kind", sorted(BANDITS))
def test_limits_that_are_not_reached_change_no_choice_and_no_probability(kind: str) -> None:
    logs = []
    for limits in ({}, dict.fromkeys(NAMES, Limits(1e6, 1e9, 1000))):
        with PerformanceDB("sqlite://") as db:
            pool = ProviderPool([Answering(name, 0.5) for name in NAMES], limits=limits)
            router = bandit(kind, pool, db=db, seed=3)
            for _ in range(50):
                asyncio.run(router.complete(EASY))
            logs.append(db.log()[["provider", "probabilities", "propensity"]].to_numpy().tolist())
    assert logs[0] == logs[1]


def test_an_inverse_propensity_estimate_from_a_log_of_reached_limits_is_right() -> None:
    """The target plays what was never closed, so that the log supports it."""
    quality = {"a": 0.6, "b": 0.2, "c": 0.7, "d": 0.5}
    target = np.array([0.5, 0.0, 0.0, 0.5])
    estimates = []
    for seed in range(12):
        with PerformanceDB("sqlite://") as db:
            pool = ProviderPool([Answering(name, quality[name]) for name in NAMES], limits={"c": Limits(20)})
            router = MLRouter(pool, fitted_random(), featurizer=PLAIN, db=db, seed=seed)
            for _ in range(100):
                asyncio.run(router.complete(EASY))
            log = db.log()
        arm = [NAMES.index(name) for name in log["provider"]]
        estimates.append(float((target[arm] / log["propensity"] * log["quality"]).mean()))
    assert abs(np.mean(estimates) - 0.55) < 4.0 * np.std(estimates) / np.sqrt(len(estimates))
    assert np.std(estimates) < 0.2


def fitted_random() -> Policy:
    X = np.repeat(PLAIN.transform_one(EASY, {})[None], 4, axis=0)
    return RandomPolicy().fit(X, np.tile([0.6, 0.2, 0.7, 0.5], (4, 1)), np.full((4, 4), 0.001), providers=NAMES)


def test_a_request_waits_for_the_first_provider_that_has_room() -> None:
    providers = [Slow(name, 0.002) for name in "ab"]
    pool = ProviderPool(providers, limits=dict.fromkeys("ab", Limits(concurrency=2)))
    router = BanditRouter(pool)

    async def crowd() -> None:
        await asyncio.gather(*(router.complete(EASY) for _ in range(60)))

    asyncio.run(crowd())
    assert [provider.most for provider in providers] == [2, 2]
    assert sum(health.successes for health in pool.health.values()) == 60


def test_when_nobody_can_be_asked_in_time_the_error_says_why_and_when_and_nothing_is_recorded(
    db: PerformanceDB,
) -> None:
    pool, pacer = pool_of(Answering("a"), Answering("b"), closed=("a", "b")), BudgetPacer(0.01)
    router = BanditRouter(pool, db=db, deadline_s=5.0, pacer=pacer)
    with pytest.raises(
        ProviderError, match=r"no provider can be asked: a: 1 requests a minute reached, [56]"
    ) as raised:
        asyncio.run(router.complete(EASY))
    assert raised.value.retry_after_s == pytest.approx(60.0, abs=2.0)
    assert (db.count(), pacer.requests) == ((0, 0), 0)
    assert router.decide(EASY).provider.name in ("a", "b")  # who decides only, cannot wait


def test_a_provider_that_keeps_failing_is_left_alone_and_tried_again(db: PerformanceDB) -> None:
    broken, clock = Answering("a", 0.9, fails="raises"), Clock()
    pool = ProviderPool([broken, Answering("b", 0.1)], circuit=Circuit(failures=3), clock=clock)
    router = MLRouter(pool, db=db)

    async def ask(times: int) -> list[str]:
        return [(await router.complete(LLMRequest("Hi")))[0].provider.name for _ in range(times)]

    assert asyncio.run(ask(10)) == ["b"] * 10
    assert (db.log()["provider"] == "a").sum() == 3
    broken.fails = None

    clock.now = 2.0
    assert asyncio.run(ask(3)) == ["a"] * 3
    assert pool.unavailable("a") is None
