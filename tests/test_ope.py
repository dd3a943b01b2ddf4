"""Intervals that hold, rankings that are right, and places with their regions; full size in tests/benchmarks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from off_policy import QUALITY, Replayed, coverage, rank_agreement
from routelab import Objective
from routelab.errors import OffPolicyError
from routelab.evaluation.ope import (
    LoggedData,
    LowSampleWarning,
    bootstrap_interval,
    evaluate,
    fixed,
    influence,
    places,
    rank,
)
from routelab.evaluation.ope.intervals import by_unit, contribution_width, degrees_of_freedom, resampled

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def world() -> Replayed:
    """600 prompts, three providers of which one is cheap and fails on hard prompts; ten policies between them.

    Without features the reward models are cross-fitted means, which takes no time.
    """
    rng = np.random.default_rng(0)
    X = rng.random((600, 3))
    ability = np.column_stack([1.0 - X[:, 0], 0.5 + 0.3 * X[:, 1], np.full(600, 0.75)])
    quality = rng.binomial(4, ability) / 4.0
    cost = np.array([0.001, 0.004, 0.02]) * (1.0 + rng.random((600, 3)))
    policies = {f"fixed:{arm}": np.tile(np.eye(3)[arm], (600, 1)) for arm in range(3)}
    policies |= {f"greedy {w}": np.eye(3)[(ability - w * cost).argmax(axis=1)] for w in (0, 10, 40)}
    policies |= {f"easy {h}": np.eye(3)[np.where(X[:, 0] < h, 0, 2)] for h in (0.2, 0.4, 0.7)}
    policies["forest"] = np.eye(3)[np.where(X[:, 0] < 0.5, 0, 1)]
    return Replayed(X[:, :0], quality, cost, ("0", "1", "2"), policies, policies["greedy 10"])


def test_intervals_of_uniform_logs_hold_the_truth_as_often_as_they_say(world: Replayed) -> None:
    held = coverage(world, 1.0, 200, decisions=500)
    by = held.groupby(["interval", "estimator"])["covered"].mean()
    assert by.loc["bootstrap"].between(0.91, 0.99).all()  # 2.6 standard errors of .95
    assert by.loc["bernstein"].min() >= 0.95
    assert not held["few"].any()


def test_little_exploration_is_told_and_covered_nearly(world: Replayed) -> None:
    held = coverage(world, 0.1, 100, decisions=1000)
    by = held.groupby(["interval", "estimator"])["covered"].mean()
    assert by.loc["bootstrap"].min() >= 0.85
    assert held["few"].all()


def test_policies_are_ranked_as_the_truth_ranks_them(world: Replayed) -> None:
    agreement = rank_agreement(world, Objective(cost_weight=10.0), 20)
    assert (agreement >= 0.8).mean() >= 0.9


def test_simultaneous_intervals_hold_all_values_and_ranks_at_once(world: Replayed) -> None:
    truth = np.array([world.truth(name) for name in world.policies])
    true_rank = 1 + (truth[None, :] > truth[:, None]).sum(axis=1)
    all_values, all_ranks, decided = [], [], []
    for seed in range(100):
        log, prompt = world.draw(600, 1.0, seed)
        targets = {name: probabilities[prompt] for name, probabilities in world.policies.items()}
        found = rank(log, targets, n_resamples=300, seed=seed).set_index("policy").loc[list(targets)]
        all_values.append(((found["low"] <= truth) & (truth <= found["high"])).all())
        all_ranks.append(((found["rank_low"] <= true_rank) & (true_rank <= found["rank_high"])).all())
        decided.append((found["rank_high"] - found["rank_low"]).mean())
    assert np.mean(all_values) >= 0.88  # 3 standard errors below .95
    assert np.mean(all_ranks) >= 0.88
    assert np.mean(decided) < 6.0  # of the 9 that nothing decided would be


def test_less_cost_ranks_higher_and_equal_policies_are_not_told_apart(world: Replayed) -> None:
    log, _ = world.draw(1000, 1.0, 0)
    targets = {name: fixed(log, name) for name in ("2", "0", "1")} | {"also 1": fixed(log, "1")}
    found = rank(log, targets, metric="cost", estimator="snips")
    assert found["policy"].tolist() == ["0", "1", "also 1", "2"]
    assert found[["rank_low", "rank_high"]].to_numpy().tolist() == [[1, 1], [2, 3], [2, 3], [4, 4]]
    assert found["rank"].tolist() == [1, 2, 3, 4]


def test_the_utility_is_that_of_its_parts(world: Replayed) -> None:
    log, prompt = world.draw(1000, 1.0, 0)
    target = {"p": world.policies["easy 0.4"][prompt]}
    frame = evaluate(log, target, objective=Objective(cost_weight=5.0), estimators=["ips", "snips", "dm", "dr", "sndr"])
    wide = frame.pivot_table(index="estimator", columns="metric", values="value")
    assert wide["utility"].to_numpy() == pytest.approx((wide["quality"] - 5.0 * wide["cost"]).to_numpy())
    assert set(evaluate(log, target, objective=QUALITY, estimators=["ips"])["metric"]) == {"quality", "cost"}


def test_the_region_of_a_place_holds_the_truth(world: Replayed) -> None:
    name = "easy 0.4"
    truth = np.array([(world.policies[name] * one).sum(axis=1).mean() for one in (world.cost, world.quality)])
    inside = []
    for seed in range(150):
        log, prompt = world.draw(1000, 1.0, seed)
        place = places(log, {name: world.policies[name][prompt]}, n_resamples=300, seed=seed)[name]
        away = truth - [place.cost, place.quality]
        inside.append(away @ np.linalg.solve(place.covariance, away) < 5.991)  # 95 % of chi-square with 2
    assert 0.90 <= np.mean(inside) <= 1.0
    border = place.ellipse() - [place.cost, place.quality]
    assert np.einsum("ni,ij,nj->n", border, np.linalg.inv(place.covariance), border) == pytest.approx(5.991, rel=1e-3)


def test_rows_of_one_unit_are_resampled_together(world: Replayed) -> None:
    """Each decision four times: the interval must not become half as wide."""
    log, _ = world.draw(500, 1.0, 0)
    four = np.tile(np.arange(500), 4)
    widths = []
    for units in (four, None):
        copied = LoggedData(log.action[four], log.quality[four], log.propensity[four], log.providers, units=units)
        for interval in ("bootstrap", "bernstein"):
            frame = evaluate(copied, {"1": fixed(copied, "1")}, estimators=["snips"], interval=interval)
            widths.append((frame["high"] - frame["low"]).item())
    for interval, place in (("bootstrap", 0), ("bernstein", 1)):
        frame = evaluate(log, {"1": fixed(log, "1")}, estimators=["snips"], metrics=["quality"], interval=interval)
        assert widths[place] == pytest.approx((frame["high"] - frame["low"]).item(), rel=0.1)
    assert widths[2] < 0.6 * widths[0]


def test_a_contribution_cannot_leave_its_range_whatever_the_size_of_units() -> None:
    """A unit of three decisions among units of one adds three times as much."""
    terms = by_unit(np.tile([0.0, 1.0, 30.0, 1.0], (6, 1)), np.array([0, 1, 2, 3, 3, 3]))
    width = contribution_width(terms, 1.0, 30.0, model=False)
    assert width == pytest.approx((terms[:, 2] / terms[:, 1].mean()).max())
    assert contribution_width(terms[:3], 1.0, 30.0, model=True) == pytest.approx(61.0)


def test_the_same_seed_gives_the_same_numbers(world: Replayed) -> None:
    log, _ = world.draw(500, 1.0, 0)
    one, two, other = (evaluate(log, {"1": fixed(log, "1")}, n_resamples=50, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(other)


def test_heavy_tails_widen_the_interval() -> None:
    """One decision in a thousand carries nearly all variance: its degrees of freedom are a handful."""
    column = np.zeros(2000)
    column[:2] = 30.0
    terms = np.column_stack([column, *np.ones((3, 2000))]) * [1.0, 1.0, 0.0, 1.0]
    assert degrees_of_freedom(influence(terms)) == pytest.approx(4.0, rel=0.01)
    replicates = resampled(terms[:, None, :], 4000, np.random.default_rng(0))[:, 0]
    low, high = np.quantile(replicates, [0.025, 0.975])
    interval = bootstrap_interval(terms, replicates)
    assert interval.high - interval.low > 1.15 * (high - low)
    assert by_unit(terms, np.arange(2000)) is terms


def test_a_constant_outcome_has_an_interval_of_no_width() -> None:
    log = LoggedData(np.tile([0, 1], 200), np.full(400, 0.5), np.full(400, 0.5), ("a", "b"))
    frame = evaluate(log, {"a": fixed(log, "a")}, estimators=["snips", "dr"])
    assert frame[["value", "low", "high"]].to_numpy() == pytest.approx(0.5)


def test_an_answer_needs_a_decision_that_the_policy_could_have_made() -> None:
    log = LoggedData([0, 0, 1], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], ("a", "b"))
    never = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(OffPolicyError, match="no logged decision is one that it could make"):
        evaluate(log, {"never": never})
    with pytest.warns(LowSampleWarning):
        evaluate(log, {"b": fixed(log, "b")}, estimators=["snips"])


@pytest.mark.parametrize("interval", ["bootstrap", "bernstein"])
def test_estimates_whose_error_resampling_does_not_show_have_no_interval(world: Replayed, interval: Any) -> None:
    log, _ = world.draw(1000, 0.1, 0)
    names = ("ips", "snips", "dr", "sndr", "dm", "clipped-ips", "switch-dr", "dros")
    with pytest.warns(LowSampleWarning):
        frame = evaluate(log, {"2": fixed(log, "2")}, estimators=names, metrics=["quality"], interval=interval)
    with pytest.warns(LowSampleWarning):
        ranked = rank(log, {"2": fixed(log, "2"), "0": fixed(log, "0")}, estimator="dm")
    told = frame.set_index("estimator")
    assert told["value"].notna().all()
    assert told.loc[["ips", "snips", "dr", "sndr"], ["low", "high"]].notna().all(axis=None)
    assert np.isfinite(told.loc["clipped-ips", "tuned"])
    assert told.loc[["dm", "clipped-ips"], ["low", "high"]].isna().all(axis=None)
    assert (told["low"].isna() == (np.isfinite(told["tuned"]) | (told.index == "dm"))).all()
    assert ranked[["low", "high"]].isna().all(axis=None)
    assert ranked[["rank_low", "rank_high"]].to_numpy().tolist() == [[1, 2], [1, 2]]


def test_a_level_that_changes_nothing_leaves_the_interval(world: Replayed) -> None:
    log, _ = world.draw(1000, 1.0, 0)
    uniform = np.full((1000, 3), 1.0 / 3.0)  # all weights are 1, the least level
    frame = evaluate(log, {"as logged": uniform}, estimators=["ips", "clipped-ips"], metrics=["quality"])
    assert frame["tuned"].tolist()[1] == np.inf
    assert frame[["value", "low", "high"]].nunique().tolist() == [1, 1, 1]


def test_ranks_are_stretched_as_the_values_are() -> None:
    """Five equal providers, four of them rarely asked: a pair is told apart in few of the logs."""
    runs, n, shares = 200, 600, np.array([0.9, 0.025, 0.025, 0.025, 0.025])
    apart = 0
    for seed in range(1000, 1000 + runs):
        rng = np.random.default_rng(seed)
        action, logged = rng.choice(5, size=n, p=shares), np.tile(shares, (n, 1))
        log = LoggedData(action, rng.random(n) < 0.5, shares[action], tuple("abcde"), probabilities=logged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LowSampleWarning)
            found = rank(log, {name: fixed(log, name) for name in "abcde"}, n_resamples=200, seed=seed)
        apart += bool(((found["rank_low"] > 1) | (found["rank_high"] < 5)).any())
    assert apart / runs <= 0.07  # .095 where only values are
