"""Providers, prices, budgets and feedback of every kind, while a router serves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from routelab import (
    BanditRouter,
    BudgetPacer,
    EpsilonGreedyPolicy,
    ForestBanditPolicy,
    LinTSPolicy,
    LinUCBPolicy,
    MeansPolicy,
    MLRouter,
    Objective,
    OnlineMLRouter,
    PerformanceDB,
    RequestFeaturizer,
    RoutelabError,
    SimulatedProvider,
    ThompsonPolicy,
    simulated_providers,
)
from routelab.policies import Policy
from routelab.providers import Price, ProviderError
from routelab.routers import Router
from routelab.tables.synthetic_world import DEFAULT_PROVIDERS
from routing import EASY, Answering, patient, requests

PLAIN = RequestFeaturizer(embedder=None, providers=("nano", "mini")).fit(requests(5))
ASKED = requests(30)
OBJECTIVE = Objective(cost_weight=5.0)


def test_late_feedback_of_a_removed_provider_does_not_train_another_of_its_name() -> None:
    router = BanditRouter([Answering("nano", 0.9), Answering("mini", 0.6)], policy=ThompsonPolicy(), featurizer=PLAIN)
    decisions = [router.decide(EASY) for _ in range(30)]
    router.remove_provider("nano")
    router.add_provider(Answering("nano", 0.9))
    late = [decision for decision in decisions if decision.provider.name == "nano"]
    assert late
    for decision in late:
        router.record_outcome(decision.decision_id, quality=0.0, cost_usd=0.5)
    arm = router.policy.providers_.index("nano")
    assert router.policy.counts_[:2, arm].sum() == 0.0  # type: ignore[attr-defined]
    while (decision := router.decide(EASY)).provider.name != "nano":
        pass
    router.record_outcome(decision.decision_id, quality=0.5, cost_usd=0.001)
    assert router.policy.counts_[:2, arm].sum() == 1.0  # type: ignore[attr-defined]


# --- budgets ---


def pay(router: Router, n: int) -> float:
    """Mean cost in USD of ``n`` requests, failed attempts included."""

    async def work() -> None:
        for request in requests(n):
            await router.complete(request)

    assert router.db is not None
    asyncio.run(work())
    return float(router.db.log()["cost_usd"].sum()) / n


@pytest.mark.parametrize("budget", [3e-4, 1e-3])
def test_a_router_keeps_to_its_budget_and_logs_the_trade_off_of_each_decision(db: PerformanceDB, budget: float) -> None:
    router = BanditRouter(
        simulated_providers(), policy=LinTSPolicy(), featurizer=PLAIN, db=db, pacer=BudgetPacer(budget)
    )
    assert pay(router, 1_000) == pytest.approx(budget, rel=0.1)
    weights = [objective["cost_weight"] for objective in db.log()["objective"]]
    assert len(set(weights)) > 500


def test_a_failed_attempt_counts_to_the_request_that_it_failed() -> None:
    providers = [Answering("a", fails="raises"), Answering("b", 0.7)]
    pacer = BudgetPacer(1.0)
    router = MLRouter(providers, featurizer=PLAIN, pacer=pacer)
    asyncio.run(router.complete(EASY))
    assert (pacer.requests, pacer.spent) == (1, pytest.approx(0.002))
    down = [Answering("a", fails="raises"), Answering("b", fails="raises")]
    router = MLRouter(down, featurizer=PLAIN, pacer=pacer, retry_share=0.0)
    with pytest.raises(ProviderError):
        asyncio.run(router.complete(EASY))
    assert (pacer.requests, pacer.spent) == (2, pytest.approx(0.004))


def test_the_cost_of_an_answer_counts_at_once_and_a_quality_floor_waits_for_the_grade() -> None:
    for pacer, at_once in ((BudgetPacer(1.0), 1), (BudgetPacer(min_quality=0.5), 0)):
        router = MLRouter([Answering("a", None), Answering("b", None)], featurizer=PLAIN, pacer=pacer)
        decision, _ = asyncio.run(router.complete(EASY))
        assert pacer.requests == at_once
        router.grade(decision.decision_id, 0.9)
        router.grade(decision.decision_id, 0.9)
        assert (pacer.requests, pacer.spent) == (1, pytest.approx(0.001))


def test_a_hard_budget_holds_however_many_requests_are_in_flight() -> None:
    cost = np.array([0.001, 0.01])
    known = MeansPolicy().fit(
        PLAIN.transform(ASKED), np.tile([0.2, 0.9], (30, 1)), np.tile(cost, (30, 1)), providers=("a", "b")
    )
    pacer = BudgetPacer(0.002, mode="hard")
    router = MLRouter([Answering("a"), Answering("b")], known, featurizer=PLAIN, pacer=pacer)
    for at_once in (20, 50, 50):
        decisions = [router.decide(request) for request in (ASKED * 2)[:at_once]]
        assert pacer.reserved == pytest.approx(sum(cost["ab".index(d.provider.name)] for d in decisions))
        for decision in decisions[::-1]:
            paid = cost["ab".index(decision.provider.name)]
            router.record_outcome(decision.decision_id, quality=0.5, cost_usd=paid)
        assert pacer.spent <= pacer.requests * 0.002 * (1.0 + 1e-9)
    assert pacer.spent > 0.8 * pacer.requests * 0.002


@pytest.mark.parametrize("bound", [{"budget": 1.0}, {"min_quality": 0.5}])
def test_nothing_stays_reserved_for_what_was_answered_failed_or_cancelled(bound: dict[str, float]) -> None:
    async def ask(router: Router) -> None:
        with suppress(ProviderError, TimeoutError):
            await asyncio.wait_for(router.complete(EASY), 0.01)

    for kind in ({}, {"fails": "raises"}, {"fails": "hangs"}, {"quality": None}):
        pacer = BudgetPacer(**bound)
        pool = patient(Answering("a", fails="raises"), Answering("b", **kind))  # type: ignore[arg-type]
        router = BanditRouter(pool, featurizer=PLAIN, pacer=pacer)
        for _ in range(20):
            asyncio.run(ask(router))
            if kind == {"quality": None} and router.last_decision is not None:
                router.grade(router.last_decision.decision_id, 0.5)
        assert (pacer.requests, pacer.in_flight) == (20, 0)
        assert pacer.reserved == pytest.approx(0.0)
        router.decide(EASY)
        assert pacer.in_flight == 1


# --- any sequence of events ---

POLICIES: dict[str, Any] = {
    "thompson": lambda: ThompsonPolicy(forgetting=0.99),
    "epsilon-greedy": lambda: EpsilonGreedyPolicy(0.2),
    "linucb": lambda: LinUCBPolicy(),
    "lints": lambda: LinTSPolicy(),
    "forest-bandit": lambda: ForestBanditPolicy(),
}


class Serving(RuleBasedStateMachine):
    """A router under requests, feedback of every kind, and providers that come, go and change their prices."""

    @initialize(kind=st.sampled_from(sorted(POLICIES)), online=st.booleans(), horizon=st.integers(1, 20))
    def start(self, kind: str, online: bool, horizon: int) -> None:
        policy: Policy = POLICIES[kind]()
        self.db = PerformanceDB("sqlite://")
        providers = [SimulatedProvider(profile) for profile in DEFAULT_PROVIDERS[:2]]
        shared: dict[str, Any] = {"featurizer": PLAIN, "db": self.db, "horizon": horizon, "objective": OBJECTIVE}
        self.router: Router = (
            OnlineMLRouter(providers, policy, **shared) if online else BanditRouter(providers, policy=policy, **shared)
        )
        self.horizon = horizon
        self.decided: list[str] = []
        self.outcomes: dict[str, float] = {}

    def teardown(self) -> None:
        if hasattr(self, "db"):
            self.db.close()

    @rule(which=st.integers(0, len(ASKED) - 1))
    def decide(self, which: int) -> None:
        self.decided.append(self.router.decide(ASKED[which]).decision_id)

    @rule(which=st.integers(0, len(ASKED) - 1))
    def answer(self, which: int) -> None:
        asyncio.run(self.router.complete(ASKED[which]))

    @precondition(lambda self: self.decided)
    @rule(place=st.floats(0, 1), quality=st.floats(0, 1))
    def tell(self, place: float, quality: float) -> None:
        """Of any decision: open, told already (the same or not), expired, or of a provider that has left."""
        decision_id = self.decided[round(place * (len(self.decided) - 1))]
        if self.outcomes.get(decision_id, quality) != quality:
            with pytest.raises(RoutelabError, match="another outcome already"):
                self.router.record_outcome(decision_id, quality=quality, cost_usd=0.001)
        else:
            self.router.record_outcome(decision_id, quality=quality, cost_usd=0.001)
            self.outcomes[decision_id] = quality

    @precondition(lambda self: self.decided)
    @rule(quality=st.sampled_from([-0.1, 1.1, float("inf")]), cost=st.sampled_from([0.001, -1.0, float("nan")]))
    def tell_nonsense(self, quality: float, cost: float) -> None:
        with pytest.raises(RoutelabError):
            self.router.record_outcome(self.decided[-1], quality=quality, cost_usd=cost)

    @rule()
    def tell_of_a_stranger(self) -> None:
        with pytest.raises(RoutelabError, match="nobody"):
            self.router.record_outcome("nobody", quality=0.5, cost_usd=0.001)

    @rule(position=st.integers(0, 4))
    def add(self, position: int) -> None:
        provider = SimulatedProvider(DEFAULT_PROVIDERS[position])
        if provider.name in self.router.pool:
            with pytest.raises(RoutelabError, match="already"):
                self.router.add_provider(provider)
        else:
            self.router.add_provider(provider)

    @rule(position=st.integers(0, 4))
    def remove(self, position: int) -> None:
        name = DEFAULT_PROVIDERS[position].name
        if name not in self.router.pool or len(self.router.pool) == 1:
            with pytest.raises(RoutelabError, match=r"unknown|no provider|last provider"):
                self.router.remove_provider(name)
        else:
            self.router.remove_provider(name)

    @rule(position=st.integers(0, 4), price=st.sampled_from([0.0, 0.5, 20.0]))
    def reprice(self, position: int, price: float) -> None:
        name = DEFAULT_PROVIDERS[position].name
        if name not in self.router.pool:
            with pytest.raises(RoutelabError, match="no provider"):
                self.router.reprice_provider(name, Price(price, price))
        elif price == 0.0:
            with pytest.raises(RoutelabError, match="cannot fall to 0"):
                self.router.reprice_provider(name, Price(price, price))
        else:
            self.router.reprice_provider(name, Price(price, price))
            assert self.router.pool.prices[name] == Price(price, price)

    @invariant()
    def the_router_is_whole(self) -> None:
        if not hasattr(self, "router"):
            return
        policy, pending = self.router.policy, self.router.pending
        assert set(policy.providers_) == set(self.router.pool.names)
        assert pending.waiting <= self.horizon
        assert len(pending._entries) <= self.horizon
        x = self.router.features(EASY)
        probabilities = policy.propensities(x, OBJECTIVE)()
        assert probabilities.sum() == pytest.approx(1.0, abs=1e-3)
        assert (probabilities >= -1e-9).all()
        expected = policy.predict(x[None, :])
        assert np.isfinite(expected.quality).all()
        assert (expected.cost >= 0.0).all()

    @invariant()
    def the_log_holds_every_outcome_once(self) -> None:
        if hasattr(self, "router"):
            assert self.db.count()[0] == self.router.pending.count
            log = self.db.log().set_index("decision_id")["quality"]
            assert {name: log[name] for name in self.outcomes} == self.outcomes


Serving.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_no_sequence_of_events_corrupts_a_router = Serving.TestCase
