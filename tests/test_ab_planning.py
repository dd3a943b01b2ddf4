"""Planning: its powers are those that experiments have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments import LOOKS, WORLDS, effects, misses
from routelab.abtest.confidence_sequence import ConfidenceSequence
from routelab.abtest.plan import Metric, Plan
from routelab.abtest.planning import Pilot, minimum_effect, power, quantile_guardrail, run_length
from routelab.errors import ExperimentError

PLAN = Plan({"a": 0.5, "b": 0.5}, (Metric("q"),), units=4_000)
PILOT = Pilot("q", mean=0.0, sd=1.0)


def test_the_planned_power_is_that_of_experiments() -> None:
    found = effects(*WORLDS["normal +.1 sd"], runs=2_000, looks=LOOKS, seed=7)
    assert power(0.1, PILOT, PLAN) == pytest.approx(misses(ConfidenceSequence((2_000, 2_000)), found), abs=0.035)


def test_the_fixed_test_has_the_power_of_the_textbook() -> None:
    fixed, z = replace(PLAN, method="welch"), 0.1 / np.sqrt(2 / 2_000)
    assert power(0.1, PILOT, fixed) == pytest.approx(stats.norm.sf(1.96 - z), abs=0.01)
    assert minimum_effect(PILOT, fixed) == pytest.approx((1.96 + 0.8416) * np.sqrt(2 / 2_000), rel=0.01)
    assert run_length(0.1, PILOT, fixed).units == pytest.approx(4 * (1.96 + 0.8416) ** 2 / 0.01, rel=0.02)
    assert run_length(0.1, PILOT, fixed).expected == run_length(0.1, PILOT, fixed).units


def test_effect_power_and_length_are_one_relation() -> None:
    effect = minimum_effect(PILOT, PLAN, power=0.7)
    assert power(effect, PILOT, PLAN) == pytest.approx(0.7, abs=0.001)
    length = run_length(effect, PILOT, PLAN, power=0.7)
    assert length.units == pytest.approx(PLAN.units, rel=0.003)
    assert 0.4 * length.units < length.expected < 0.9 * length.units
    assert power(effect, PILOT, replace(PLAN, shares={"a": 0.9, "b": 0.1})) < 0.5
    assert power(0.0, PILOT, PLAN) <= 0.025


def test_an_msprt_with_the_right_spread_is_planned_like_the_sequence() -> None:
    spread = replace(PLAN, method="msprt", tau={"q": 0.09})
    assert power(0.1, PILOT, PLAN) - 0.12 < power(0.1, PILOT, spread) < power(0.1, PILOT, PLAN)


def test_a_pilot_knows_the_spread_of_units_not_of_requests() -> None:
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(2_000), 4)
    before = rng.normal(size=2_000)
    level = 1.0 + 0.8 * before + 0.6 * rng.normal(size=2_000)
    frame = pd.DataFrame({"unit": unit, "decision_id": np.arange(8_000), "q": level[unit], "before": before[unit]})
    pilot = Pilot.of(frame, Metric("q"))
    assert (pilot.mean, pilot.sd) == pytest.approx((level.mean(), level.std(ddof=1)))
    assert Pilot.of(frame, Metric("q", covariate="before")).sd == pytest.approx(0.6, rel=0.05)
    with pytest.raises(ExperimentError, match="in which it varies"):
        Pilot.of(frame.assign(q=1.0), Metric("q"))


def test_a_quantile_guardrail_holds_its_margin_for_a_shift() -> None:
    rng = np.random.default_rng(0)
    latencies = rng.lognormal(size=200_000)
    metric = quantile_guardrail(latencies, margin=0.5)
    assert (latencies > metric.above).mean() == pytest.approx(0.05, abs=1e-4)
    assert (latencies + 0.5 > metric.above).mean() == pytest.approx(0.05 + metric.margin, abs=1e-4)
    for bad, told in (({"margin": 0.0}, "larger margin"), ({"margin": 0.5, "q": 1.0}, "q is 1.0")):
        with pytest.raises(ExperimentError, match=told):
            quantile_guardrail(latencies, **bad)
    with pytest.raises(ExperimentError, match="no outcome"):
        quantile_guardrail([], margin=0.5)


def test_impossible_plans_are_refused() -> None:
    for effect, told in ((0.0, "other than 0"), (float("nan"), "other than 0"), (1e-9, "look for a larger one")):
        with pytest.raises(ExperimentError, match=told):
            run_length(effect, PILOT, PLAN)
    with pytest.raises(ExperimentError, match=r"power is 1.0; give a number in \(0, 1\)"):
        minimum_effect(PILOT, PLAN, power=1.0)
