"""Shadow mode, and exploration: logs that can answer what another router would have done."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from routelab import (
    BanditRouter,
    EpsilonGreedyPolicy,
    FixedPolicy,
    ForestBanditPolicy,
    ForestPolicy,
    LinTSPolicy,
    LinUCBPolicy,
    LLMRequest,
    MLRouter,
    Objective,
    PerformanceDB,
    RandomPolicy,
    RequestFeaturizer,
    ShadowRouter,
    ThompsonPolicy,
    simulated_providers,
)
from routelab.abtest.shadow_report import shadow_log
from routelab.db_records import AFTER_FAILURE
from routelab.errors import ExperimentError
from routelab.policies import Policy
from routelab.providers import Completion
from routelab.routers import Router
from routing import EASY, Answering, patient, requests

QUALITY = {"x": 0.2, "y": 0.9, "z": 0.6}
FEATURIZER = RequestFeaturizer(embedder=None).fit([EASY])


def known(policy: Policy, names: tuple[str, ...] = tuple(QUALITY)) -> Policy:
    """``policy``, fitted for providers of these qualities."""
    quality = np.array([[QUALITY.get(name, 0.5) for name in names]])
    return policy.fit(np.zeros((1, len(FEATURIZER.feature_names_))), quality, 0.001 + 0.0 * quality, providers=names)


def router_of(policy: Policy, **changes: object) -> Router:
    settings = {"featurizer": FEATURIZER, **changes}
    return MLRouter([Answering(name, QUALITY.get(name, 0.5)) for name in policy.providers_], policy, **settings)  # type: ignore[arg-type]


def best() -> Router:
    return router_of(known(FixedPolicy()))  # always y


def exploring(epsilon: float, **changes: object) -> Router:
    return router_of(EpsilonGreedyPolicy(epsilon, known(ThompsonPolicy())), **changes)


def answer(router: ShadowRouter | Router, n: int) -> None:
    async def work() -> None:
        for _ in range(n):
            await router.complete(EASY)

    asyncio.run(work())


# --- shadow mode ---


def test_the_live_router_decides_as_it_would_without_a_shadow_which_is_never_executed(db: PerformanceDB) -> None:
    asked = []

    class Counting(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            asked.append(self.name)
            return await super().complete(request)

    with PerformanceDB("sqlite://") as other:
        answer(exploring(0.3, db=other), 50)
        alone = other.log()["provider"].tolist()
    shadow = MLRouter([Counting(name) for name in QUALITY], known(FixedPolicy()), featurizer=FEATURIZER)
    answer(ShadowRouter(exploring(0.3), {"best": shadow}, db), 50)
    assert db.log()["provider"].tolist() == alone
    assert asked == []
    assert db.count() == (50, 50)
    assert shadow.pending.count == 0
    assert set(db.shadows()["provider"]) == {"y"}


def test_a_shadow_choice_is_logged_with_its_probabilities_and_joins_the_request(db: PerformanceDB) -> None:
    shadow = router_of(EpsilonGreedyPolicy(0.3, known(FixedPolicy(), ("w", "y", "x"))))
    router = ShadowRouter(exploring(0.5), {"other arms": shadow, "best": best()}, db)
    answer(router, 40)
    router.decide(LLMRequest("Why?", request_id="mine"))
    choices = db.shadows().query("shadow == 'other arms'")
    assert len(choices) == 41
    np.testing.assert_allclose(np.array(choices["probabilities"].tolist()), np.tile([0.1, 0.8, 0.1], (41, 1)))
    assert set(choices["provider"]) == {"w", "y", "x"}
    np.testing.assert_allclose(choices["propensity"], np.where(choices["provider"] == "y", 0.8, 0.1))
    joined = shadow_log(db, "other arms")
    assert joined["request_id"].tolist() == db.log()["request_id"].tolist()
    assert joined["request_id"].iloc[-1] == "mine"
    assert joined["providers"].iloc[0] == ["x", "y", "z"]
    np.testing.assert_allclose(np.array(joined["shadow_probabilities"].tolist()), np.tile([0.1, 0.8, 0.0], (41, 1)))
    assert router.report("other arms").supported == pytest.approx(0.9)  # w was never to be had
    assert router.report("best").agreement == (db.log()["provider"] == "y").mean() < 1.0


def test_the_report_says_what_a_deterministic_log_cannot_answer(db: PerformanceDB) -> None:
    half = router_of(known(RandomPolicy()))
    live = router_of(known(FixedPolicy()))
    router = ShadowRouter(live, {"random": half}, db)
    answer(router, 600)
    router.decide(EASY)  # without an outcome
    report = router.report("random")
    assert (report.requests, report.quality, report.cost_usd) == pytest.approx((601, 0.9, 0.001))
    assert report.agreement == pytest.approx(1 / 3, abs=0.08)
    assert report.supported == pytest.approx(1 / 3)
    assert report.graded in (round(report.agreement * 601), round(report.agreement * 601) - 1)
    told = str(report)
    assert "cannot show the answers, costs and failures of providers that were not executed" in told
    assert "For 66.7% of its choices the live router had no chance of choosing alike: no estimator answers" in told
    assert "that is not its value over all requests" in told


def test_an_exploring_live_router_lets_the_shadow_be_estimated(db: PerformanceDB) -> None:
    policy = EpsilonGreedyPolicy(0.4, known(FixedPolicy()))  # y, or any of the three
    router = ShadowRouter(router_of(policy), {"random": router_of(known(RandomPolicy()))}, db)
    answer(router, 3000)
    report = router.report("random")
    assert report.supported == 1.0
    assert "off-policy estimators (evaluation.ope) answer for it" in str(report)
    log = shadow_log(db, "random")
    arms = zip(log["shadow_probabilities"], log["providers"], log["provider"], strict=True)
    weights = np.array([p[names.index(chosen)] for p, names, chosen in arms]) / log["propensity"]
    estimate, error = (weights * log["quality"]).mean(), (weights * log["quality"]).sem()
    assert error < 0.02
    assert estimate == pytest.approx(np.mean(list(QUALITY.values())), abs=4 * error)
    assert abs(log["quality"].mean() - estimate) > 10 * error  # what the live router got is another thing


def test_a_second_choice_after_a_failure_is_compared_with_nobody(db: PerformanceDB) -> None:
    providers = patient(Answering("x", 0.2), Answering("y", fails="raises"), Answering("z", 0.6))
    live = MLRouter(providers, known(FixedPolicy()), featurizer=FEATURIZER, clock=lambda: 5.0)
    answer(ShadowRouter(live, {"best": best()}, db), 20)
    assert len(db.log()) == 40
    log = shadow_log(db, "best")
    assert log["provider"].tolist() == ["y"] * 20
    assert log["error"].tolist() == ["y is down"] * 20


def test_a_shadow_that_is_not_trained_yet_decides_by_the_rules_it_would_follow(db: PerformanceDB) -> None:
    untrained = MLRouter([Answering(name) for name in QUALITY], featurizer=FEATURIZER)
    router = ShadowRouter(exploring(0.5), {"new": untrained}, db)
    answer(router, 3)
    assert router.failures == {}
    assert db.shadows()[["policy", "propensity"]].drop_duplicates().to_numpy().tolist() == [["RulePolicy", 1.0]]


def test_a_shadow_that_raises_harms_nobody(db: PerformanceDB) -> None:
    broken = router_of(LinUCBPolicy().add_provider("x"))
    broken.policy.update(np.ones(3), 0, 0.5)  # of another width than its featurizer gives
    router = ShadowRouter(best(), {"broken": broken, "sound": exploring(0.5)}, db)
    answer(router, 4)
    assert db.count() == (4, 4)
    assert router.failures == {"broken": 4}
    assert router.last_error["broken"].startswith("PolicyError: the policy")
    assert set(db.shadows()["shadow"]) == {"sound"}
    with pytest.raises(ExperimentError, match=r"no shadow 'broken' in .*, only \['sound'\]; check its name"):
        router.report("broken")


def test_feedback_reaches_the_live_router_and_no_shadow(db: PerformanceDB) -> None:
    def bandit() -> BanditRouter:
        return BanditRouter([Answering(name, None) for name in "xy"], featurizer=FEATURIZER)

    live, shadow = bandit(), bandit()
    router = ShadowRouter(live, {"same": shadow}, db)
    before = shadow.policy.predict(np.zeros((1, 1))).quality.tolist()
    decision, _ = asyncio.run(router.complete(EASY))
    router.grade(decision.decision_id, 1.0)
    router.record_outcome(router.decide(EASY).decision_id, quality=1.0, cost_usd=0.0)
    assert live.policy.predict(np.zeros((1, 1))).quality.sum() > np.sum(before)
    assert shadow.policy.predict(np.zeros((1, 1))).quality.tolist() == before


def test_a_shadow_of_itself_and_a_log_elsewhere_are_refused(db: PerformanceDB) -> None:
    live = best()
    with pytest.raises(ExperimentError, match="the live router is its own shadow"):
        ShadowRouter(live, {"s": live}, db)
    with PerformanceDB("sqlite://") as other, pytest.raises(ExperimentError, match="the router of 'live' has another"):
        ShadowRouter(exploring(0.1, db=other), {"s": best()}, db)


@pytest.mark.parametrize(
    "policy", [ThompsonPolicy(forgetting=0.99), LinTSPolicy(forgetting=0.99), EpsilonGreedyPolicy(0.3, ForestPolicy(5))]
)
def test_a_hundred_choices_leave_a_shadow_as_it_was(db: PerformanceDB, policy: Policy) -> None:
    rng = np.random.default_rng(0)
    X, cost = rng.random((60, len(FEATURIZER.feature_names_))), np.full((60, 3), 0.001)
    policy.fit(X, rng.random((60, 3)), cost, providers=tuple(QUALITY))
    if policy.online:
        policy.select(X[0], Objective(), rng)  # a decision that waits for its outcome
    before, believed = policy.to_bundle(), policy.propensities(X[0], Objective())()
    answer(ShadowRouter(best(), {"s": router_of(policy)}, db), 100)
    after = policy.to_bundle()
    assert (after.meta, after.onnx) == (before.meta, before.onnx)
    assert {k: v.tobytes() for k, v in after.arrays.items()} == {k: v.tobytes() for k, v in before.arrays.items()}
    assert policy.propensities(X[0], Objective())().tolist() == believed.tolist()
    choices = db.shadows()
    assert len(choices) == 100
    p = np.array(choices["probabilities"].tolist())
    chosen = np.array([[provider == name for name in QUALITY] for provider in choices["provider"]])
    np.testing.assert_allclose(choices["propensity"], p[chosen])
    assert (np.abs((chosen - p).sum(axis=0)) <= 4.0 * np.sqrt((p * (1.0 - p)).sum(axis=0)) + 1e-9).all()


# --- exploration ---

EXPLORED: dict[str, Policy] = {
    "forest": ForestPolicy(10, min_samples_leaf=10, n_jobs=1),
    "linucb": LinUCBPolicy(),
    "lints": LinTSPolicy(),
    "thompson": ThompsonPolicy(),
    "forest bandit": ForestBanditPolicy(ForestPolicy(10, min_samples_leaf=10, n_jobs=1)),
}


@pytest.mark.parametrize("name", EXPLORED)
def test_an_exploring_router_plays_every_arm_as_often_as_it_logs(db: PerformanceDB, name: str) -> None:
    asked = requests(1000)
    pool = simulated_providers()
    featurizer = RequestFeaturizer(embedder=None).fit(asked)
    policy = EXPLORED[name]
    rng = np.random.default_rng(0)
    X, names = featurizer.transform(asked[:300]), tuple(provider.name for provider in pool)
    policy.fit(
        X, rng.random((300, len(names))), np.tile(np.geomspace(1e-4, 1e-2, len(names)), (300, 1)), providers=names
    )
    router = BanditRouter(pool, policy=EpsilonGreedyPolicy(0.3, policy), featurizer=featurizer, db=db, seed=3)
    if not policy.online:
        router = MLRouter(pool, router.policy, featurizer=featurizer, db=db, seed=3)  # type: ignore[assignment]

    async def work() -> None:
        for request in asked:
            await router.complete(request)

    asyncio.run(work())
    log = db.log()
    log = log[~log["policy"].str.endswith(AFTER_FAILURE)]  # nobody draws what is asked when a provider has failed
    p, k = np.array(log["probabilities"].tolist()), len(names)
    chosen = np.array([[provider == name for name in names] for provider in log["provider"]])
    np.testing.assert_allclose(log["propensity"], p[chosen], atol=1e-9)
    assert p.min() >= 0.3 / k - 1e-9
    for level in (p < 0.5, p >= 0.5):  # each arm, when it is explored and when it is exploited
        surprise = ((chosen - p) * level).sum(axis=0) / np.sqrt((p * (1 - p) * level).sum(axis=0) + 1e-12)
        assert np.abs(surprise).max() < 4.0
    weights = chosen / p
    assert np.abs((weights.mean(axis=0) - 1.0) / (weights.std(axis=0) / np.sqrt(len(p)))).max() < 4.0
