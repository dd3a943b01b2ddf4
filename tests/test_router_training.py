from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from routelab import (
    EpsilonGreedyPolicy,
    ForestClassifierPolicy,
    ForestPolicy,
    LLMRequest,
    MLRouter,
    PerformanceDB,
    RoutelabError,
    RulePolicy,
    ThompsonPolicy,
    simulated_providers,
)
from routelab.routers.training import heldout_rows
from routelab.tables.synthetic import SyntheticData, World
from routing import EASY, HARD, TRADE_OFF, Answering, answer_all, newcomer, record, requests, small_forest


@pytest.fixture(scope="module")
def world() -> SyntheticData:
    return World().generate(600, seed=1)


def test_training_on_too_little_says_what_is_missing(db: PerformanceDB) -> None:
    with pytest.raises(RoutelabError, match=r"no db to train on; give db="):
        asyncio.run(MLRouter(simulated_providers()).train())
    router = MLRouter(simulated_providers(), db=db)
    with pytest.raises(RoutelabError, match=r"no decision .* has an outcome yet; record outcomes first"):
        asyncio.run(router.train())
    for request in requests(30):
        router.record_outcome(router.decide(request).decision_id, quality=None, cost_usd=0.001)
    with pytest.raises(RoutelabError, match="0 answered requests are too few; record at least 20"):
        asyncio.run(router.train())
    for request in requests(30):
        router.record_outcome(
            router.decide(replace(request, estimated_complexity=0.0, requires_reasoning=False)).decision_id,
            quality=0.5,
            cost_usd=0.001,
        )
    with pytest.raises(RoutelabError, match="fewer than two providers have graded outcomes"):
        asyncio.run(router.train())
    assert (router.policy.providers_, router.policy_version) == ((), 0)


def test_a_router_that_explores_trains_on_its_own_log(db: PerformanceDB) -> None:
    policy = EpsilonGreedyPolicy(0.3, base=small_forest())
    router = MLRouter(simulated_providers(), policy, db=db, objective=TRADE_OFF)
    answer_all(router, requests(150))
    first = asyncio.run(router.train())
    assert first.n_train + first.n_heldout == 150
    assert (first.accuracy, first.utility) == (None, None)  # one provider answered each request: no best is known
    assert 0.0 < first.quality_mae < 0.4
    assert 0.0 < first.cost_mae_usd < 0.02
    answer_all(router, requests(150, seed=3))
    log = db.log()
    rules, learned = (log[log["policy_version"] == version] for version in ("0", "1"))
    assert (rules["propensity"] < 1.0).all()  # it explores around the rules, too, before there is a forest
    learned = learned[~learned["policy"].str.endswith("after failure")]
    assert set(learned["policy"]) == {"EpsilonGreedyPolicy"}
    assert set(learned["propensity"].round(9)) == {0.06, 0.76}
    chosen = [p[names.index(one)] for p, names, one in learned[["probabilities", "providers", "provider"]].to_numpy()]
    assert learned["propensity"].to_numpy() == pytest.approx(chosen)
    assert (learned["propensity"] < 0.5).mean() == pytest.approx(0.24, abs=0.12)
    assert asyncio.run(router.train()).n_train > first.n_train


def test_training_on_full_information_beats_rules_and_the_best_provider(
    db: PerformanceDB, world: SyntheticData
) -> None:
    router = MLRouter(simulated_providers(), small_forest(), db=db, objective=TRADE_OFF)
    record(router, world)
    report = asyncio.run(router.train())
    assert report.n_train + report.n_heldout == 600
    assert report.accuracy is not None
    assert report.utility is not None
    assert report.best_single_utility is not None
    assert report.accuracy > 1 / 5 + 0.1
    assert report.utility > report.best_single_utility

    fresh = World().generate(400, seed=9)
    X = router.featurizer.transform(fresh.table)
    truth = TRADE_OFF.utility(fresh.expected_quality, fresh.expected_cost)
    rules = RulePolicy().fit(X, fresh.table.quality, fresh.table.cost, providers=fresh.table.providers)

    def value(policy: ForestPolicy | RulePolicy) -> float:
        order = [policy.providers_.index(name) for name in fresh.table.providers]
        return float((policy.action_probabilities(X, TRADE_OFF)[:, order] * truth).sum(axis=1).mean())

    assert isinstance(router.policy, ForestPolicy)
    assert value(router.policy) > max(value(rules), truth.mean(axis=0).max()) + 0.03


def test_the_classifier_serves_its_own_trade_off_end_to_end(db: PerformanceDB, world: SyntheticData) -> None:
    classifier = ForestClassifierPolicy(TRADE_OFF, n_estimators=20)
    router = MLRouter(simulated_providers(), classifier, db=db)
    assert router.objective == TRADE_OFF
    record(router, world)
    report = asyncio.run(router.train())
    assert report.accuracy is not None
    assert report.accuracy > 1 / 5 + 0.1
    decision, completion = asyncio.run(router.complete(HARD))
    assert decision.policy.startswith("ForestClassifierPolicy")
    assert completion.provider == decision.provider.name
    assert db.log().iloc[-1]["objective"]["cost_weight"] == TRADE_OFF.cost_weight


def test_the_classifier_needs_requests_that_several_providers_answered(db: PerformanceDB) -> None:
    router = MLRouter(simulated_providers(), ForestClassifierPolicy(), db=db)
    answer_all(router, requests(60))
    with pytest.raises(RoutelabError, match=r"no prompt was answered by two providers.*use ForestPolicy"):
        asyncio.run(router.train())


def test_routing_goes_on_during_training_and_the_new_policy_replaces_the_old_in_one_step(
    db: PerformanceDB, world: SyntheticData
) -> None:
    champion = EpsilonGreedyPolicy(0.1, base=ForestPolicy(n_estimators=40))
    router = MLRouter(simulated_providers(), champion, db=db)
    record(router, world)
    asyncio.run(router.train())
    assert champion.providers_ == ()  # the fit works on a clone, also of the policy inside
    serving = router.policy
    assert isinstance(serving, EpsilonGreedyPolicy)
    inner, X = serving.base_, router.featurizer.transform([EASY, HARD])
    before = serving.predict(X).quality

    async def work() -> int:
        task, routed = asyncio.create_task(router.train()), 0
        await asyncio.sleep(0)
        while not task.done():
            await router.route(HARD)
            assert task.done() or router.policy is serving
            routed += 1
            await asyncio.sleep(0.001)
        await task
        return routed

    assert asyncio.run(work()) > 10
    assert isinstance(router.policy, EpsilonGreedyPolicy)
    assert router.policy.base_ is not inner
    assert serving.base_ is inner
    assert np.array_equal(serving.predict(X).quality, before)
    assert set(db.log()["policy_version"]) == {"", "1"}
    assert router.policy_version == 2


def test_providers_that_come_and_go_during_training_are_as_they_are_now(
    db: PerformanceDB, world: SyntheticData
) -> None:
    router = MLRouter(simulated_providers(), small_forest(), db=db)
    record(router, world)

    async def work() -> None:
        task = asyncio.create_task(router.train())
        await asyncio.sleep(0)
        router.remove_provider("frontier")
        router.add_provider(newcomer())
        await task

    asyncio.run(work())
    assert set(router.policy.providers_) == set(router.pool.names) == {"nano", "mini", "coder", "large", "newcomer"}


def test_a_provider_with_one_outcome_does_not_stop_training(db: PerformanceDB) -> None:
    router = MLRouter([Answering(name) for name in "abc"], ThompsonPolicy(), db=db)
    for row, request in enumerate(requests(40)):
        decision = router.decide(replace(request, estimated_complexity=0.5 * (row % 2), requires_reasoning=False))
        router.record_outcome(decision.decision_id, quality=0.5, cost_usd=0.001)
    router.record_outcome(router.decide(HARD).decision_id, quality=1.0, cost_usd=0.001)
    for seed in range(20):  # on some of them the one outcome is held out
        router.seed = seed
        asyncio.run(router.train())
        assert set(router.policy.providers_) == set("abc")


def test_equal_features_stay_on_one_side_of_the_held_out_split(db: PerformanceDB) -> None:
    router = MLRouter([Answering("a"), Answering("b")], ThompsonPolicy(), db=db)
    for request in requests(25):
        for _ in range(4):
            for level in (0.0, 1.0):
                decision = router.decide(replace(request, estimated_complexity=level, request_id=None))
                router.record_outcome(decision.decision_id, quality=level, cost_usd=0.001)
    report = asyncio.run(router.train())
    assert report.n_train + report.n_heldout == 200
    assert report.n_train % 4 == report.n_heldout % 4 == 0


def test_providers_come_and_go_before_and_after_training(db: PerformanceDB, world: SyntheticData) -> None:
    router = MLRouter(simulated_providers(), small_forest(), db=db)
    router.add_provider(newcomer())
    router.remove_provider("nano")
    assert asyncio.run(router.route(EASY)).name != "nano"
    record(router, world)
    asyncio.run(router.train())
    assert set(router.policy.providers_) == {"mini", "coder", "large", "frontier", "newcomer"}
    router.remove_provider("newcomer")
    router.add_provider(newcomer("later"), quality=1.0)
    assert asyncio.run(router.route(HARD)).name == "later"
    for change in (lambda: router.add_provider(newcomer("later")), lambda: router.remove_provider("nano")):
        with pytest.raises(RoutelabError, match=r"already has a provider 'later'|'nano' is unknown"):
            change()
    assert set(router.policy.providers_) == set(router.pool.names)


def test_a_trained_router_falls_to_the_best_that_is_left(db: PerformanceDB, world: SyntheticData) -> None:
    providers = simulated_providers()
    router = MLRouter(providers, small_forest(), db=db)
    record(router, world)
    asyncio.run(router.train())
    ranking = sorted(router.estimates(HARD).items(), key=lambda item: -item[1][0])
    best, second = ranking[0][0], ranking[1][0]
    next(p for p in providers if p.name == best).outage = True
    decision, completion = asyncio.run(router.complete(HARD))
    assert decision.provider.name == completion.provider == second


def test_the_same_prompt_never_stands_on_both_sides_of_the_held_out_split(
    db: PerformanceDB,
) -> None:
    router = MLRouter(simulated_providers(), EpsilonGreedyPolicy(0.5, small_forest()), db=db)
    texts = [f"Prove theorem {number}, please." for number in range(20)]
    answer_all(router, [LLMRequest(text, time_of_day=hour) for text in texts for hour in (1, 5, 9, 13, 17, 21)])
    data = db.get_training_data()
    held = heldout_rows(data, np.arange(len(data.X)), 0.3, np.random.default_rng(0))
    assert 0 < held.sum() < len(held)
    assert not set(data.prompt_sha256[held]) & set(data.prompt_sha256[~held])
    assert len(np.unique(data.X, axis=0)) > len(texts)  # the hour makes rows differ, so features alone would leak
