"""Scenarios: what happens in which phase, to whom, and that the two parts of a table stay apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from routelab import PerformanceTable
from routelab.errors import RoutelabError, TableError
from routelab.evaluation.scenarios import SCENARIOS, build
from routelab.evaluation.split import Split, cut_at_date
from routelab.evaluation.stream import NEVER, Event
from routelab.tables.sources import load_source
from streams import part

TRAIN, HELD = part(60), part(90, first=1000)


def stream(name: str, train: Split = TRAIN, held: Split = HELD, seed: int = 0, **settings):
    return build(name, train, held, np.random.default_rng(seed), **settings)


def truth(streamed, side: str, field: str):
    """The recorded outcomes of the streamed prompts of one side, in their order."""
    split, first = (TRAIN, 0) if side == "train" else (HELD, 1000)
    part = slice(None, streamed.start) if side == "train" else slice(streamed.start, None)
    return getattr(split, field)[streamed.X[part, 0].astype(int) - first]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_learning_part_comes_first_and_each_part_is_shuffled_by_the_seed(name):
    one, same, other = stream(name), stream(name), stream(name, seed=1)
    prompts = one.X[:, 0]
    assert one.start == 60
    assert sorted(prompts[:60]) == list(range(60)) != prompts[:60].tolist()
    assert set(prompts[60:]) <= set(range(1000, 1090))
    assert len(prompts) == 150
    np.testing.assert_array_equal(one.X, same.X)
    np.testing.assert_array_equal(one.quality, same.quality)
    assert (one.X != other.X).any()


@pytest.mark.parametrize("name", SCENARIOS)
def test_phases_cover_the_scored_part_without_gaps(name):
    phases = stream(name).phases
    assert phases[0].start == 0
    assert phases[-1].stop == 90
    assert [phase.stop for phase in phases[:-1]] == [phase.start for phase in phases[1:]]


@pytest.mark.parametrize("name", ["budget", "delay", "drift"])
def test_a_scenario_leaves_the_outcomes_as_they_are_where_it_says_nothing(name):
    streamed = stream(name)
    for side, steps in (("train", slice(0, 60)), ("held", slice(60, None))):
        np.testing.assert_array_equal(streamed.quality[steps], truth(streamed, side, "quality"))
        np.testing.assert_array_equal(streamed.cost[steps], truth(streamed, side, "cost"))
    assert streamed.shown is None
    assert streamed.events == ()


def test_a_price_cut_is_of_the_dearest_provider_in_the_second_third_and_announced():
    streamed = stream("price-cut")
    factor = np.ones((90, 3))
    factor[30:60, 2] = 0.1
    np.testing.assert_allclose(streamed.cost[60:], truth(streamed, "held", "cost") * factor)
    np.testing.assert_array_equal(streamed.quality[60:], truth(streamed, "held", "quality"))
    assert streamed.events == (Event(90, "reprice", "c", 0.1), Event(120, "reprice", "c", 10.0))
    silent = stream("price-cut", provider="a", factor=4, announced=False)
    assert silent.events == ()
    np.testing.assert_allclose(silent.cost[90:120, 0], truth(silent, "held", "cost")[30:60, 0] * 4)


def test_a_regression_is_of_the_provider_at_the_knee_and_the_recovery_repeats_the_first_phase():
    streamed = stream("regression")
    assert [tuple(phase) for phase in streamed.phases] == [
        ("normal", 0, 30),
        ("regression", 30, 60),
        ("recovery", 60, 90),
    ]
    np.testing.assert_array_equal(streamed.X[60:90], streamed.X[120:])
    assert not set(streamed.X[60:90, 0]) & set(streamed.X[90:120, 0])
    quality = truth(streamed, "held", "quality")
    quality[30:60, 1] = TRAIN.quality.mean(axis=0).min()  # below 0.75
    np.testing.assert_allclose(streamed.quality[60:], quality)
    np.testing.assert_array_equal(streamed.cost[60:], truth(streamed, "held", "cost"))
    assert streamed.events == ()
    other = stream("regression", provider="c", level=0.1)
    assert (other.quality[90:120, 2] == 0.1).all()


def test_the_regression_of_paretobandit_is_the_published_one():
    train, held = load_source("paretobandit").split()
    sides = [
        Split(np.zeros((s.n, 1), dtype=np.float32), s.quality, s.cost, None, np.full(s.n, ""), s.providers)
        for s in (train, held)
    ]
    streamed = stream("regression", *sides)
    assert [phase.stop - phase.start for phase in streamed.phases] == [608, 608, 608]
    dropped = streamed.quality[streamed.start + 608 : streamed.start + 1216] == 0.75
    assert dict(zip(train.providers, dropped.all(axis=0), strict=True)) == {
        "meta-llama/llama-3.1-8b-instruct": False,
        "mistralai/mistral-large-2512": True,
        "google/gemini-2.5-pro": False,
    }


def test_a_new_provider_comes_with_the_first_scored_request_at_its_list_price():
    streamed = stream("new-provider")
    assert streamed.present == ("a", "b")
    (event,) = streamed.events
    assert event[:3] == (60, "add", "c")
    assert event.number == pytest.approx(TRAIN.cost[:, 2].mean())
    assert np.isnan(streamed.quality[:60, 2]).all()
    assert np.isnan(streamed.cost[:60, 2]).all()
    assert np.isfinite(streamed.quality[:, :2]).all()
    np.testing.assert_array_equal(streamed.quality[60:], truth(streamed, "held", "quality"))
    assert stream("new-provider", provider="a").present == ("b", "c")


def test_in_an_outage_a_provider_fails_for_free():
    streamed = stream("outage")
    quality, cost = truth(streamed, "held", "quality"), truth(streamed, "held", "cost")
    quality[30:60, 1] = cost[30:60, 1] = 0.0
    np.testing.assert_array_equal(streamed.quality[60:], quality)
    np.testing.assert_array_equal(streamed.cost[60:], cost)


def test_delays_have_their_mean_and_a_share_of_feedback_is_lost():
    delay = stream("delay", part(5000), part(5000)).delay
    assert (delay == NEVER).mean() == pytest.approx(0.1, abs=0.01)
    assert delay[delay != NEVER].mean() == pytest.approx(50.0, rel=0.05)
    assert delay[delay != NEVER].min() >= 1
    assert set(stream("delay", mean=1.0, lost=0.0).delay) == {1}


def test_a_noisy_judge_errs_around_the_quality_and_stays_in_range():
    streamed = stream("judge-noise", part(4000), part(10))
    assert streamed.shown.min() >= 0.0
    assert streamed.shown.max() <= 1.0
    error = (streamed.shown - streamed.quality)[:, 0]  # of mean quality .5: hardly ever clipped
    assert error.mean() == pytest.approx(0.0, abs=0.01)
    assert error.std() == pytest.approx(0.2, abs=0.01)


def test_poisoned_feedback_is_turned_round_for_a_share_of_the_requests():
    streamed = stream("poison", part(4000), part(10))
    flipped = np.isclose(streamed.shown, 1.0 - streamed.quality).all(axis=1)
    assert flipped.mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(streamed.shown[~flipped], streamed.quality[~flipped])


def test_drift_reports_windows_after_the_change_and_may_keep_to_one_task():
    phases = stream("drift", part(700), part(700)).phases
    assert [tuple(phase) for phase in phases] == [("0-200", 0, 200), ("200-600", 200, 600), ("600-700", 600, 700)]
    one = stream("drift", task="odd")
    assert (one.start, len(one.X)) == (30, 75)
    assert set(one.X[:, 0] % 2) == {1.0}


def test_drift_cuts_llmdrift_between_march_and_june(mirror):
    march, june = cut_at_date(load_source("llmdrift"))
    assert march.n == june.n == 1550
    assert {prompt.rpartition("@")[2] for prompt in march.prompt_ids} == {"2023-03"}
    assert {prompt.rpartition("@")[2] for prompt in june.prompt_ids} == {"2023-06"}
    prime = [side.quality[side.tasks == "prime"].mean(axis=0).argmax() for side in (march, june)]
    assert [march.providers[arm] for arm in prime] == ["gpt-4", "gpt-3.5"]


@pytest.mark.parametrize("days", [None, ["2024-01-01"] * 4, ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-03"]])
def test_drift_needs_a_table_of_two_dates(days):
    outcomes = {"provider": ["a", "b"] * 4, "quality": 1.0, "cost_usd": 1.0, "x_p": 0.0}
    frame = pd.DataFrame({"prompt_id": np.repeat(range(4), 2), **outcomes})
    if days is not None:
        frame["timestamp"] = np.repeat(days, 2)
    with pytest.raises(TableError, match="a change of versions needs two dates in column 'timestamp'"):
        cut_at_date(PerformanceTable.from_frame(frame, origin="t.csv"))


def test_what_a_scenario_does_not_know_is_refused():
    for name, settings, told in [
        ("sunset", {}, "no scenario 'sunset'; known are budget, price-cut"),
        ("budget", {"factor": 1}, "has no setting 'factor'; its settings and their defaults: none"),
        ("price-cut", {"faktor": 1}, "provider=None, factor=0.1, announced=True"),
        ("outage", {"provider": "d"}, "setting 'provider' is 'd'; the table has a, b, c"),
        ("drift", {"task": "prime"}, "no prompt of the task 'prime'; the table has even, odd"),
        ("price-cut", {"factor": 0}, "'factor' is 0; give a finite number ≥ 1e-06"),
        ("price-cut", {"factor": float("inf")}, "'factor' is inf"),
        ("price-cut", {"announced": "no"}, "'announced' is 'no'; give true or false"),
        ("regression", {"level": 1.5}, "'level' is 1.5; give a number from 0 to 1"),
        ("delay", {"mean": 0.5}, "'mean' is 0.5; give a finite number ≥ 1"),
        ("delay", {"lost": True}, "'lost' is True"),
        ("judge-noise", {"sd": "much"}, "'sd' is 'much'"),
        ("poison", {"share": float("nan")}, "'share' is nan"),
    ]:
        with pytest.raises(RoutelabError, match=told):
            stream(name, **settings)
    for name in ("regression", "price-cut", "outage"):
        with pytest.raises(RoutelabError, match="fewer than 3 evaluation prompts"):
            stream(name, held=part(2))
