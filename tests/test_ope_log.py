"""Logs as they come, what they cannot answer, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from routelab import EpsilonGreedyPolicy, LLMRequest, MLRouter, PerformanceDB, RidgePolicy, ThompsonPolicy
from routelab.db_records import Decision, Outcome
from routelab.errors import OffPolicyError, PolicyError, RoutelabError
from routelab.evaluation.ope import (
    LoggedData,
    LowSampleWarning,
    evaluate,
    fixed,
    overlap,
    places,
    predicted_rewards,
    propensity_calibration,
    rank,
)
from routing import Answering, answer_all, patient

AB = ("a", "b")


def uniform_log(n: int = 400, **changed: Any) -> LoggedData:
    rng = np.random.default_rng(0)
    action = rng.integers(2, size=n)
    columns = {"cost": 0.01 + 0.01 * action, "X": rng.random((n, 3)), "probabilities": np.full((n, 2), 0.5)} | changed
    return LoggedData(action, rng.random(n), np.full(n, 0.5), AB, **columns)


def decision(number: int, **changed: Any) -> Decision:
    fields = {
        "decision_id": f"d{number}",
        "request_id": f"r{number}",
        "decided_at": float(number),
        "feature_set": "demo",
        "features": np.array([float(number), 0.5]),
        "providers": AB,
        "provider": "a",
        "probabilities": (0.75, 0.25),
        "propensity": 0.75,
        "policy": "demo",
    }
    return Decision(**(fields | changed))


def test_a_database_gives_graded_and_ungraded_decisions_with_everything_known(db: PerformanceDB) -> None:
    db.record_decisions([decision(0), decision(1, provider="b", propensity=0.25), decision(2), decision(3)])
    third = ("a", "b", "c")
    db.record_decision(
        decision(4, providers=third, provider="c", probabilities=(0.5, 0.3, 0.2), propensity=0.2, unit_id="u")
    )
    db.record_decision(
        decision(5, request_id="r0", policy="demo after failure", probabilities=(0, 1), provider="b", propensity=1.0)
    )
    db.record_outcomes([Outcome("d0", 0.0, 0.002, 9.0, error="down"), Outcome("d1", 0.8, 0.01, 9.0, latency_s=2.0)])
    db.record_outcomes([Outcome("d2", None, 0.002, 9.0), Outcome("d4", 0.5, 0.02, 9.0), Outcome("d5", 1.0, 0.01, 9.0)])
    log = LoggedData.from_db(db)
    assert (log.n, log.providers) == (4, third)  # d3 waits for its outcome, d5 was no choice of the policy
    assert log.action.tolist() == [0, 1, 0, 2]
    assert log.quality == pytest.approx([0.0, 0.8, np.nan, 0.5], nan_ok=True)
    assert log.cost.tolist() == [0.002, 0.01, 0.002, 0.02]
    assert log.latency == pytest.approx([np.nan, 2.0, np.nan, np.nan], nan_ok=True)
    assert log.X[:, 0].tolist() == [0.0, 1.0, 2.0, 4.0]
    assert log.probabilities is not None
    assert log.probabilities[[0, 3]].tolist() == [[0.75, 0.25, 0.0], [0.5, 0.3, 0.2]]
    assert len(set(log.units)) == 4


def test_the_log_of_a_router_says_what_another_policy_would_have_brought(db: PerformanceDB) -> None:
    policy = EpsilonGreedyPolicy(epsilon=0.5, base=ThompsonPolicy())
    pool = patient(Answering("good", 0.9), Answering("bad", 0.2), Answering("down", fails="raises"))
    router = MLRouter(pool, policy, db=db)
    router.policy.add_provider("good").add_provider("bad").add_provider("down")
    asked = [LLMRequest(f"question {i}", request_id=f"r{i}") for i in range(600)]
    answer_all(router, asked)
    log = LoggedData.from_db(db)
    assert log.n == 600  # what was asked after a failure is left out, the failure is not
    frame = evaluate(log, {name: fixed(log, name) for name in log.providers}, estimators=["snips"], metrics=["quality"])
    assert dict(zip(frame["policy"], frame["value"].round(6), strict=True)) == {"good": 0.9, "bad": 0.2, "down": 0.0}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_gives_the_same_log_as_the_frame(tmp_path: Path, ending: str) -> None:
    from routelab.ope_cli import read_log

    log = uniform_log(20)
    frame = pd.DataFrame(
        {
            "provider": [AB[arm] for arm in log.action],
            "propensity": log.propensity,
            "quality": log.quality.round(6),
            "cost_usd": log.cost,
            "x_one": log.X[:, 0].round(6),
            "request_id": [f"r{i // 2}" for i in range(20)],
            "providers": [list(AB)] * 20,
            "probabilities": [[0.5, 0.5]] * 20,
        }
    )
    whole = LoggedData.from_frame(frame)
    path = tmp_path / f"log.{ending}"
    if ending == "csv":
        frame.assign(**{name: frame[name].map(json.dumps) for name in ("providers", "probabilities")}).to_csv(path)
    elif ending == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    read = read_log(str(path))
    assert (read.providers, read.units.tolist()) == (whole.providers, [i // 2 for i in range(20)])
    for name in ("action", "quality", "propensity", "cost", "X", "probabilities"):
        assert np.array_equal(getattr(read, name), getattr(whole, name)), name


def test_the_open_bandit_dictionary_is_read_and_given_back() -> None:
    log = uniform_log(10)
    given = log.to_open_bandit()
    again = LoggedData.from_open_bandit(given, AB)
    for name in ("action", "quality", "propensity", "X", "probabilities"):
        assert np.array_equal(getattr(again, name), getattr(log, name)), name
    assert (given["n_rounds"], given["n_actions"], given["position"]) == (10, 2, None)
    assert LoggedData.from_open_bandit(given | {"pi_b": None}).providers == ("0", "1")
    with pytest.raises(OffPolicyError, match="no 'pscore'"):
        LoggedData.from_open_bandit(given | {"pscore": None})
    with pytest.raises(OffPolicyError, match="several positions"):
        LoggedData.from_open_bandit(given | {"position": np.arange(10)})


@pytest.mark.parametrize("feedback", [None, 7, "feedback", [1, 2]])
def test_what_is_no_dictionary_is_no_open_bandit_feedback(feedback: Any) -> None:
    with pytest.raises(OffPolicyError, match=f"the bandit feedback is of type {type(feedback).__name__}; give a dict"):
        LoggedData.from_open_bandit(feedback)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"n_actions": "x"}, "n_actions is 'x'; give an int"),
        ({"n_actions": 2.5}, "n_actions is 2.5"),
        ({"n_actions": [2]}, r"n_actions is \[2\]"),
        ({"action": ["a"] * 10}, "action is not all numbers"),
        ({"action": [None] * 10}, r"action\[0\] is None; give a column in \[0, 2\)"),
        ({"position": [[0], [1, 2]]}, "position"),
        ({"pi_b": 7}, "pi_b"),
        ({"pi_b": "x"}, "pi_b"),
        ({"pi_b": np.full((10, 2), 0.5)}, "pi_b"),
        ({"pi_b": np.full((10, 2, 2), 0.5)}, r"pi_b has shape \(10, 2, 2\); give \(n, k, 1\)"),
        ({"pi_b": np.full((10, 2, 0), 0.5)}, "pi_b has shape"),
        ({"pi_b": [[[0.5], [0.5]], [[1.0]]]}, "pi_b"),
        ({"context": "x"}, "X"),
    ],
)
def test_open_bandit_feedback_of_foreign_types_is_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(RoutelabError, match=told):
        LoggedData.from_open_bandit(uniform_log(10).to_open_bandit() | changed)
    with pytest.raises(OffPolicyError, match="providers are 7; give a name for each action"):
        LoggedData.from_open_bandit(uniform_log(10).to_open_bandit(), 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"propensity": [0.5, 0.0]}, r"propensity\[1\] is 0.0; give a number in \(0, 1\]"),
        ({"propensity": [1.5, 0.5]}, r"propensity\[0\] is 1.5"),
        ({"propensity": [0.5, np.nan]}, r"propensity\[1\] is nan"),
        ({"propensity": [0.5]}, r"propensity has shape \(1,\)"),
        ({"propensity": ["x", 0.5]}, "propensity is not all numbers"),
        ({"quality": [0.5, 1.5]}, r"quality\[1\] is 1.5; give a finite number in \[0, 1\]"),
        ({"cost": [0.5, -1.0]}, r"cost\[1\] is -1.0"),
        ({"latency": [np.inf, 1.0]}, r"latency\[0\] is inf"),
        ({"action": [0, 2]}, r"action\[1\] is 2; give a column in \[0, 2\)"),
        ({"action": []}, "one decision or more"),
        ({"providers": ("a", "a")}, "each provider once"),
        ({"X": [[0.0]]}, "X has 1 rows"),
        ({"probabilities": [[0.5, 0.5], [0.5, 0.4]]}, r"sum to 1"),
        ({"probabilities": [[0.5, 0.5], [0.9, 0.1]]}, r"propensity\[1\] is 0.5; it is not the probability"),
        ({"probabilities": [[0.5, 0.5]]}, "one row per decision"),
    ],
)
def test_a_broken_log_is_refused(changed: dict[str, Any], told: str) -> None:
    fields = {"action": [0, 1], "quality": [0.5, 1.0], "propensity": [0.5, 0.5], "providers": AB}
    with pytest.raises(OffPolicyError, match=told):
        LoggedData(**(fields | changed))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"propensity": None}, "no column 'propensity'; it has provider, quality"),
        ({"quality": [None, None]}, "no decision of the log has an outcome yet"),
        ({"feature_set": ["one", "two"], "features": [[1.0], [2.0]]}, "feature sets one, two; keep the rows of one"),
        ({"features": [[1.0], [2.0, 3.0]]}, "rows of several lengths"),
        ({"providers": [["a"], ["b"]], "probabilities": [[1.0], [0.5, 0.5]]}, "disagree"),
        ({"providers": ["a", "b"], "probabilities": ["[1]", "[1]"]}, "'a' is no list"),
    ],
)
def test_a_broken_frame_is_refused(changed: dict[str, Any], told: str) -> None:
    fields = {"provider": ["a", "b"], "propensity": [0.5, 0.5], "quality": [1.0, 0.0]} | changed
    with pytest.raises(OffPolicyError, match=told):
        LoggedData.from_frame(pd.DataFrame({name: value for name, value in fields.items() if value is not None}))


def test_an_error_names_the_row_of_the_frame_and_not_of_what_is_left_of_it() -> None:
    frame = pd.DataFrame(
        {"provider": ["a", "a", "b", "b"], "quality": [None, 1.0, 0.5, 1.0], "propensity": [0.5, 0.5, 0.5, 0.5]}
    )
    for column, value in (("propensity", 0.0), ("quality", 1.5)):
        wrong = frame.copy()
        wrong.loc[2, column] = value
        with pytest.raises(OffPolicyError, match=rf"{column}\[2\] is {value}"):
            LoggedData.from_frame(wrong)


def test_a_deterministic_log_answers_only_for_itself() -> None:
    rng = np.random.default_rng(0)
    action = rng.integers(2, size=200)
    own = np.eye(2)[action]
    for probabilities in (None, own):
        log = LoggedData(action, rng.random(200), np.ones(200), AB, probabilities=probabilities)
        with pytest.raises(OffPolicyError, match="every logged propensity is 1, so the log tells of no other policy"):
            evaluate(log, {"b": fixed(log, "b")})
        frame = evaluate(log, {"itself": own}, estimators=["ips"])
        assert frame["value"].item() == pytest.approx(log.quality.mean())


def test_an_arm_that_the_log_never_plays_is_refused_and_named() -> None:
    n = 300
    log = LoggedData(np.zeros(n, int), np.full(n, 0.5), np.full(n, 0.9), AB, probabilities=np.tile([0.9, 0.1], (n, 1)))
    with pytest.raises(OffPolicyError, match=r"cannot answer for 'half': 50.0% of its choices .*\(b 50.0%\)"):
        evaluate(log, {"half": np.full((n, 2), 0.5)})
    frame = evaluate(log, {"half": np.full((n, 2), 0.5)}, max_unsupported=0.5, estimators=["dm"])
    assert "50.00% of its choices are never logged" in frame["warning"].item()


def test_a_policy_of_other_providers_is_refused_and_one_of_fewer_is_not() -> None:
    log = uniform_log()
    quality = np.column_stack([log.X[:, 0], log.X[:, 1]])
    stranger = RidgePolicy().fit(log.X, quality, quality, providers=("a", "z"))
    with pytest.raises(OffPolicyError, match="the log never heard of z; it holds a, b"):
        evaluate(log, {"p": stranger})
    swapped = RidgePolicy().fit(log.X, quality[:, ::-1], quality, providers=("b", "a"))
    same = RidgePolicy().fit(log.X, quality, quality, providers=AB)
    values = [evaluate(log, {"p": policy}, estimators=["ips"])["value"].to_numpy() for policy in (swapped, same)]
    assert values[0] == pytest.approx(values[1])
    alone = RidgePolicy().fit(log.X, quality[:, :1], quality[:, :1], providers=("b",))
    assert evaluate(log, {"p": alone}, estimators=["ips"])["value"].tolist() == pytest.approx(
        evaluate(log, {"p": fixed(log, "b")}, estimators=["ips"])["value"].tolist()
    )
    with pytest.raises(PolicyError, match="is not fitted"):
        evaluate(log, {"p": RidgePolicy()})


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (np.ones((400, 3)) / 3.0, r"shape \(400, 3\), not \(400, 2\)"),
        (np.full((400, 2), 0.4), "row 0 of 'p' is .* sum to 1"),
    ],
)
def test_probabilities_that_are_none_are_refused(target: Any, told: str) -> None:
    with pytest.raises(OffPolicyError, match=told):
        evaluate(uniform_log(), {"p": target})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"estimators": ["magic"]}, "estimator 'magic' is unknown; give ips, snips"),
        ({"metrics": ["speed"]}, "metric 'speed' is unknown"),
        ({"metrics": ["latency"]}, "no decision of the log has a latency"),
        ({"interval": "wald"}, "interval 'wald' is unknown"),
        ({"predictions": {}}, "no predictions of quality are given"),
        ({"predictions": {"quality": np.zeros((3, 2)), "cost": np.zeros((3, 2))}}, "one per row and provider"),
        ({"folds": 1}, "in 1 folds"),
        ({"level": 0.0}, "level is 0.0; give a number between 0 and 1"),
        ({"level": 95.0}, "level is 95.0"),
        ({"level": np.nan}, "level is nan"),
        ({"n_resamples": 0}, "n_resamples is 0; give 1 or more"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(changed: dict[str, Any], told: str) -> None:
    log = uniform_log()
    with pytest.raises(OffPolicyError, match=told):
        evaluate(log, {"b": fixed(log, "b")}, **changed)
    with pytest.raises(OffPolicyError, match="no policy is given"):
        evaluate(log, {})
    with pytest.raises(OffPolicyError, match="provider 'z' is not in the log"):
        fixed(log, "z")


def test_ungraded_decisions_are_left_out_of_quality_only() -> None:
    log = uniform_log()
    quality = np.where(np.arange(400) < 100, np.nan, log.quality)
    partly = LoggedData(log.action, quality, log.propensity, AB, cost=log.cost)
    frame = evaluate(partly, {"b": fixed(log, "b")}, estimators=["snips"]).set_index("metric")
    chosen = log.action == 1
    assert frame.loc["quality", "value"] == pytest.approx(np.nanmean(quality[chosen]))
    assert frame.loc["cost", "value"] == pytest.approx(0.02)
    assert (frame.loc["quality", "n"], frame.loc["cost", "n"]) == (300, 400)


def test_the_ranking_and_the_region_check_their_level() -> None:
    log = uniform_log()
    with pytest.raises(OffPolicyError, match=r"level is 1\.0"):
        rank(log, {"b": fixed(log, "b")}, level=1.0)
    with pytest.raises(OffPolicyError, match="n_resamples is 0"):
        places(log, {"b": fixed(log, "b")}, n_resamples=0)
    with pytest.raises(OffPolicyError, match=r"level is 0\.0"):
        places(log, {"b": fixed(log, "b")}, n_resamples=9)["b"].ellipse(level=0.0)


def test_few_effective_decisions_are_told() -> None:
    rng = np.random.default_rng(0)
    action = (rng.random(2000) < 0.02).astype(int)
    logged = np.tile([0.98, 0.02], (2000, 1))
    log = LoggedData(action, rng.random(2000), logged[np.arange(2000), action], AB, probabilities=logged)
    with pytest.warns(LowSampleWarning, match="b: few decisions carry it"):
        frame = evaluate(log, {"b": fixed(log, "b")}, estimators=["dr"])
    met = overlap(log, fixed(log, "b"))
    assert met.ess == pytest.approx(action.sum())
    assert met.max_weight == pytest.approx(50.0)
    assert "few decisions" in frame["warning"].item()
    with pytest.warns(LowSampleWarning):
        rank(log, {"b": fixed(log, "b"), "a": fixed(log, "a")})


def test_propensities_that_do_not_fit_the_choices_are_told() -> None:
    rng = np.random.default_rng(0)
    said = np.tile([0.5, 0.5], (2000, 1))
    for truth, wrong in ((0.5, False), (0.3, True)):
        action = (rng.random(2000) < truth).astype(int)
        log = LoggedData(action, rng.random(2000), np.full(2000, 0.5), AB, probabilities=said)
        calibration = propensity_calibration(log).set_index("provider")
        assert calibration.loc["b", "realised"] == pytest.approx(action.mean())
        assert bool((calibration["z"].abs() > 4.0).any()) is wrong
        assert ("do not fit" in evaluate(log, {"p": said}, estimators=["ips"])["warning"].item()) is wrong
        alone = propensity_calibration(LoggedData(action, rng.random(2000), np.full(2000, 0.5), AB))
        assert bool((alone["z"].abs() > 4.0).any()) is wrong


def test_a_model_never_sees_the_unit_that_it_predicts() -> None:
    """A unit's noise is in its features; who saw it would predict it."""
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(200), 2)
    noise = rng.random(200)[units]
    log = LoggedData(np.zeros(400, int), noise, np.ones(400), ("a",), X=np.eye(200)[units], units=units)
    predictions = predicted_rewards(log, ["quality"])["quality"][:, 0]
    assert abs(np.corrcoef(predictions, noise)[0, 1]) < 0.3
    apart = LoggedData(np.zeros(400, int), noise, np.ones(400), ("a",), X=np.eye(200)[units])
    assert np.corrcoef(predicted_rewards(apart, ["quality"])["quality"][:, 0], noise)[0, 1] > 0.5


def test_predictions_are_the_same_for_the_same_seed_and_keep_to_what_was_seen() -> None:
    log = uniform_log()
    one, two, other = (predicted_rewards(log, log.metrics, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert not np.array_equal(one["quality"], other["quality"])
    assert one["quality"].min() >= log.quality.min()
    assert one["cost"] == pytest.approx(np.tile([0.01, 0.02], (400, 1)))
    from sklearn.ensemble import RandomForestRegressor

    forest = predicted_rewards(log, ["quality"], model=RandomForestRegressor(5, random_state=0))
    assert forest["quality"].shape == (400, 2)
