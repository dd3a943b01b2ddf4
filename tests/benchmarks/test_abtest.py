"""The figures of A/B statistics at full size: ``pytest -s tests/benchmarks/test_abtest.py`` prints them, 3 minutes."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments import LOOKS, WORLDS, Draw, bernoulli, effects, log_normal, misses, normal, splits
from routelab.abtest.analysis import analyse
from routelab.abtest.confidence_sequence import ConfidenceSequence
from routelab.abtest.effect import effect_of
from routelab.abtest.inference import Inference
from routelab.abtest.moments import Moments
from routelab.abtest.normal_mixture import normal_mixture_bound
from routelab.abtest.plan import Metric, Plan
from routelab.abtest.srm import srm_p_value
from routelab.abtest.welch import Welch
from routelab.arrays import Floats

SEQUENCE = ConfidenceSequence(planned=(2_000, 2_000))
POWER = dict(zip(WORLDS, (0.70, 0.61, 0.30), strict=True))
RUNS, BATCH = 20_000, 2_000


def rate(
    method: Inference, control: Draw, treatment: Draw, looks: Floats = LOOKS, runs: int = RUNS, share: float = 0.5
) -> float:
    """Share of ``runs`` experiments in which some look's interval leaves 0 out."""
    size = min(BATCH, runs, 4_000_000 // len(looks))
    batches = range(runs // size)
    return float(np.mean([misses(method, effects(control, treatment, size, looks, s, share)) for s in batches]))


def told(what: str, share: float, runs: int) -> None:
    low, high = stats.binomtest(round(share * runs), runs).proportion_ci(method="wilson")
    print(f"\n{what}: {share:.4f} [{low:.4f}, {high:.4f}] of {runs:,}", end="")


@pytest.mark.parametrize("world", WORLDS)
def test_forty_looks(world: str) -> None:
    control, treatment = WORLDS[world]
    false, naive, power = (
        rate(method, control, other)
        for method, other in ((SEQUENCE, control), (Welch(), control), (SEQUENCE, treatment))
    )
    for what, share in (("false positives", false), ("of a z test", naive), ("power", power)):
        told(f"{world}: {what}", share, RUNS)
    assert false <= 0.05
    assert naive >= 0.27
    assert power >= POWER[world]


@pytest.mark.parametrize("share", [0.5, 0.3, 0.1])
@pytest.mark.parametrize(
    "draw",
    [bernoulli(0.3), bernoulli(0.1), normal(0.0), log_normal(1.0)],
    ids=["Bernoulli .3", "Bernoulli .1", "normal", "log-normal"],
)
def test_coverage_at_every_look_from_fifty_units_an_arm_on(draw: Draw, share: float) -> None:
    method = ConfidenceSequence((4_000 * (1 - share), 4_000 * share))
    missed = rate(method, draw, draw, np.arange(int(np.ceil(25 / share)), 2_001), 4_000, share)
    told(f"coverage at all looks, treatment's share {share}", 1.0 - missed, 4_000)
    assert missed <= 0.05


def test_coverage_far_beyond_the_planned_size() -> None:
    missed = rate(SEQUENCE, normal(0.0), normal(0.0), np.arange(50, 40_001, 10), 2_000)
    told("coverage at all looks up to twenty times the planned size", 1.0 - missed, 2_000)
    assert missed <= 0.05


def test_sample_ratio() -> None:
    looks = np.arange(100, 4_001, 100)
    told("SRM, false alarms", (srm_p_value(splits(0.5, looks, RUNS, 0), [1, 1]).min(axis=1) <= 0.05).mean(), RUNS)
    for share, units in ((0.505, 200_000), (0.51, 50_000)):
        for shape, looks in (("40 looks", 41), ("400 looks", 401)):
            counts = splits(share, np.linspace(0, units, looks).astype(int)[1:], 10_000, 1)
            found = float((srm_p_value(counts, [1, 1]).min(axis=1) <= 0.05).mean())
            told(f"SRM, {share} found within {units:,}, {shape}", found, 10_000)
            assert found >= 0.9
    counts = splits(0.5, np.linspace(0, 200_000, 401).astype(int)[1:], 10_000, 2)
    false = float((srm_p_value(counts, [1, 1]).min(axis=1) <= 0.05).mean())
    told("SRM, false alarms, 400 looks to 200,000", false, 10_000)
    assert false <= 0.05


def test_the_whole_report_errs_in_no_claim_of_two_goals_and_two_treatments() -> None:
    plan = Plan({"a": 1, "b": 1, "c": 1}, (Metric("solved"), Metric("cost", lower_is_better=True)), units=1_200)
    wrong, runs = 0, 500
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({"unit": range(1_200), "variant": np.tile(["a", "b", "c"], 400)})
        frame["solved"], frame["cost"] = rng.random(1_200) < 0.3, rng.lognormal(size=1_200)
        reports = (analyse(frame.iloc[:n], plan) for n in range(150, 1_201, 150))
        wrong += any(row.claim != "open" for report in reports for row in report.results)
    told("reports with any false claim at any of 8 looks", wrong / runs, runs)
    assert wrong / runs <= 0.05


def test_units_that_go_on_sending_requests_between_looks_do_not_break_the_sequence() -> None:
    method, units, requests, runs = ConfidenceSequence((300, 300)), 300, 30, 1_000
    looks = np.linspace(0, units * requests, 61).astype(int)[1:]
    wrong = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        arms = []
        for _ in range(2):
            unit = rng.permutation(np.repeat(np.arange(units), requests))
            arms.append((unit, 0.14 * rng.normal(size=units)[unit] + rng.normal(size=len(unit))))
        wrong += any(misses_so_far(arms, n, method) for n in looks)
    told("false positives at 60 looks, 30 requests per unit spread over the test", wrong / runs, runs)
    assert wrong / runs <= 0.05


def misses_so_far(arms: list[tuple[np.ndarray, Floats]], n: int, method: Inference) -> bool:
    """Whether the interval after ``n`` requests of each arm leaves 0 out."""
    moments = []
    for unit, values in arms:
        total, count = np.bincount(unit[:n], values[:n]), np.bincount(unit[:n]).astype(float)
        moments.append(Moments.of(np.column_stack([total, count])[count > 0]))
    effect = effect_of(*moments, (0, 1))
    return bool(abs(effect.difference) > method.radius(effect))


def test_the_normal_mixture_is_villes() -> None:
    ville = pytest.importorskip("ville", reason="pip install ville")
    for r in (0.1, 1.0, 8.2, 100.0):
        theirs = ville.normal_mixture(1.0, 0.05, 1.0 / r)
        assert normal_mixture_bound(r, 0.05) == pytest.approx(float(theirs), rel=1e-12)


def test_ten_million_outcomes_are_read_once_in_bounded_memory() -> None:
    plan = Plan(
        {"a": 0.5, "b": 0.5},
        (Metric("quality"), Metric("cost", per="tokens", lower_is_better=True, margin=0.1), Metric("slow", above=3.0)),
        units=5_000_000,
    )

    def chunks(n: int) -> Iterator[pd.DataFrame]:
        rng = np.random.default_rng(0)
        for begin in range(0, n, 200_000):
            unit = np.arange(begin, begin + 200_000) // 2
            columns = {"quality": rng.random(200_000), "cost": rng.lognormal(size=200_000)}
            columns |= {"slow": rng.exponential(size=200_000), "tokens": rng.integers(1, 9, 200_000)}
            key = {"unit": unit, "variant": np.where(unit % 2, "a", "b"), "decision_id": np.arange(200_000) + begin}
            yield pd.DataFrame(key | columns)

    peaks = []
    for n in (1_000_000, 10_000_000):
        tracemalloc.start()
        begin = time.perf_counter()
        report = analyse(chunks(n), plan)
        seconds = time.perf_counter() - begin
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
        print(f"\n{n:,} outcomes: {seconds:.1f} s with their simulation, peak {peaks[-1]:.0f} MB", end="")
    assert sum(report.units.values()) == 5_000_000
    assert peaks[1] < 1.1 * peaks[0]


def test_moments_of_a_billion_units_would_not_lose_digits() -> None:
    part = Moments.of(1e6 + np.random.default_rng(0).normal(size=(1_000, 1)))
    whole = part
    for _ in range(20):  # doubled
        whole = whole + whole
    assert whole.count == 1_000 * 2**20
    assert whole.covariance[0, 0] == pytest.approx(part.scatter[0, 0] / 1_000, rel=1e-6)
