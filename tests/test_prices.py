"""Prices that change while outcomes are on their way, or often, or to nothing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from routelab import (
    ABRouter,
    ABTest,
    BanditRouter,
    BudgetPacer,
    EpsilonGreedyPolicy,
    LinUCBPolicy,
    MLRouter,
    Objective,
    OnlineMLRouter,
    PerformanceDB,
    RequestFeaturizer,
    RoutelabError,
    ShadowRouter,
    ThompsonPolicy,
)
from routelab.evaluation.replay import replay_stream
from routelab.evaluation.stream import Event
from routelab.performance_db import TrainingData
from routelab.policies import Policy
from routelab.policies.outcomes import Outcomes
from routelab.providers import Price, ProviderPool
from routelab.routers import Router
from routing import EASY, Answering, requests, small_forest
from streams import Recorder, stream_of, with_arms

PLAIN = RequestFeaturizer(embedder=None, providers=("a", "b")).fit(requests(5))
PAID, CHEAP = 0.004, Price(0.1, 0.2)  # a tenth of what the providers below cost at first


class Priced(Answering):
    """A provider whose price can be set."""

    def __init__(self, name: str, price: Price = Answering.price) -> None:
        super().__init__(name)
        self.price = price

    def set_price(self, price: Price) -> None:
        self.price = price


def bandit(policy: Policy | None = None, **settings: Any) -> BanditRouter:
    policy = ThompsonPolicy() if policy is None else policy
    return BanditRouter([Priced("a"), Priced("b")], policy=policy, featurizer=PLAIN, **settings)


def decided_for(router: Router, name: str) -> str:
    """The id of a decision for the provider ``name``."""
    while (decision := router.decide(EASY)).provider.name != name:
        pass
    return decision.decision_id


@pytest.mark.parametrize("kind", [ThompsonPolicy, LinUCBPolicy])
def test_late_outcomes_are_learned_at_the_present_price_and_paid_at_that_of_their_decision(kind: Any) -> None:
    prompt, late = (bandit(kind(), pacer=BudgetPacer(1.0), seed=3) for _ in range(2))
    for router in (prompt, late):
        ids = [decided_for(router, "a") for _ in range(20)]
        if router is late:
            router.reprice_provider("a", CHEAP)
        for decision_id in ids:
            router.record_outcome(decision_id, quality=0.5, cost_usd=PAID)
        if router is prompt:
            router.reprice_provider("a", CHEAP)
        assert router.pacer is not None
        assert router.pacer.spent == pytest.approx(20 * PAID)
    assert late.estimates(EASY)["a"] == pytest.approx(prompt.estimates(EASY)["a"])
    assert late.estimates(EASY)["a"][1] == pytest.approx(PAID / 10.0, rel=0.05)


def test_what_an_outcome_cost_while_its_provider_was_free_teaches_nothing_of_its_cost() -> None:
    router = BanditRouter([Priced("a", Price(0.0, 0.0)), Priced("b")], policy=ThompsonPolicy(), featurizer=PLAIN)
    first, second = decided_for(router, "a"), decided_for(router, "a")
    router.reprice_provider("a", CHEAP)
    router.record_outcome(first, quality=0.5, cost_usd=0.0)
    router.record_outcome(decided_for(router, "a"), quality=0.5, cost_usd=PAID)
    router.record_outcome(second, quality=0.5, cost_usd=0.0)
    assert router.estimates(EASY)["a"][1] == pytest.approx(PAID)


def test_the_gate_compares_late_outcomes_at_the_present_price_on_both_sides(db: PerformanceDB) -> None:
    router = OnlineMLRouter([Priced("a"), Priced("b")], ThompsonPolicy(), featurizer=PLAIN, db=db)
    decision_id = decided_for(router, "a")
    expected = router.estimates(EASY)["a"][1]
    router.reprice_provider("a", CHEAP)
    router.record_outcome(decision_id, quality=0.5, cost_usd=PAID)
    (observed,) = router._observed
    assert (observed.cost, observed.expected[1]) == (pytest.approx(PAID / 10.0), pytest.approx(expected / 10.0))


def test_what_came_before_a_price_changed_during_a_fit_is_learned_at_the_new_price() -> None:
    barrier = threading.Semaphore(0)

    class Slow(PerformanceDB):
        def get_training_data(self, feature_set: str | None = None) -> TrainingData:
            data = super().get_training_data(feature_set)
            barrier.acquire()
            return data

    async def work(router: OnlineMLRouter) -> None:
        for request in requests(40):
            router.record_outcome(router.decide(request).decision_id, quality=0.5, cost_usd=PAID)
        fit = asyncio.create_task(router.train())
        await asyncio.sleep(0.05)
        for _ in range(40):
            router.record_outcome(decided_for(router, "a"), quality=0.5, cost_usd=PAID)
        router.reprice_provider("a", CHEAP)
        barrier.release()
        await fit

    with Slow("sqlite://") as db:
        router = OnlineMLRouter(
            [Priced("a"), Priced("b")], ThompsonPolicy(), featurizer=PLAIN, db=db, retrain_after=None
        )
        asyncio.run(work(router))
        assert router.policy_version == 1
        assert router.estimates(EASY)["a"][1] == pytest.approx(PAID / 10.0)
        router.rollback()  # to a policy that learned at both prices
        assert router.estimates(EASY)["a"][1] == pytest.approx(PAID / 10.0, rel=0.05)


def test_replayed_feedback_that_comes_after_an_announced_price_is_learned_at_that_price() -> None:
    cost = np.full((60, 3), PAID)
    cost[30:, 2] *= 0.1
    stream = stream_of(60, cost=cost, events=(Event(30, "reprice", "c", 0.1),), delay=np.full(60, 10))
    policy = with_arms(Recorder())
    run = replay_stream(policy, stream, Objective(), np.random.default_rng(0))
    late = run.arms[20:30] == 2  # what arrives when the price has changed
    assert late.any()
    assert not late.all()
    for row, name, _, paid, _ in policy.told:
        assert paid == pytest.approx(PAID / 10.0 if name == "c" and row >= 20 else PAID)
    assert run.cost[:30] == pytest.approx(PAID)  # what was paid stays


# --- free ---


def test_a_price_cannot_fall_to_nothing_but_to_almost_nothing_and_back() -> None:
    X, cost = PLAIN.transform(requests(40)), np.full((40, 2), PAID)
    fitted = small_forest().fit(X, np.full((40, 2), 0.5), cost, providers=("a", "b"))
    for router in (bandit(), bandit(LinUCBPolicy()), MLRouter([Priced("a"), Priced("b")], fitted, featurizer=PLAIN)):
        before = router.estimates(EASY)
        with pytest.raises(RoutelabError, match=r"price of 'a' cannot fall to 0; give a tiny one, such as Price\(1e-6"):
            router.reprice_provider("a", Price(0.0, 0.0))
        assert (router.estimates(EASY), router.pool.prices["a"]) == (before, Price(1.0, 2.0))
        assert not router.price_changes
        router.reprice_provider("a", Price(1e-6, 1e-6))
        assert router.estimates(EASY)["a"][1] < 1e-8
        router.reprice_provider("a", Price(1.0, 2.0))
        assert router.estimates(EASY)["a"] == pytest.approx(before["a"])


def test_what_a_provider_cost_while_it_was_free_is_not_trained_on(db: PerformanceDB) -> None:
    now = [0.0]
    providers = [Priced("a", Price(0.0, 0.0)), Priced("b")]
    policy = EpsilonGreedyPolicy(0.5, small_forest())
    router = MLRouter(providers, policy, featurizer=PLAIN, db=db, clock=lambda: now[0])
    for price, paid in ((None, 0.0), (CHEAP, PAID)):
        now[0] += 1.0
        if price is not None:
            router.reprice_provider("a", price)
        for request in requests(60):
            decision = router.decide(request)
            cost = paid if decision.provider.name == "a" else PAID
            router.record_outcome(decision.decision_id, quality=0.5, cost_usd=cost)
    asyncio.run(router.train())
    assert router.estimates(EASY)["a"][1] == pytest.approx(PAID)


# --- memory ---


def test_of_many_attempts_at_a_version_the_last_are_kept_and_all_are_told(db: PerformanceDB) -> None:
    class Broken(ThompsonPolicy):
        def _fit(self, data: Outcomes) -> None:
            raise MemoryError("no room")

    async def work() -> None:
        for number in range(1_010):
            await router._retrain(str(number), [])

    told: list[str] = []
    providers = [Priced("a"), Priced("b")]
    router = OnlineMLRouter(
        providers, Broken(), featurizer=PLAIN, db=db, on_event=lambda _, what: told.append(what["reason"])
    )
    asyncio.run(work())
    assert [version.reason for version in router.versions] == told[10:]
    assert len(told) == 1_010


def test_many_changes_of_prices_are_summed_up() -> None:
    router = bandit()
    for step in range(300):
        router.reprice_provider("ab"[step % 2], Price(1.0 + step, 2.0))
        router.reprice_provider("a", Price(2.0 + step, 2.0))
    kept = list(router.price_changes)
    assert [sum(change.provider == name for change in kept) for name in "ab"] == [100, 100]
    for name in "ab":
        factors = [change.factor for change in kept if change.provider == name]
        assert np.isnan(factors[0])  # costs from before are of an unknown price
        assert np.isfinite(factors[1:]).all()


def cost_of(router: Router, name: str) -> float:
    return router.estimates(EASY)[name][1]


def test_routers_that_share_a_pool_are_each_told_of_its_changes() -> None:
    pool, c = ProviderPool([Priced("a"), Priced("b")]), Priced("c")
    routers = [BanditRouter(pool, policy=ThompsonPolicy(), featurizer=PLAIN) for _ in range(2)]
    before = cost_of(routers[0], "a")
    for router in routers:
        router.reprice_provider("a", CHEAP)
        router.add_provider(c)
        router.remove_provider("b")
    for router in routers:
        assert cost_of(router, "a") == pytest.approx(0.1 * before)
        assert router.price_changes[0].factor == pytest.approx(0.1)
        assert router.policy.providers_ == pool.names == ("a", "c")
        assert router.decide(EASY).provider.name in "ac"
        with pytest.raises(RoutelabError, match="already has a provider 'c'"):
            router.add_provider(c)
        with pytest.raises(RoutelabError, match="'b' is unknown"):
            router.remove_provider("b")


def test_a_name_that_is_taken_leaves_pool_and_policy_as_they_were() -> None:
    pool = ProviderPool([Priced("a"), Priced("b")])
    first, second = (BanditRouter(pool, policy=ThompsonPolicy(), featurizer=PLAIN) for _ in range(2))
    first.add_provider(Priced("c"))
    with pytest.raises(RoutelabError, match="already has a provider 'c'"):
        second.add_provider(Priced("c"))  # another one
    with pytest.raises(RoutelabError, match="quality"):
        second.add_provider(Priced("d"), quality=2.0)
    assert (pool.names, second.policy.providers_) == (("a", "b", "c"), ("a", "b"))
    second.add_provider(pool["c"])
    assert second.policy.providers_ == pool.names


@pytest.mark.parametrize("shared", [True, False])
def test_an_experiment_and_its_shadow_pass_changes_to_every_router(db: PerformanceDB, shared: bool) -> None:
    a, b, c = map(Priced, "abc")
    pool = ProviderPool([a, b])

    def router() -> BanditRouter:
        return BanditRouter(pool if shared else [a, b], policy=ThompsonPolicy(), featurizer=PLAIN)

    routers = {name: router() for name in "xyz"}
    test = ABTest("t", ("x", "y"), (0.5, 0.5), "s")
    ab = ABRouter(test, {name: routers[name] for name in "xy"}, db, default=routers["z"])
    shadowed = ShadowRouter(router(), {"s": router()}, db)
    for holder, held in ((ab, [*routers.values()]), (shadowed, [shadowed.live, *shadowed.shadows.values()])):
        before = cost_of(held[0], "a")
        if not (shared and holder is shadowed):  # which shares the pool of all
            holder.add_provider(c, quality=0.9)
            holder.remove_provider("b")
            assert {router.policy.providers_ for router in held} == {("a", "c")}
            assert {router.pool.names for router in held} == {("a", "c")}
        holder.reprice_provider("a", CHEAP)
        assert [cost_of(router, "a") for router in held] == pytest.approx([0.1 * before] * len(held))
        with pytest.raises(RoutelabError, match="has no provider 'nobody'"):
            holder.reprice_provider("nobody", CHEAP)
    held[0].add_provider(Priced("d"))
    shadowed.remove_provider("d")  # of the one that has it
    assert "d" not in held[0].pool


def test_a_provider_that_a_new_fit_found_in_the_pool_is_known_with_its_price(db: PerformanceDB) -> None:
    pool = ProviderPool([Priced("a"), Priced("b")])
    router = MLRouter(pool, EpsilonGreedyPolicy(0.5), featurizer=PLAIN, db=db)
    for request in requests(60):
        router.record_outcome(router.decide(request).decision_id, quality=0.5, cost_usd=PAID)
    other = BanditRouter(pool, policy=ThompsonPolicy(), featurizer=PLAIN)
    other.reprice_provider("a", CHEAP)
    asyncio.run(router.train())
    fitted = cost_of(router, "a")
    router.reprice_provider("a", CHEAP)  # which the fit knew
    assert cost_of(router, "a") == pytest.approx(fitted)
