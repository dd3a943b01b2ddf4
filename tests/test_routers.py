from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from routelab import (
    BanditRouter,
    Completion,
    EpsilonGreedyPolicy,
    LLMRequest,
    MLRouter,
    Objective,
    OnlineMLRouter,
    PerformanceDB,
    RequestFeaturizer,
    RoutelabError,
    ThompsonPolicy,
    simulated_providers,
)
from routelab.errors import PolicyError
from routelab.providers import Price, ProviderError
from routelab.redaction import redacted
from routing import EASY, HARD, Answering, answer_all, requests


def test_an_untrained_router_follows_the_rules_on_present_prices() -> None:
    providers = simulated_providers()
    router = MLRouter(providers[::-1])
    assert asyncio.run(router.route(EASY)).name == "nano"
    assert asyncio.run(router.route(HARD)).name == "frontier"
    assert router.last_decision is not None
    assert (router.last_decision.policy, router.last_decision.propensity) == ("RulePolicy", 1.0)
    providers[0].set_price(Price(1000.0, 1000.0))
    assert asyncio.run(router.route(EASY)).name == "mini"


def test_a_decision_is_in_the_log_before_its_provider_is_asked(db: PerformanceDB) -> None:
    seen = []

    class Looking(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            seen.append((db.log()["provider"].tolist(), db.count()))
            return await super().complete(request)

    router = MLRouter([Looking("a"), Looking("b")], db=db)
    decision, _ = asyncio.run(router.complete(EASY))
    assert seen == [([decision.provider.name], (1, 0))]
    assert db.count() == (1, 1)


def test_outcomes_join_their_decisions_late_and_in_any_order(db: PerformanceDB) -> None:
    router = MLRouter(simulated_providers(), db=db)
    first, second = router.decide(EASY), router.decide(replace(HARD, request_id="mine", unit_id="u7"))
    router.record_outcome(second.decision_id, quality=0.9, cost_usd=0.02, latency_s=3.0, output_tokens=7)
    log = db.log().set_index("decision_id")
    assert np.isnan(log.loc[first.decision_id, "quality"])
    assert log.loc[second.decision_id, ["request_id", "unit_id", "provider"]].tolist() == ["mine", "u7", "frontier"]
    router.record_outcome(first.decision_id, quality=0.1, cost_usd=0.0)
    log = db.log().set_index("decision_id")
    assert log.loc[first.decision_id, ["quality", "provider"]].tolist() == [0.1, "nano"]
    assert log.loc[second.decision_id, ["quality", "cost_usd", "latency_s", "output_tokens"]].tolist() == [
        0.9,
        0.02,
        3.0,
        7,
    ]


def test_feedback_twice_of_nobody_or_out_of_range_is_refused_and_a_refused_one_can_be_mended(db: PerformanceDB) -> None:
    router = BanditRouter(simulated_providers(), db=db)
    router.select_provider(EASY)
    assert router.last_decision is not None
    decision_id = router.last_decision.decision_id
    before = router.policy.predict(np.zeros((1, 1))).quality.tolist()
    with pytest.raises(RoutelabError, match=r"Outcome.quality is 1.2"):
        router.record_outcome(decision_id, quality=1.2, cost_usd=0.0)
    assert router.policy.predict(np.zeros((1, 1))).quality.tolist() == before
    router.record_outcome(decision_id, quality=1.0, cost_usd=0.0)
    learned = router.policy.predict(np.zeros((1, 1))).quality.tolist()
    assert learned != before
    router.record_outcome(decision_id, quality=1.0, cost_usd=0.0)  # the same again
    with pytest.raises(RoutelabError, match=f"'{decision_id}' has another outcome already; the first one stays"):
        router.record_outcome(decision_id, quality=0.0, cost_usd=0.0)
    with pytest.raises(RoutelabError, match="unknown decision_id 'nobody'"):
        router.record_outcome("nobody", quality=0.0, cost_usd=0.0)
    assert router.policy.predict(np.zeros((1, 1))).quality.tolist() == learned
    assert db.count() == (1, 1)


@pytest.mark.parametrize("objective", [Objective(), Objective(cost_weight=2.0, latency_weight=0.1)])
@pytest.mark.parametrize("fails", ["raises", "returns"])
def test_a_provider_that_fails_falls_to_the_next_and_its_failure_is_an_outcome(
    db: PerformanceDB, objective: Objective, fails: str
) -> None:
    router = MLRouter([Answering("a", fails=fails), Answering("b", 0.7)], db=db, objective=objective)
    decision, completion = asyncio.run(router.complete(EASY))
    assert (decision.provider.name, completion.quality) == ("b", 0.7)
    log = db.log()
    assert log["provider"].tolist() == ["a", "b"]
    assert log["quality"].tolist() == [0.0, 0.7]
    assert log["error"].tolist()[0] == "a is down"
    assert log["policy"].tolist() == ["RulePolicy", "RulePolicy after failure"]


def test_any_exception_of_a_provider_is_a_failure(db: PerformanceDB) -> None:
    router = MLRouter([Answering("a", fails="times out"), Answering("b", 0.7)], db=db)
    assert asyncio.run(router.complete(EASY))[0].provider.name == "b"
    assert db.log()["error"].tolist()[0] == "TimeoutError: no answer in 60 s"


def test_a_cancelled_request_leaves_an_ungraded_outcome_and_nothing_pending(db: PerformanceDB) -> None:
    router = MLRouter([Answering("a", fails="hangs"), Answering("b", fails="hangs")], db=db)
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(router.complete(EASY), 0.05))
    log = db.log()
    assert (len(log), log["error"][0], log["quality"].isna()[0]) == (1, "cancelled by the caller", True)


def test_an_answer_without_a_grade_waits_for_one_and_is_learned_then(db: PerformanceDB) -> None:
    router = BanditRouter([Answering("a", None), Answering("b", None)], db=db)
    decision, _ = asyncio.run(router.complete(EASY))
    assert db.log()[["cost_usd", "latency_s"]].to_numpy().tolist() == [[0.001, 0.2]]  # known before the grade
    assert db.log()["quality"].isna().all()
    router.grade(decision.decision_id, 0.9)
    outcome = db.log().iloc[0]
    assert (outcome["quality"], outcome["cost_usd"], outcome["latency_s"]) == (0.9, 0.001, 0.2)
    assert router.policy.predict(np.zeros((1, 1))).quality.max() == pytest.approx(1.9 / 3.0)
    router.grade(decision.decision_id, 0.9)  # the same again
    assert router.policy.predict(np.zeros((1, 1))).quality.max() == pytest.approx(1.9 / 3.0)
    with pytest.raises(RoutelabError, match="has another outcome already"):
        router.grade(decision.decision_id, 0.8)
    with pytest.raises(RoutelabError, match="'nobody' is unknown, or older than the last 100000"):
        router.grade("nobody", 0.8)
    with pytest.raises(RoutelabError, match="has no answer yet"):
        router.grade(router.decide(EASY).decision_id, 0.9)


def test_when_all_fail_one_error_names_each(db: PerformanceDB) -> None:
    router = MLRouter([Answering(name, fails="raises") for name in "abc"], db=db)
    with pytest.raises(ProviderError, match="every provider failed: a: a is down; b: b is down; c: c is down"):
        asyncio.run(router.complete(EASY))
    assert db.count() == (4, 4)  # each, and one of them once more
    assert db.log()["provider"].tolist()[:3] == ["a", "b", "c"]


def test_a_policy_fitted_for_other_providers_is_refused() -> None:
    policy = ThompsonPolicy().add_provider("nano").add_provider("gone")
    with pytest.raises(RoutelabError, match="fitted for nano, gone, the pool holds nano, mini"):
        MLRouter(simulated_providers()[:2], policy)


def test_the_bandit_learns_from_feedback_and_logs_the_probabilities_it_chose_with(db: PerformanceDB) -> None:
    providers = [Answering("bad", 0.2), Answering("good", 0.8), Answering("middling", 0.5)]
    featurizer = RequestFeaturizer(embedder=None, providers=("bad", "good", "middling")).fit([EASY])
    router = BanditRouter(providers, epsilon=0.1, db=db, featurizer=featurizer)
    answer_all(router, [EASY] * 300)
    log = db.log()
    assert (log["provider"].iloc[-100:] == "good").mean() > 0.8
    chosen = [p[names.index(one)] for p, names, one in log[["probabilities", "providers", "provider"]].to_numpy()]
    assert log["propensity"].to_numpy() == pytest.approx(chosen, abs=1e-6)
    matrix = np.array(log["probabilities"].tolist())
    assert (matrix >= 0.1 / 3 - 1e-9).all()
    shares = [(log["provider"] == name).mean() for name in ("bad", "good", "middling")]
    assert shares == pytest.approx(matrix.mean(axis=0), abs=4 * np.sqrt(0.25 / 300))
    assert not np.allclose(matrix[0], matrix[-1])


def test_the_same_seed_routes_the_same_way() -> None:
    def routed(seed: int) -> list[str]:
        router = BanditRouter(simulated_providers(), epsilon=0.5, seed=seed)
        return [router.select_provider(request).name for request in requests(40)]

    assert routed(1) == routed(1)
    assert routed(1) != routed(2)


def test_a_late_outcome_of_a_removed_provider_is_recorded_not_learned(db: PerformanceDB) -> None:
    router = BanditRouter(simulated_providers(), db=db)
    decision = router.decide(EASY)
    router.remove_provider(decision.provider.name)
    before = router.policy.predict(np.zeros((1, 1))).quality.tolist()
    router.record_outcome(decision.decision_id, quality=1.0, cost_usd=0.001)
    assert router.policy.predict(np.zeros((1, 1))).quality.tolist() == before
    assert db.count() == (1, 1)


def test_an_untrained_router_follows_its_rules_on_standardised_features_too() -> None:
    past = [LLMRequest(f"Prove that {number} is prime, or factor it.") for number in range(50)]
    featurizer = RequestFeaturizer(n_components=5, standardize=True).fit(past)  # one kind of request only
    router = MLRouter(simulated_providers(), featurizer=featurizer)
    for prompt in ("hi", "What is a monad?", "Write an essay about " + "trees " * 300):
        assert router.decide(LLMRequest(prompt)).provider.name in router.pool.names


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("400: refused 'Tell nobody: the merger\\nis on Friday.'", "[prompt]"),  # as repr and JSON escape it
        ("refused 'Tell nobody: the mer…'", "'[prompt]…'"),
        ("Incorrect API key provided: sk-proj-abcdefgh12345.", "Incorrect API key provided: [key]."),
        ("{'Authorization': 'Bearer abc.def'}", "[key]"),
        ("api_key=abcdef12345&x", "api_key=[key]"),
        ("429 rate limit: skateboarding ghostwriters", "429 rate limit: skateboarding ghostwriters"),
        ("x" * 1000, "x" * 100),
        ("", "RuntimeError"),
    ],
)
def test_the_log_of_a_failure_shows_neither_prompt_nor_key(db: PerformanceDB, text: str, kept: str) -> None:
    class Raising(Answering):
        async def complete(self, request: LLMRequest) -> Completion:
            raise RuntimeError(text)

    secret = LLMRequest("Tell nobody: the merger\nis on Friday.")
    with pytest.raises(ProviderError) as raised:
        asyncio.run(BanditRouter([Raising("x")], db=db).complete(secret))
    assert text in str(raised.value)
    error = db.log()["error"][0]
    assert error.startswith("RuntimeError: ")
    assert kept in error
    assert len(error) <= 200
    for leak in ("merger", "nobody", "Friday", "sk-", "abc"):
        assert leak not in error


def test_a_short_prompt_is_cut_only_where_it_is_a_word() -> None:
    assert redacted("Hi: This was said by Hitchcock, 'Hi'", "Hi") == "[prompt]: This was said by Hitchcock, '[prompt]'"
    assert redacted("nothing to cut", "  ") == "nothing to cut"
    assert redacted("a" * 30 + " b", "a" * 40) == "[prompt] b"


@pytest.mark.parametrize("epsilon", [ThompsonPolicy(), "0.1", None, float("nan"), 1.5])
def test_what_is_no_share_of_exploration_is_refused(epsilon: object) -> None:
    with pytest.raises(RoutelabError, match=r"BanditRouter's epsilon is .*; give a share in \[0, 1\], and a policy by"):
        BanditRouter([Answering("x")], epsilon)  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"EpsilonGreedyPolicy.epsilon is .*; give a share in \[0, 1\]"):
        EpsilonGreedyPolicy(epsilon).add_provider("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [BanditRouter, MLRouter, OnlineMLRouter])
def test_an_unknown_argument_is_refused_in_the_name_of_the_router_that_got_it(kind: Any, db: PerformanceDB) -> None:
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\(\) has no argument 'sed'$"):
        kind([Answering("x")], db=db, sed=1)
