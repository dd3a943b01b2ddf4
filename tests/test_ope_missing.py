"""Outcomes that are missing for some providers more than for others, and providers that a log could not choose."""

from __future__ import annotations

import numpy as np
import pytest

from routelab import Objective
from routelab.errors import OffPolicyError
from routelab.evaluation.ope import LoggedData, evaluate, fixed, overlap, propensity_calibration, rank
from routelab.evaluation.ope.diagnostics import propensity_warning
from routelab.ope_cli import ope_lines, ope_report

pytestmark = pytest.mark.filterwarnings("ignore::routelab.evaluation.ope.LowSampleWarning")
UNBIASED = ("ips", "snips", "dr", "sndr")


def log_of(graded: tuple[float, ...], seed: int = 0, n: int = 2000) -> LoggedData:
    """Three providers of quality .3, .5 and .7, whose answers are graded with these probabilities; costs are known."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    logged = np.full((n, 3), 0.2)
    logged[np.arange(n), (x > 0) * 2] += 0.4
    action = (rng.random((n, 1)) > logged.cumsum(axis=1)[:, :-1]).sum(axis=1)
    quality = (rng.random(n) < np.array([0.3, 0.5, 0.7])[action]).astype(float)
    quality[rng.random(n) >= np.array(graded)[action]] = np.nan
    chosen = logged[np.arange(n), action]
    return LoggedData(
        action, quality, chosen, ("a", "b", "c"), cost=0.01 * (1 + action), X=x[:, None], probabilities=logged
    )


def test_grades_missing_by_provider_bias_no_estimate_and_intervals_hold() -> None:
    values, covered = [], []
    for seed in range(100):
        log = log_of((0.2, 0.6, 0.95), seed)
        target = {"uniform": np.full((log.n, 3), 1.0 / 3.0)}
        frame = evaluate(log, target, estimators=UNBIASED, metrics=["quality"], n_resamples=200)
        values.append(frame["value"])
        covered.append((frame["low"] <= 0.5) & (frame["high"] >= 0.5))
    assert np.mean(values, axis=0) == pytest.approx(0.5, abs=0.01)  # .59 if those who are graded more count more
    assert (np.mean(covered, axis=0) >= 0.88).all()


def test_the_reward_model_is_averaged_over_all_requests() -> None:
    log = log_of((0.2, 0.6, 0.95))
    predictions = {"quality": np.random.default_rng(0).random((log.n, 3))}
    frame = evaluate(log, {"b": fixed(log, "b")}, estimators=["dm"], metrics=["quality"], predictions=predictions)
    assert frame["value"].item() == pytest.approx(predictions["quality"][:, 1].mean())


def test_grades_missing_by_provider_are_told_for_that_metric_only() -> None:
    for graded, told in (((0.2, 0.6, 0.95), True), ((0.5, 0.5, 0.5), False), ((1.0, 1.0, 1.0), False)):
        log = log_of(graded)
        frame = evaluate(log, {"b": fixed(log, "b")}, estimators=["ips"]).set_index("metric")
        assert ("quality is known in" in frame.loc["quality", "warning"]) is told
        assert "known" not in frame.loc["cost", "warning"]
        ranked = rank(log, {"b": fixed(log, "b"), "a": fixed(log, "a")}, n_resamples=50)
        assert ranked["warning"].str.contains("quality is known").all() == told
    lines = ope_lines(ope_report(log_of((0.95, 0.95, 0.2)), ["fixed:b"], objective=Objective()))
    assert any("beware" in line and "of c's choices" in line for line in lines)


def test_weights_are_told_of_the_rows_with_that_outcome() -> None:
    log = log_of((0.2, 0.6, 0.95))
    frame = evaluate(log, {"a": fixed(log, "a")}, estimators=["ips"]).set_index("metric")
    graded = (log.action == 0) & ~np.isnan(log.quality)
    weight = 1.0 / log.propensity[graded]
    assert frame.loc["quality", "ess"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    assert frame.loc["cost", "ess"] > 4.0 * frame.loc["quality", "ess"]
    assert frame["mean_weight"].to_numpy() == pytest.approx(1.0, abs=0.15)


def test_a_provider_that_was_never_graded_is_not_supported_for_quality() -> None:
    log = log_of((1.0, 0.0, 1.0))
    with pytest.raises(OffPolicyError, match=r"100.0% of its choices are never logged with a quality \(b 100.0%\)"):
        evaluate(log, {"b": fixed(log, "b")})
    assert evaluate(log, {"b": fixed(log, "b")}, metrics=["cost"], estimators=["snips"])["n"].item() == 2000


def test_a_provider_that_joins_half_way_is_refused_with_propensities_alone() -> None:
    rng, n = np.random.default_rng(0), 2000
    late = np.arange(n) >= n // 2
    action = np.where(late, rng.integers(3, size=n), rng.integers(2, size=n))
    log = LoggedData(action, rng.random(n), np.where(late, 1.0 / 3.0, 0.5), ("a", "b", "c"))
    with pytest.raises(OffPolicyError, match=r"answer for 'c': its mean weight is 0\.\d+, not 1, .* or the propens"):
        evaluate(log, {"c": fixed(log, "c")})
    assert evaluate(log, {"a": fixed(log, "a")}, estimators=["ips"])["warning"].str.contains("or the support").all()
    assert propensity_calibration(log)["z"].abs().max() > 4.0
    assert propensity_warning(log).startswith("the logged propensities or the support do not fit")
    half = evaluate(log, {"c": fixed(log, "c")}, estimators=["ips"], max_unsupported=0.6)
    assert "propensities or support" in half["warning"].item()
    assert overlap(log, fixed(log, "c")).mean_weight == pytest.approx(0.5, abs=0.1)
