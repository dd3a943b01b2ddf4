"""From outcomes to moments: what is summed up, and what is refused."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from routelab.abtest.analysis import analyse
from routelab.abtest.outcomes import unit_moments
from routelab.abtest.plan import Metric, Plan
from routelab.errors import ExperimentError

PLAN = Plan(
    {"rules": 0.5, "forest": 0.5},
    (
        Metric("quality", covariate="before"),
        Metric("cost", "cost_usd", lower_is_better=True, margin=0.1),
        Metric("per token", "cost_usd", per="tokens", lower_is_better=True),
        Metric("per unit", "cost_usd", per="unit", lower_is_better=True),
        Metric("slow", "latency_s", above=2.0, lower_is_better=True, margin=0.02),
    ),
    units=400,
    ends_at=1_000.0,
)


def outcomes(units: int = 300, requests: int = 3, seed: int = 0) -> pd.DataFrame:
    """Several requests of each unit, in the order in which they came."""
    rng = np.random.default_rng(seed)
    n = units * requests
    unit = rng.permutation(np.repeat(np.arange(units), requests))
    return pd.DataFrame(
        {
            "unit": [f"u{i:04d}" for i in unit],
            "variant": np.where(unit % 2, "forest", "rules"),
            "decision_id": [f"d{i}" for i in range(n)],
            "exposed_at": rng.uniform(0.0, 999.0, size=n),
            "quality": rng.random(n),
            "before": rng.random(units)[unit],
            "cost_usd": rng.lognormal(size=n),
            "tokens": rng.integers(1, 50, size=n),
            "latency_s": rng.exponential(size=n),
        }
    )


def test_requests_are_summed_up_to_their_unit() -> None:
    frame = outcomes()
    moments = unit_moments(frame, PLAN)["forest"]
    by_unit = frame[frame["variant"] == "forest"].assign(slow=lambda f: f["latency_s"] > 2.0).groupby("unit")
    total, one = by_unit[["quality", "cost_usd", "tokens", "slow"]].sum(), np.ones(150)
    told = [total["quality"], 3 * one, by_unit["before"].first(), total["cost_usd"], 3 * one]
    told += [total["cost_usd"], total["tokens"], total["cost_usd"], one, total["slow"], 3 * one]
    rows = np.column_stack(told).astype(float)
    assert moments.count == 150
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0))
    np.testing.assert_allclose(moments.covariance, np.cov(rows.T), atol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_chunks_tell_what_the_frame_tells_wherever_they_are_cut(size: int) -> None:
    frame = outcomes()
    ordered = frame.sort_values("unit", kind="stable")
    chunks = (ordered.iloc[begin : begin + size] for begin in range(0, len(ordered), size))
    whole, parts = analyse(frame, PLAN).as_dict(), analyse(chunks, PLAN).as_dict()
    assert parts["units"] == whole["units"]
    for one, other in zip(parts["results"], whole["results"], strict=True):
        numbers = [name for name, value in other.items() if isinstance(value, float)]
        assert [one[name] for name in numbers] == pytest.approx([other[name] for name in numbers], rel=1e-6)


def test_a_chunk_is_let_go_before_the_next_but_one_is_read() -> None:
    held: list[weakref.ref[pd.DataFrame]] = []

    def chunks() -> Iterator[pd.DataFrame]:
        for number in range(8):
            assert sum(one() is not None for one in held) <= 1
            frame = outcomes(units=50, seed=number).assign(unit=lambda f, i=number: f"{i:02d}" + f["unit"])
            frame = frame.assign(decision_id=frame["unit"] + frame["decision_id"]).sort_values("unit")
            held.append(weakref.ref(frame))
            yield frame

    assert analyse(chunks(), PLAN).units == {"rules": 200, "forest": 200}


def test_chunks_out_of_order_are_refused() -> None:
    ordered = outcomes().sort_values("unit")
    with pytest.raises(ExperimentError, match=r"unit 'u0000' comes after 'u0299'; order the chunks by unit"):
        analyse([ordered, ordered], PLAN)


def broken(column: str, value: object, place: int = 5) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def at(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.astype({column: object})
        changed.loc[place, column] = value
        return changed if isinstance(value, str | None) else changed.astype({column: frame[column].dtype})

    return at


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (broken("variant", None), "which has variant None; the test knows rules, forest"),
        (broken("variant", "bandit"), "which has variant 'bandit'"),
        (broken("unit", None), "an outcome has no unit"),
        (broken("decision_id", "d1"), "decision_id 'd1' has two outcomes"),
        (lambda f: f.drop(columns="decision_id"), "has two rows"),
        (lambda f: f.drop(columns="tokens"), "no column 'tokens'"),
        (broken("quality", float("nan")), "quality of unit 'u.*' is nan"),
        (broken("quality", float("inf")), "quality of unit 'u.*' is inf"),
        (broken("quality", "good"), "column 'quality' holds .*; give numbers"),
        (broken("exposed_at", 1_000.0), r"exposed at 1000.0, the test ended at 1000.0"),
        (broken("exposed_at", float("nan")), "exposed at nan"),
        (broken("before", 0.5), "covariate 'before' of metric 'quality' changes within a unit"),
        (lambda f: f.assign(variant=np.where(np.arange(len(f)) % 2, "forest", "rules")), "outcomes in two variants"),
        (lambda f: f[f["variant"] == "rules"], "variant 'forest' has no outcome"),
        (lambda f: f.iloc[:0], "variant 'rules' has no outcome"),
        (lambda f: f.assign(tokens=0), "the denominator of metric 'per token' sums to ≤ 0 in variant 'rules'"),
    ],
)
def test_there_is_no_verdict_on_broken_data(spoil: Callable[[pd.DataFrame], pd.DataFrame], told: str) -> None:
    analyse(outcomes(), PLAN)
    with pytest.raises(ExperimentError, match=told):
        analyse(spoil(outcomes()), PLAN)


def test_outcomes_of_more_units_than_were_exposed_are_refused() -> None:
    with pytest.raises(ExperimentError, match="variant 'forest' has outcomes of 150 units, but 149 were exposed"):
        analyse(outcomes(), PLAN, exposed={"rules": 150, "forest": 149})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shares": {"a": 1.0}}, "two or more variants"),
        ({"shares": {"a": 1.0, "b": 0.0}}, "a share > 0"),
        ({"metrics": ()}, "give one or more"),
        ({"metrics": Metric("q")}, "Plan.metrics is Metric.*; give a tuple of Metric"),
        ({"metrics": ("q",)}, "Plan.metrics is .'q',.; give a tuple of Metric"),
        ({"shares": [0.5, 0.5]}, r"Plan.shares is \[0.5, 0.5\]; give a dict"),
        ({"metrics": (Metric("q"), Metric("q"))}, "a name of its own"),
        ({"units": 1}, "Plan.units is 1"),
        ({"start": 1}, "Plan.start is 1"),
        ({"alpha": 1.0}, r"Plan.alpha is 1.0; give a number in \(0, 1\)"),
        ({"srm_alpha": 0.0}, "Plan.srm_alpha"),
        ({"srm_concentration": 0.0}, "Plan.srm_concentration"),
        ({"method": "peeking"}, "give one of sequence, msprt, welch"),
        ({"method": "msprt", "tau": {"q": 0.0}}, "Plan.tau"),
        ({"method": "msprt"}, "Plan.tau is None"),
        ({"ends_at": float("nan")}, "Plan.ends_at"),
    ],
)
def test_a_plan_out_of_range_is_refused(change: dict[str, object], told: str) -> None:
    asked = {"shares": {"a": 0.5, "b": 0.5}, "metrics": (Metric("q"),), "units": 100} | change
    with pytest.raises(ExperimentError, match=told):
        Plan(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(("change", "told"), [({"margin": -0.1}, "margin"), ({"above": np.nan}, "above"), ({}, "name")])
def test_a_metric_out_of_range_is_refused(change: dict[str, float], told: str) -> None:
    with pytest.raises(ExperimentError, match=told):
        Metric("q" if change else "", **change)  # type: ignore[arg-type]


def test_an_end_without_times_of_exposure_and_an_unknown_variant_among_the_exposed_are_refused() -> None:
    with pytest.raises(ExperimentError, match="no column 'exposed_at'"):
        analyse(outcomes().drop(columns="exposed_at"), PLAN)
    with pytest.raises(ExperimentError, match="`exposed` names 'c'; the test knows rules, forest"):
        analyse(outcomes(), PLAN, exposed={"rules": 150, "forest": 150, "c": 50})


@pytest.mark.parametrize("method", ["sequence", "msprt", "welch"])
@pytest.mark.parametrize("of_forest", [0.1, 0.2])
def test_a_metric_that_never_varied_shows_no_difference_and_hides_no_other(method: str, of_forest: float) -> None:
    rng = np.random.default_rng(0)
    variant = np.tile(["rules", "forest"], 1_000)
    frame = pd.DataFrame({"unit": range(2_000), "variant": variant})
    frame["failed"] = np.where(variant == "rules", 0.1, of_forest)
    frame["solved"] = (rng.random(2_000) < np.where(variant == "forest", 0.5, 0.3)).astype(float)
    metrics = (Metric("solved"), Metric("failed", margin=0.5, lower_is_better=True))
    plan = Plan({"rules": 0.5, "forest": 0.5}, metrics, units=2_000, method=method, tau={"solved": 0.1, "failed": 0.1})  # type: ignore[arg-type]
    report = analyse(frame, plan)
    solved, failed = report.results
    assert solved.claim == "better"
    assert (failed.low, failed.high, failed.p, failed.claim) == (-np.inf, np.inf, 1.0, "open")
    assert (failed.control, failed.treatment) == pytest.approx((0.1, of_forest))
    assert report.verdict.decision != "ship", "a guardrail is not shown to hold"
    assert "No interval yet of failed: too few units or events, or it never varied." in str(report)
    assert report.as_dict()["results"][1]["high"] is None


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "the outcomes are None; give a frame, or chunks of one"),
        ([None], "the outcomes are None"),
        (7, "the outcomes are 7"),
        ([outcomes().sort_values("unit"), outcomes().assign(unit=range(900))], "units of more than one type"),
    ],
)
def test_what_is_no_frame_is_refused(data: object, told: str) -> None:
    with pytest.raises(ExperimentError, match=told):
        analyse(data, PLAN)  # type: ignore[arg-type]
