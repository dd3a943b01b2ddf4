from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routelab import (
    Completion,
    DriftMonitor,
    EpsilonGreedyPolicy,
    LinTSPolicy,
    LLMRequest,
    MeansPolicy,
    Objective,
    OnlineMLRouter,
    PerformanceDB,
    RequestFeaturizer,
    RoutelabError,
    ThompsonPolicy,
    load_policy,
    simulated_providers,
)
from routelab.performance_db import TrainingData
from routelab.policies import Policy
from routelab.policies.outcomes import Outcomes
from routelab.providers import Price
from routelab.routers import Version
from routelab.tables.synthetic import World
from routing import EASY, Answering, newcomer, record, requests, small_forest

NAMES = ("nano", "mini", "coder", "large", "frontier")
PLAIN = RequestFeaturizer(embedder=None, providers=NAMES).fit(requests(5))


def online(db: PerformanceDB | None, policy: Policy | None = None, **settings: Any) -> OnlineMLRouter:
    providers = settings.pop("providers", None) or simulated_providers()
    return OnlineMLRouter(providers, policy, featurizer=PLAIN, db=db, **settings)


def exploring() -> EpsilonGreedyPolicy:
    return EpsilonGreedyPolicy(0.3, small_forest())


def serve(router: OnlineMLRouter, asked: list[LLMRequest]) -> None:
    """Ask one request after the other; a fit that this starts is awaited before the next."""

    async def work() -> None:
        for request in asked:
            await router.route_and_learn(request)
            await router.finish_training()

    asyncio.run(work())


def told(versions: list[Version]) -> list[tuple[int | None, str, str]]:
    return [(version.number, version.reason, version.status) for version in versions]


def outcomes_learned(router: OnlineMLRouter) -> float:
    assert isinstance(router.policy, ThompsonPolicy)
    return float(router.policy.counts_[:2].sum())


# --- route, complete, grade, record, learn ---


def test_a_request_is_routed_answered_graded_recorded_and_learned(db: PerformanceDB) -> None:
    router = online(db, ThompsonPolicy())
    result = asyncio.run(router.route_and_learn(EASY))
    log = db.log().iloc[0]
    assert (log["decision_id"], log["provider"]) == (result.decision.decision_id, result.completion.provider)
    assert log["quality"] == result.quality == result.completion.quality
    assert outcomes_learned(router) == pytest.approx(1.0)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_without_a_grade_is_graded_by_the_grader(db: PerformanceDB, asynchronous: bool) -> None:
    def judge(request: LLMRequest, completion: Completion) -> float:
        return 0.25 if request is EASY and completion.cost_usd == 0.001 else 1.0

    async def slow_judge(request: LLMRequest, completion: Completion) -> float:
        await asyncio.sleep(0.001)
        return judge(request, completion)

    providers = [Answering("a", None), Answering("b", None)]
    router = online(db, ThompsonPolicy(), providers=providers, grader=slow_judge if asynchronous else judge)
    assert asyncio.run(router.route_and_learn(EASY)).quality == 0.25
    assert db.log()["quality"].tolist() == [0.25]
    assert outcomes_learned(router) == pytest.approx(1.0)


def test_what_the_grader_cannot_grade_waits_for_a_grade(db: PerformanceDB) -> None:
    grades: list[float | Exception | None] = [None, LookupError("judge is away"), 1.5]
    events: list[tuple[str, Any]] = []

    def judge(request: LLMRequest, completion: Completion) -> float | None:
        grade = grades.pop(0)
        if isinstance(grade, Exception):
            raise grade
        return grade

    providers = [Answering("a", None), Answering("b", None)]

    def listen(kind: str, values: dict[str, Any]) -> None:
        events.append((kind, values))
        raise OSError("nobody listens")

    router = online(db, ThompsonPolicy(), providers=providers, grader=judge, on_event=listen)
    ids = [asyncio.run(router.route_and_learn(EASY)).decision.decision_id for _ in range(2)]
    with pytest.raises(RoutelabError, match=r"Outcome.quality is 1.5"):
        asyncio.run(router.route_and_learn(EASY))
    assert [(kind, what["error"]) for kind, what in events] == [("grading failed", "LookupError: judge is away")]
    assert router.last_decision is not None
    assert (db.count(), outcomes_learned(router)) == ((3, 3), 0.0)
    for decision_id in (*ids, router.last_decision.decision_id):
        router.grade(decision_id, 1.0)
    assert (db.count(), outcomes_learned(router)) == ((3, 3), pytest.approx(3.0))


def test_two_hundred_requests_at_once_are_each_learned_once(db: PerformanceDB) -> None:
    router = online(db, ThompsonPolicy(), providers=simulated_providers(latency_scale=1e-4), retrain_after=50)

    async def work() -> list[str]:
        results = await asyncio.gather(*map(router.route_and_learn, requests(200)))
        await router.finish_training()
        return [result.decision.decision_id for result in results]

    ids = asyncio.run(work())
    log = db.log()
    assert len(set(ids)) == 200
    assert set(ids) <= set(log["decision_id"])
    assert log["quality"].notna().all()
    assert router.pending.waiting == 0
    assert outcomes_learned(router) == pytest.approx(len(log))


def test_a_router_that_could_never_learn_or_retrain_is_refused(db: PerformanceDB) -> None:
    with pytest.raises(RoutelabError, match="EpsilonGreedyPolicy learns from a log only; give db="):
        online(None)
    for settings in ({"retrain_after": 0}, {"retrain_every_s": -1.0}):
        (name,) = settings
        with pytest.raises(RoutelabError, match=rf"OnlineMLRouter.{name} is .*; give a number > 0, or None for never"):
            online(db, **settings)
    assert outcomes_learned(online(None, ThompsonPolicy())) == 0.0


# --- retraining ---


def test_it_retrains_after_so_many_outcomes_and_every_decision_carries_its_version(db: PerformanceDB) -> None:
    router = online(db, exploring(), retrain_after=60)
    serve(router, requests(200))
    assert [(version.reason, version.status in ("served", "rejected")) for version in router.versions] == [
        ("60 outcomes", True)
    ] * len(router.versions)
    assert len(router.versions) >= 3
    first, *later = router.versions
    assert (first.number, first.status, first.loss, first.n_train) == (1, "served", None, 60)
    assert all(version.n_heldout >= 20 and version.loss is not None for version in later)
    assert all((version.number is None) == (version.status == "rejected") for version in later)
    assert all((version.loss <= version.champion_loss) == (version.status == "served") for version in later)  # type: ignore[operator]
    served = ["0", *(str(version.number) for version in router.versions if version.number)]
    assert list(dict.fromkeys(db.log()["policy_version"])) == served[: router.policy_version + 1]
    assert (db.log()["propensity"] < 1.0).mean() > 0.9  # all but what followed a failure


def test_it_retrains_by_its_clock(db: PerformanceDB) -> None:
    now = [0.0]
    router = online(db, exploring(), retrain_after=None, retrain_every_s=100.0, clock=lambda: now[0])
    for request in requests(60):
        now[0] += 2.0
        serve(router, [request])
    assert told(router.versions) == [(1, "100 s", "served")]
    assert router.versions[0].at == 100.0


def test_routing_goes_on_during_one_fit_at_a_time(db: PerformanceDB) -> None:
    barrier, running, most = threading.Semaphore(0), [0], [0]

    class Watched(ThompsonPolicy):
        def _fit(self, data: Outcomes) -> None:
            running[0] += 1
            most[0] = max(most[0], running[0])
            barrier.acquire(timeout=10.0)
            super()._fit(data)
            running[0] -= 1

    router = online(db, Watched(), retrain_after=60)

    async def work() -> None:
        for request in requests(140):
            await router.route_and_learn(request)
            await asyncio.sleep(0.001)
        asked = asyncio.create_task(router.train())
        await asyncio.sleep(0.05)
        assert running == [1]  # it waits at the barrier since the 60th request
        barrier.release(4)
        await asked

    asyncio.run(work())
    assert most == [1]
    assert [version.reason for version in router.versions] == ["60 outcomes", "train"]


@pytest.mark.parametrize("before_reading", [True, False])
def test_what_comes_during_a_fit_is_learned_once_by_the_new_version(before_reading: bool) -> None:
    barrier = threading.Semaphore(0)

    class Slow(PerformanceDB):
        def get_training_data(self, feature_set: str | None = None) -> TrainingData:
            if before_reading:  # what is recorded meanwhile is read, too
                barrier.acquire()
                return super().get_training_data(feature_set)
            data = super().get_training_data(feature_set)
            barrier.acquire()
            return data

    async def work() -> None:
        fit = None
        for number, request in enumerate(requests(80)):
            fit = asyncio.create_task(router.train()) if number == 40 else fit
            await router.route_and_learn(request)
            await asyncio.sleep(0.001)
        assert fit is not None
        assert router.training
        barrier.release()
        await fit

    with Slow("sqlite://") as db:
        router = online(db, ThompsonPolicy(), retrain_after=None)
        late = router.decide(EASY).decision_id
        asyncio.run(work())
        router.record_outcome(late, quality=1.0, cost_usd=0.001)
        assert router.policy_version == 1
        assert outcomes_learned(router) == pytest.approx(db.count()[1])


def test_a_challenger_that_forecasts_worse_is_not_served(db: PerformanceDB) -> None:
    world = World().generate(800, seed=1)
    champion = small_forest().fit(
        PLAIN.transform(world.table), world.table.quality, world.table.cost, providers=world.table.providers
    )
    router = online(db, EpsilonGreedyPolicy(0.3, champion), retrain_after=80)
    serving = router.policy
    serve(router, requests(90))
    (version,) = router.versions
    assert (version.status, version.number, router.policy_version) == ("rejected", None, 0)
    assert version.loss is not None
    assert version.champion_loss is not None
    assert version.loss > version.champion_loss
    assert router.policy is serving


def test_a_challenger_that_forecasts_better_replaces_the_champion(db: PerformanceDB) -> None:
    X = PLAIN.transform(requests(50))
    wrong = MeansPolicy().fit(X, np.tile([0.9, 0.7, 0.5, 0.3, 0.1], (50, 1)), np.full((50, 5), 0.5), providers=NAMES)
    router = online(db, EpsilonGreedyPolicy(0.5, wrong), retrain_after=80)
    serve(router, requests(90))
    (version,) = router.versions
    assert (version.status, version.number, router.policy_version) == ("served", 1, 1)
    assert version.loss is not None
    assert version.champion_loss is not None
    assert version.loss < version.champion_loss
    assert router.estimates(EASY)["frontier"][0] > 0.5


def test_a_fit_that_fails_is_told_and_stops_nothing(db: PerformanceDB) -> None:
    class Broken(ThompsonPolicy):
        def _fit(self, data: Outcomes) -> None:
            raise MemoryError("no room")

    events: list[tuple[str, str, str]] = []
    router = online(
        db,
        Broken(),
        retrain_after=60,
        on_event=lambda kind, what: events.append((kind, what["status"], what["error"])),
    )
    serve(router, requests(130))
    assert events == [("version", "failed", "MemoryError: no room")] * 2
    assert told(router.versions) == [(None, "60 outcomes", "failed")] * 2
    assert (router.policy_version, db.count()[1]) == (0, router.pending.count)


def test_without_an_event_loop_a_fit_waits_for_one_and_one_that_was_cut_off_begins_anew(db: PerformanceDB) -> None:
    router = online(db, exploring(), retrain_after=30)
    for request in requests(40):
        router.record_outcome(router.decide(request).decision_id, quality=0.5, cost_usd=0.001)
    assert not router.training
    asyncio.run(router.route_and_learn(EASY))  # ends with the event loop
    assert not router.versions
    serve(router, requests(20))
    assert told(router.versions) == [(1, router.versions[0].reason, "served")]


def test_train_serves_without_a_gate_and_only_one_at_a_time(db: PerformanceDB) -> None:
    router = online(db, exploring(), retrain_after=40)
    record(router, World().generate(100, seed=1))

    async def work() -> None:
        for request in requests(41):
            await router.route_and_learn(request)
        report = await router.train()
        assert report.n_train + report.n_heldout == 100 + 41

    asyncio.run(work())
    assert told(router.versions) == [(1, "40 outcomes", "served"), (2, "train", "served")]


# --- versions ---


def test_a_rollback_returns_to_the_version_before_with_providers_and_prices_of_now(db: PerformanceDB) -> None:
    router = online(db, exploring(), retrain_after=None)
    record(router, World().generate(100, seed=1))
    with pytest.raises(RoutelabError, match="no earlier version is kept"):
        router.rollback()
    asyncio.run(router.train())
    first = router.policy
    asyncio.run(router.train())
    paid = router.estimates(EASY)
    router.remove_provider("nano")
    router.add_provider(newcomer())
    router.reprice_provider("large", Price(2.4, 9.6))
    router.rollback()
    assert (router.policy, router.policy_version) == (first, 1)
    assert set(router.policy.providers_) == set(router.pool.names)
    assert router.estimates(EASY)["large"][1] == pytest.approx(2.0 * paid["large"][1])
    decision = router.decide(EASY)
    assert db.log().set_index("decision_id").loc[decision.decision_id, "policy_version"] == "1"
    router.rollback()
    assert (router.policy.providers_, router.policy_version) == ((), 0)
    asyncio.run(router.train())
    assert told(router.versions)[2:] == [
        (1, "rollback", "rollback"),
        (0, "rollback", "rollback"),
        (3, "train", "served"),
    ]


def test_a_rollback_during_a_fit_outlives_it(db: PerformanceDB) -> None:
    router = online(db, exploring(), retrain_after=40)
    record(router, World().generate(100, seed=1))

    async def work() -> None:
        await router.train()
        asked = iter(requests(500))
        while not router.training:
            await router.route_and_learn(next(asked))
        router.rollback()
        await router.finish_training()

    asyncio.run(work())
    assert [status for *_, status in told(router.versions)] == ["served", "rollback", "failed"]
    assert (router.policy.providers_, router.policy_version) == ((), 0)


def test_a_rollback_during_train_outlives_it(db: PerformanceDB) -> None:
    router = online(db, exploring(), retrain_after=None)
    record(router, World().generate(100, seed=1))

    async def work() -> None:
        await router.train()
        training = asyncio.create_task(router.train())
        await asyncio.sleep(0.01)
        router.rollback()
        with pytest.raises(RoutelabError, match="out of date"):
            await training

    asyncio.run(work())
    assert (router.policy.providers_, router.policy_version) == ((), 0)


def test_what_train_serves_is_saved(db: PerformanceDB, tmp_path: Path) -> None:
    router = online(db, exploring(), retrain_after=None, models_dir=tmp_path / "models")
    record(router, World().generate(100, seed=1))
    asyncio.run(router.train())
    assert load_policy(tmp_path / "models" / "version-0001").providers_ == router.policy.providers_


def test_every_version_that_is_served_is_saved(db: PerformanceDB, tmp_path: Path) -> None:
    router = online(db, exploring(), retrain_after=60, models_dir=tmp_path / "models")
    serve(router, requests(65))
    saved = load_policy(tmp_path / "models" / "version-0001")
    X = PLAIN.transform(requests(10))
    assert np.array_equal(saved.predict(X).quality, router.policy.predict(X).quality)


def test_a_retired_bandit_learns_no_more(db: PerformanceDB) -> None:
    router = online(db, ThompsonPolicy(), retrain_after=None)
    serve(router, requests(30))
    before = outcomes_learned(router)
    asyncio.run(router.train())
    serve(router, requests(30, seed=5))
    router.rollback()
    assert outcomes_learned(router) == before


# --- drift ---


def drifting(db: PerformanceDB, policy: Policy, events: list[tuple[str, Any]]) -> tuple[OnlineMLRouter, Answering]:
    providers = [Answering("nano", 0.9), Answering("mini", 0.6)]
    router = online(
        db,
        policy,
        providers=providers,
        retrain_after=100,
        monitor=DriftMonitor(),
        on_event=lambda kind, what: events.append((kind, what)),
    )
    return router, providers[0]


def test_a_drift_is_logged_told_and_followed_by_a_fit_without_what_was_before(db: PerformanceDB) -> None:
    events: list[tuple[str, Any]] = []
    router, provider = drifting(db, exploring(), events)
    serve(router, requests(300))
    assert router.estimates(EASY)["nano"][0] == pytest.approx(0.9, abs=0.02)
    provider.quality = 0.3
    serve(router, requests(120, seed=8))
    (drift,) = db.drifts().to_dict("records")
    assert drift["provider"] == "nano"
    assert (drift["before"], drift["after"]) == (pytest.approx(0.0, abs=0.03), pytest.approx(-0.6, abs=0.03))
    assert [what["provider"] for kind, what in events if kind == "drift"] == ["nano"]
    assert ("drift of nano", "served") in [(version.reason, version.status) for version in router.versions]
    learned = router.estimates(EASY)
    assert learned["nano"][0] == pytest.approx(0.3, abs=0.05)
    assert learned["mini"][0] == pytest.approx(0.6, abs=0.05)
    assert router.decide(EASY).estimates.quality[0].argmax() == router.policy.providers_.index("mini")


def test_a_bandit_forgets_the_arm_that_drifted_and_no_other(db: PerformanceDB) -> None:
    events: list[tuple[str, Any]] = []
    router, provider = drifting(db, EpsilonGreedyPolicy(0.3), events)
    router.retrain_after = None
    serve(router, requests(300))
    assert isinstance(router.policy, EpsilonGreedyPolicy)
    bandit = router.policy.base_
    assert isinstance(bandit, ThompsonPolicy)
    provider.quality, before = 0.3, None
    for request in requests(100, seed=8):
        counts = bandit.counts_[:2].sum(axis=0)
        serve(router, [request])
        if events:
            before, after = counts, bandit.counts_[:2].sum(axis=0)
            break
    assert before is not None
    assert after[0] < 0.2 * before[0]
    assert after[1] == pytest.approx(before[1])
    assert [kind for kind, _ in events] == ["drift"]


# --- prices ---


def test_a_price_that_changes_changes_what_is_expected_and_what_is_trained_on(db: PerformanceDB) -> None:
    now = [0.0]
    router = online(db, exploring(), retrain_after=None, clock=lambda: now[0])
    for request in requests(80):
        now[0] += 1.0
        serve(router, [request])
    asyncio.run(router.train())
    before, quality = router.estimates(EASY)["large"]
    now[0] += 1.0
    router.reprice_provider("large", Price(0.12, 0.48))
    assert router.pool.prices["large"] == Price(0.12, 0.48)
    assert router.estimates(EASY)["large"] == pytest.approx((before, quality * 0.1))
    asyncio.run(router.train())
    assert router.estimates(EASY)["large"][1] == pytest.approx(quality * 0.1, rel=0.3)


def test_a_price_that_cannot_change_leaves_everything_as_it_was() -> None:
    router = online(None, ThompsonPolicy(), providers=[*simulated_providers(), Answering("fixed")])
    before = (router.pool.prices, router.estimates(EASY))

    class Stubborn(ThompsonPolicy):
        def reprice_provider(self, name: str, factor: float) -> Any:
            raise RoutelabError("cannot be repriced")

    attempts: list[tuple[Callable[[], None], str]] = [
        (lambda: router.reprice_provider("fixed", Price(9.0, 9.0)), "'fixed' has no set_price"),
        (lambda: router.reprice_provider("nobody", Price(9.0, 9.0)), "no provider 'nobody'"),
        (lambda: router.reprice_provider("nano", Price(-1.0, 9.0)), "Price.input is -1.0"),
    ]
    for attempt, message in attempts:
        with pytest.raises(RoutelabError, match=message):
            attempt()
    assert (router.pool.prices, router.estimates(EASY), router.price_changes) == (*before, [])
    stubborn = online(None, Stubborn())
    with pytest.raises(RoutelabError, match="cannot be repriced"):
        stubborn.reprice_provider("nano", Price(9.0, 9.0))
    assert stubborn.pool.prices["nano"] == before[0]["nano"]


# --- evaluation of other policies stays possible ---


@pytest.mark.parametrize("policy", [None, LinTSPolicy(), EpsilonGreedyPolicy(0.2)])
def test_the_log_holds_the_probability_of_every_choice(db: PerformanceDB, policy: Policy | None) -> None:
    router = online(db, policy, objective=Objective(cost_weight=5.0), retrain_after=50)
    serve(router, requests(70))
    log = db.log()
    assert np.array(log["probabilities"].tolist()).sum(axis=1) == pytest.approx(1.0, abs=1e-3)
    drawn = log[~log["policy"].str.endswith("after failure")]
    chosen = [p[names.index(one)] for p, names, one in drawn[["probabilities", "providers", "provider"]].to_numpy()]
    assert drawn["propensity"].to_numpy() == pytest.approx(chosen, abs=1e-3)
