"""Explanations: attributions that add up and name the feature that moved the choice, and no trace left behind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from routelab import (
    BanditRouter,
    EpsilonGreedyPolicy,
    ForestClassifierPolicy,
    ForestPolicy,
    LLMRequest,
    MLRouter,
    Objective,
    PerformanceDB,
    PerformanceTable,
    RequestFeaturizer,
    RoutelabError,
    ThompsonPolicy,
    simulated_providers,
)
from routelab.bundle import Bundle, write_bundle
from routelab.errors import PolicyError
from routelab.routers.explanation import explain
from routelab.tables.synthetic import World
from routing import HARD, TRADE_OFF, Answering, record, small_forest

NAMES = ("x_signal", "x_noise", "load_a", "load_b", "embedding_000", "embedding_001")


@pytest.fixture(scope="module")
def known() -> tuple[ForestPolicy, np.ndarray]:
    """A forest that learned: with a high signal arm "a" is good, with a low one "b"; nothing else matters."""
    X = np.random.default_rng(0).random((1500, len(NAMES))).astype(np.float32)
    quality = np.column_stack([X[:, 0] > 0.5, X[:, 0] <= 0.5]).astype(float)
    cost = np.tile([0.01, 0.02], (1500, 1))
    forest = ForestPolicy(n_estimators=40, max_features=1.0, min_samples_leaf=20)
    return forest.fit(X, quality, cost, providers=["a", "b"]), X


@pytest.fixture(scope="module")
def world() -> tuple[RequestFeaturizer, PerformanceTable]:
    table = World().generate(400, seed=5).table
    return RequestFeaturizer().fit(table), table


def test_the_one_feature_that_matters_gets_nearly_all(known: tuple[ForestPolicy, np.ndarray]) -> None:
    forest, X = known
    x = np.full(len(NAMES), 0.9, dtype=np.float32)
    why = explain(forest, x, Objective(cost_weight=5.0), NAMES, X[:64])
    assert (why.choice, why.runner_up, why.measure) == ("a", "b", "utility")
    moved = why.attribution()
    assert next(iter(moved)) == "x_signal"
    assert moved["x_signal"] > 0.7
    assert sum(map(abs, moved.values())) < 1.05 * moved["x_signal"]
    assert set(moved) == {"x_signal", "x_noise", "load of the providers", "meaning of the prompt"}
    assert why.attribution("b")["x_signal"] == pytest.approx(-moved["x_signal"] / 2, abs=0.02)


def test_the_lead_here_is_the_usual_lead_and_what_moved_it(known: tuple[ForestPolicy, np.ndarray]) -> None:
    forest, X = known
    objective = Objective(cost_weight=5.0)
    for row in range(64, 80):
        why = explain(forest, X[row], objective, NAMES, X[:64])
        expected = forest.predict(np.vstack([X[row][None], X[:64]]))
        utility = objective.utility(expected.quality, expected.cost)
        for arm, name in enumerate(("a", "b")):
            total = utility[0, arm] - utility[1:, arm].mean()
            assert sum(why.attribution(name).values()) == pytest.approx(total, abs=1e-9)
        best = int(utility[0].argmax())
        lead, told = utility[:, best] - utility[:, 1 - best], why.as_dict()
        assert why.choice == forest.providers_[best]
        assert told["usual_lead"] == pytest.approx(lead[1:].mean(), abs=1e-9)
        assert told["usual_lead"] + sum(told["attribution"].values()) == pytest.approx(lead[0], abs=1e-9)


def test_the_same_request_is_explained_alike(known: tuple[ForestPolicy, np.ndarray]) -> None:
    forest, X = known
    first, second = (explain(forest, X[70], Objective(), NAMES, X[:64]).to_json() for _ in range(2))
    assert first == second


def test_an_untrained_router_explains_by_its_rules(world: tuple[RequestFeaturizer, PerformanceTable]) -> None:
    featurizer, _ = world
    router = MLRouter(simulated_providers(), featurizer=featurizer)
    why = router.explain(HARD)
    assert (why.policy, why.choice, why.measure) == ("RulePolicy", "frontier", "propensity")
    moved = why.attribution()
    assert set(list(moved)[:2]) == {"estimated_complexity", "requires_reasoning"}
    assert sum(moved.values()) == pytest.approx(1.0 - why.as_dict()["usual_lead"])
    assert {name for name, value in moved.items() if value} <= {*list(moved)[:2], "user_tier"}
    assert why.runner_up != why.choice


@pytest.mark.parametrize("policy", [None, EpsilonGreedyPolicy(0.2, ForestPolicy())])
def test_what_an_untrained_router_does_not_know_is_blank(
    world: tuple[RequestFeaturizer, PerformanceTable], policy: EpsilonGreedyPolicy | None
) -> None:
    objective = Objective(min_quality=0.7, cost_weight=20.0)
    why = MLRouter(simulated_providers(), policy, featurizer=world[0], objective=objective).explain(HARD)
    for row in json.loads(why.to_json())["providers"].values():
        assert {name for name, value in row.items() if value is not None} == {"propensity"}
    assert str(why).splitlines()[1].split() == ["provider", "propensity"]
    for display in (str(why), why._repr_html_()):
        assert "nothing is learned yet" in display
        assert "bound" not in display
    assert any(why.attribution().values())
    alike = MLRouter(simulated_providers(), policy).explain(LLMRequest("?"))
    assert (alike.measure, alike.runner_up) == ("propensity", None)  # the others are all chosen as rarely


def test_the_runner_up_is_next_by_utility_where_no_feature_moves_it(known: tuple[ForestPolicy, np.ndarray]) -> None:
    X = known[1][:300]
    forest = ForestPolicy(n_estimators=5)
    quality, cost = np.tile([0.1, 0.9, 0.6], (300, 1)), np.full((300, 3), 0.01)
    forest.fit(X, quality, cost, providers=["nano", "frontier", "coder"])
    why = explain(EpsilonGreedyPolicy(0.2, forest), X[0], Objective(), NAMES, X[:64])
    assert (why.choice, why.runner_up, why.measure) == ("frontier", "coder", "utility")
    assert why.as_dict()["usual_lead"] == pytest.approx(0.3, abs=0.01)
    assert "no feature moves it" in str(why)


def test_a_classifier_is_explained_by_the_label_it_chooses(known: tuple[ForestPolicy, np.ndarray]) -> None:
    _, X = known
    quality = np.column_stack([X[:, 0] > 0.5, X[:, 0] <= 0.5]).astype(float)
    classifier = ForestClassifierPolicy(n_estimators=20).fit(X, quality, np.full(quality.shape, 0.01))
    why = explain(classifier, X[quality[:, 1].argmax()], Objective(), NAMES, X[:64])
    assert (why.choice, why.measure, next(iter(why.attribution()))) == ("1", "propensity", "x_signal")


def test_a_policy_that_does_not_look_says_so(world: tuple[RequestFeaturizer, PerformanceTable]) -> None:
    router = BanditRouter([Answering("good"), Answering("bad")], epsilon=0.2, featurizer=world[0])
    why = router.explain(HARD)
    assert not any(why.attribution().values())
    assert "no feature moves it" in str(why)
    told = why.as_dict()["providers"]
    assert [told[name]["propensity"] for name in ("good", "bad")] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert told["good"]["quality_se"] == pytest.approx(np.sqrt(1 / 12))


def test_explaining_leaves_no_trace(db: PerformanceDB, world: tuple[RequestFeaturizer, PerformanceTable]) -> None:
    featurizer, table = world

    def routed(asked: bool) -> list[tuple[str, float]]:
        router = BanditRouter(simulated_providers(), epsilon=0.5, db=db if asked else None, featurizer=featurizer)
        chosen = []
        for request in table.requests()[:20]:
            before = db.count(), router.last_decision
            if asked:
                router.explain(request)
            assert (db.count(), router.last_decision) == before
            decision = router.decide(request)
            chosen.append((decision.provider.name, decision.propensity))
            router.record_outcome(decision.decision_id, quality=0.5, cost_usd=0.001)
        return chosen

    assert routed(True) == routed(False)


def test_a_trained_router_compares_with_the_requests_of_its_log(db: PerformanceDB) -> None:
    router = MLRouter(simulated_providers(), small_forest(), db=db, objective=TRADE_OFF)
    assert len(router.background) == 1
    record(router, World().generate(300, seed=1))
    asyncio.run(router.train())
    assert router.background.shape == (64, len(router.featurizer.feature_names_))
    why = router.explain(HARD)
    utility = TRADE_OFF.utility(*(np.array(pair) for pair in zip(*router.estimates(HARD).values(), strict=True)))
    assert why.providers[int(utility.argmax())] == why.choice == asyncio.run(router.route(HARD)).name
    assert any(why.attribution().values())


def test_exploration_shows_in_the_propensities(known: tuple[ForestPolicy, np.ndarray]) -> None:
    forest, X = known
    why = explain(EpsilonGreedyPolicy(0.2, forest), X[70], Objective(), NAMES, X[:64])
    assert sorted(why.propensities) == pytest.approx([0.1, 0.9])
    assert why.as_dict()["providers"][why.choice]["propensity"] == pytest.approx(0.9)


def test_a_standard_error_is_told_to_leave_bias_out(known: tuple[ForestPolicy, np.ndarray]) -> None:
    forest, X = known
    why = explain(forest, X[70], Objective(), NAMES, X[:64])
    for display in (str(why), why._repr_html_()):
        assert "± SE is sampling error only; it leaves out bias" in display


def test_requests_without_text_are_explained_by_their_own_numbers() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for i, age in enumerate(rng.uniform(0.0, 90.0, 300)):
        rows += [(i, "young", float(age < 45), 0.1, age), (i, "old", float(age >= 45), 0.1, age)]
    names = ["prompt_id", "provider", "quality", "cost_usd", "x_age"]
    table = PerformanceTable.from_frame(pd.DataFrame(rows, columns=names))
    featurizer = RequestFeaturizer().fit(table)
    forest = ForestPolicy(n_estimators=20, max_features=1.0)
    forest.fit(featurizer.transform(table), table.quality, table.cost, providers=table.providers)
    router = MLRouter([Answering("young"), Answering("old")], forest, featurizer=featurizer)
    why = router.explain(LLMRequest("", features={"age": 80.0}))
    assert (why.choice, next(iter(why.attribution()))) == ("old", "x_age")
    assert "meaning of the prompt" not in why.features


def test_a_bound_that_is_broken_is_told_and_its_provider_is_no_runner_up() -> None:
    X = np.random.default_rng(0).random((300, len(NAMES))).astype(np.float32)
    quality = np.column_stack([0.5 * X[:, 0], 0.3 * X[:, 0], np.full(300, 0.9)])
    forest = ForestPolicy(n_estimators=10)
    forest.fit(X, quality, np.tile([0.01, 0.02, 0.1], (300, 1)), providers=["small", "middle", "large"])
    why = explain(forest, X[0], Objective(max_cost=0.05), NAMES, X[:64])
    assert why.feasible == (True, True, False)
    assert (why.choice, why.runner_up, why.measure) == ("small", "middle", "utility")
    assert "large (breaks a bound)" in str(why)
    assert why.meets_bounds == why.feasible
    assert "no provider meets" not in str(why)
    none = explain(forest, X[0], Objective(max_cost=0.005), NAMES, X[:64])
    assert (none.choice, none.feasible) == ("small", (True, False, False))
    assert [row["meets_bounds"] for row in none.as_dict()["providers"].values()] == [False] * 3
    for display in (str(none), none._repr_html_()):
        assert "no provider meets the bound(s); the nearest is chosen" in display
        assert "small (breaks a bound)" in display
    with pytest.raises(RoutelabError, match="provider 'huge' is unknown; choose one of small, middle, large"):
        why.attribution("huge")


def test_a_single_provider_has_no_runner_up() -> None:
    policy = ThompsonPolicy().add_provider("only")
    why = explain(policy, np.zeros(1, dtype=np.float32), Objective(), ("x_age",), np.zeros((1, 1)))
    assert (why.choice, why.runner_up) == ("only", None)
    assert json.loads(why.to_json())["runner_up"] is None


def test_json_holds_every_figure_and_not_the_prompt(world: tuple[RequestFeaturizer, PerformanceTable]) -> None:
    router = BanditRouter(simulated_providers(), featurizer=world[0], objective=TRADE_OFF)
    why = router.explain(LLMRequest("tell nobody"))
    told = json.loads(why.to_json())
    assert told == why.as_dict()
    assert told["objective"]["cost_weight"] == TRADE_OFF.cost_weight
    for name, row in told["providers"].items():
        quality, cost = router.estimates(HARD)[name]
        assert (row["quality"], row["cost_usd"], row["latency_s"]) == (quality, cost, None)
        assert row["utility"] == pytest.approx(quality - TRADE_OFF.cost_weight * cost)
    for display in (why.to_json(), str(why), why._repr_html_(), repr(why)):
        assert "tell nobody" not in display


def test_the_display_escapes_names_and_draws_a_bar_for_each_feature_that_moved(
    known: tuple[ForestPolicy, np.ndarray],
) -> None:
    X = known[1]
    gain = X[:, :4].mean(axis=1)
    quality = np.column_stack([gain, 1.0 - gain]).astype(float)
    evil = ForestPolicy(n_estimators=10).fit(X, quality, np.ones((1500, 2)), providers=["<script>&", "b"])
    why = explain(evil, X[0], Objective(), NAMES, X[:64])
    html = why._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;&amp;" in html
    moved = why.attribution()
    shown = [name for name, value in moved.items() if abs(value) > 0.01 * abs(moved[next(iter(moved))])]
    bars = len(shown) + (len(shown) < len(moved))
    assert html.count("background:#") == bars >= 3
    lines = str(why).splitlines()
    assert lines[1].split()[0] == "provider"
    assert lines[2].startswith(why.choice)  # the choice comes first
    assert [line.split(maxsplit=2)[-1].strip() for line in lines[-bars:]][: len(shown)] == shown
    assert sum(float(line.split()[0]) for line in lines[-bars:]) == pytest.approx(sum(moved.values()), abs=1e-3)


def test_the_featurizer_keeps_rows_of_its_training_requests(
    world: tuple[RequestFeaturizer, PerformanceTable], tmp_path: Path
) -> None:
    featurizer, table = world
    assert featurizer.background_.shape == (64, len(featurizer.feature_names_))
    load = [name.startswith("load_") for name in featurizer.feature_names_]
    assert featurizer.background_[:, load].any()
    again = RequestFeaturizer().fit(table)
    np.testing.assert_array_equal(again.background_, featurizer.background_)
    few = RequestFeaturizer(None).fit(table.requests()[:5])
    np.testing.assert_array_equal(few.background_, few.transform(table.requests()[:5]))
    plain = RequestFeaturizer(None).fit(table)
    assert {row.tobytes() for row in plain.background_} <= {row.tobytes() for row in plain.transform(table)}
    featurizer.save(tmp_path / "featurizer")
    np.testing.assert_array_equal(RequestFeaturizer.load(tmp_path / "featurizer").background_, featurizer.background_)


def test_a_featurizer_of_an_older_routelab_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "old", Bundle("RequestFeaturizer", {"embedder": None}, {}))
    with pytest.raises(PolicyError, match="old was saved by an older routelab; fit and save the featurizer again"):
        RequestFeaturizer.load(tmp_path / "old")
