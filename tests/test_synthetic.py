"""The synthetic world keeps what it promises: its table, its truth, its events, and the traces it was fitted to."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from routelab.errors import RoutelabError
from routelab.policies.objective import Objective, cost_weight_sweep
from routelab.tables import fits
from routelab.tables.synthetic import START, SyntheticData, World
from routelab.tables.synthetic_events import Drift, Outage, PriceChange
from routelab.tables.synthetic_text import TASKS, Traits, read_prompt
from routelab.tables.synthetic_world import CODE_TASK, DEFAULT_PROVIDERS, TIMEOUT_S, Conditions, Requests, expected

NAMES = [provider.name for provider in DEFAULT_PROVIDERS]
CELLS = ("quality", "cost", "latency", "input_tokens", "output_tokens", "timestamp")


@pytest.fixture(scope="module")
def data() -> SyntheticData:
    return World().generate(3000, seed=0)


@pytest.fixture(scope="module")
def many() -> SyntheticData:
    return World().generate(20_000, seed=1)


def column(data: SyntheticData, name: str) -> np.ndarray:
    return data.table.features[:, data.table.feature_names.index(name)]


def hour(data: SyntheticData) -> np.ndarray:
    return (data.table.timestamp[:, 0] - START) / 3600.0


def assert_same_cells(a: SyntheticData, b: SyntheticData, rows: np.ndarray, arms: list[int]) -> None:
    for field in CELLS:
        np.testing.assert_array_equal(
            getattr(a.table, field)[rows][:, arms], getattr(b.table, field)[rows][:, arms], err_msg=field
        )
    for field in ("expected_quality", "expected_cost", "expected_latency"):
        np.testing.assert_array_equal(getattr(a, field)[rows][:, arms], getattr(b, field)[rows][:, arms], err_msg=field)


def test_every_column_is_in_its_range_and_complete(data: SyntheticData) -> None:
    table = data.table
    assert table.providers == tuple(NAMES)
    assert (table.n, table.k) == (3000, 5)
    assert table.prompt_ids[0] == "synthetic-000001"
    for field in CELLS:
        assert np.isfinite(getattr(table, field)).all(), field
    for quality in (table.quality, data.expected_quality):
        assert quality.min() >= 0.0
        assert quality.max() <= 1.0
    assert (table.cost >= 0.0).all()
    assert (table.latency > 0.0).all()
    assert (np.diff(table.timestamp[:, 0]) >= 0.0).all()
    assert hour(data).min() >= 0.0
    assert hour(data).max() <= 7 * 24.0
    complexity, time = column(data, "estimated_complexity"), column(data, "time_of_day")
    assert complexity.min() >= 0.0
    assert complexity.max() <= 1.0
    assert time.min() >= 0.0
    assert time.max() < 24.0
    assert set(np.unique(column(data, "user_tier"))) == {0.0, 1.0}
    assert set(np.unique(column(data, "requires_reasoning"))) == {0.0, 1.0}
    assert (table.load() >= 0.0).all()
    assert set(table.tasks) == set(TASKS)


def test_the_prompts_are_distinct_and_say_what_they_are(data: SyntheticData) -> None:
    assert len(set(data.table.prompts)) > 2950
    for i, prompt in enumerate(data.table.prompts):
        traits = read_prompt(prompt, complexity=-1.0, reasoning=False)
        assert TASKS[traits.task] == data.table.tasks[i]
        assert traits.complexity == data.complexity[i]
        assert traits.reasoning == data.reasoning[i]
        assert traits.input_tokens == data.table.input_tokens[i, 0]


def test_what_the_router_sees_is_a_noisy_view_of_the_truth(data: SyntheticData) -> None:
    seen = column(data, "estimated_complexity")
    assert 0.8 < np.corrcoef(seen, data.complexity)[0, 1] < 0.95
    misread = (column(data, "requires_reasoning") == 1.0) != data.reasoning
    assert 0.08 < misread.mean() < 0.12


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for i, seed in enumerate((5, 5, 6)):
        World().generate(200, seed=seed).table.write(tmp_path / f"{i}.parquet")
    a, b, c = ((tmp_path / f"{i}.parquet").read_bytes() for i in range(3))
    assert a == b != c


def test_observations_scatter_around_the_ground_truth(many: SyntheticData) -> None:
    """In each provider and task, mean observed − mean expected is within 4.5 standard errors (or 1 % of the mean)."""
    pairs = (
        (many.table.quality, many.expected_quality),
        (many.table.cost, many.expected_cost),
        (many.table.latency, many.expected_latency),
    )
    for observed, truth in pairs:
        for task in TASKS:
            rows = many.table.tasks == task
            gap = (observed - truth)[rows]
            error = gap.std(axis=0) / np.sqrt(rows.sum())
            # Tokens are whole numbers, their expectation is not: a code answer of 6 tokens may be off by a little.
            slack = 0.01 * truth[rows].mean(axis=0)
            assert (np.abs(gap.mean(axis=0)) < 4.5 * error + slack).all(), task


def test_quality_is_calibrated_at_every_level(many: SyntheticData) -> None:
    for arm in range(5):
        expected, observed = many.expected_quality[:, arm], many.table.quality[:, arm]
        for low in np.arange(0.0, 1.0, 0.1):
            inside = (expected >= low) & (expected < low + 0.1)
            if inside.sum() > 200:
                gap = observed[inside] - expected[inside]
                assert abs(gap.mean()) < 4.5 * gap.std() / np.sqrt(inside.sum())


@pytest.mark.parametrize(("of_code", "swing", "peak", "tolerance"), [(False, 0.5, 19.0, 0.08), (True, 0.8, 14.0, 0.2)])
def test_arrivals_follow_a_daily_rhythm(
    many: SyntheticData, of_code: bool, swing: float, peak: float, tolerance: float
) -> None:
    """The first harmonic of the hours of arrival: mean of exp(2πih/24) is swing/2 · exp(2πi·peak/24)."""
    time = column(many, "time_of_day")[(many.table.tasks == "code") == of_code]
    harmonic = 2.0 * np.exp(2j * np.pi * time / 24.0).mean()
    assert abs(harmonic) == pytest.approx(swing, abs=tolerance)
    assert np.angle(harmonic) % (2 * np.pi) * 24 / (2 * np.pi) == pytest.approx(peak, abs=1.0)


def test_load_raises_latency_and_leaves_quality_and_cost() -> None:
    requests = Requests.of([Traits(task, 0.5, False, 500) for task in range(len(TASKS))])
    for provider in DEFAULT_PROVIDERS:
        idle, busy = (
            expected(provider, requests, np.full(len(TASKS), load), Conditions()) for load in (0.0, provider.capacity)
        )
        timeouts = provider.latency.failure * TIMEOUT_S
        np.testing.assert_allclose(busy.latency - timeouts, 2.0 * (idle.latency - timeouts))
        np.testing.assert_array_equal(busy.quality, idle.quality)
        np.testing.assert_array_equal(busy.cost, idle.cost)


def test_observed_latency_grows_with_the_load_in_the_table(many: SyntheticData) -> None:
    talk = many.table.tasks != "code"
    for arm in range(5):
        load, latency = many.table.load()[talk, arm], many.table.latency[talk, arm]
        busy, calm = load > np.quantile(load, 0.8), load <= np.quantile(load, 0.3)
        assert np.median(latency[busy]) > 1.05 * np.median(latency[calm])


def test_each_event_changes_its_own_cells_and_no_others(data: SyntheticData) -> None:
    arm = NAMES.index("large")
    others = [a for a in range(5) if a != arm]
    events = (Drift("large", -0.3, 50, 100), PriceChange("large", 0.5, 50, 100), Outage("large", 50, 100))
    everywhere = np.ones(3000, dtype=bool)
    inside = (hour(data) >= 50) & (hour(data) < 100)
    for event in events:
        after = World(events=(event,)).generate(3000, seed=0)
        assert list(after.table.prompts) == list(data.table.prompts)
        np.testing.assert_array_equal(after.table.features, data.table.features)
        assert_same_cells(after, data, everywhere, others)
        assert_same_cells(after, data, ~inside, [arm])


def test_drift_shifts_quality_and_leaves_cost_and_latency(data: SyntheticData) -> None:
    after = World(events=(Drift("large", -0.3, 50),)).generate(3000, seed=0)
    rows = hour(data) >= 50
    fall = (data.expected_quality - after.expected_quality)[rows, 3]
    assert 0.25 < fall.mean() <= 0.3
    assert (after.table.quality[rows, 3] <= data.table.quality[rows, 3]).all()
    np.testing.assert_array_equal(after.table.cost, data.table.cost)
    np.testing.assert_array_equal(after.table.latency, data.table.latency)


def test_a_price_change_multiplies_cost_and_leaves_the_rest(data: SyntheticData) -> None:
    after = World(events=(PriceChange("large", 0.5, 50),)).generate(3000, seed=0)
    rows = hour(data) >= 50
    np.testing.assert_allclose(after.table.cost[rows, 3], 0.5 * data.table.cost[rows, 3])
    np.testing.assert_allclose(after.expected_cost[rows, 3], 0.5 * data.expected_cost[rows, 3])
    np.testing.assert_array_equal(after.table.quality, data.table.quality)


def test_in_an_outage_every_request_fails_by_timeout(data: SyntheticData) -> None:
    after = World(events=(Outage("large", 50, 100),)).generate(3000, seed=0)
    down = (hour(data) >= 50) & (hour(data) < 100)
    for values, lost in ((after.table.quality, 0.0), (after.table.cost, 0.0), (after.table.latency, TIMEOUT_S)):
        assert (values[down, 3] == lost).all()
    assert (after.expected_quality[down, 3] == 0.0).all()
    assert (after.expected_latency[down, 3] == TIMEOUT_S).all()


def test_failures_come_at_their_fitted_rate(many: SyntheticData) -> None:
    for arm, provider in enumerate(DEFAULT_PROVIDERS):
        failed = (many.table.output_tokens[:, arm] == 0).sum()
        assert stats.binomtest(int(failed), 20_000, provider.latency.failure).pvalue > 1e-4


def test_the_best_provider_differs_from_task_to_task(data: SyntheticData) -> None:
    best = {t: NAMES[data.expected_quality[data.table.tasks == t].mean(axis=0).argmax()] for t in TASKS}
    assert best["code"] == "coder"
    assert best["maths"] == "frontier"
    assert len(set(best.values())) >= 4


def test_the_optimal_arms_beat_every_provider_and_every_mixture_of_them(data: SyntheticData) -> None:
    """On fresh outcomes, at every trade-off, by the utility that the best mixture (a single one, then) can reach."""
    quality, cost = data.table.quality, data.table.cost
    rows = np.arange(data.table.n)
    margins = []
    for weight in cost_weight_sweep(cost, 12):
        objective = Objective(cost_weight=float(weight))
        utility = objective.utility(quality, cost)
        margins.append(utility[rows, data.optimal_arm(objective)].mean() - utility.mean(axis=0).max())
    assert min(margins) > -1e-12
    assert margins[0] > 0.02
    assert max(margins) > 0.08


def test_optimal_arm_heeds_latency_and_constraints(data: SyntheticData) -> None:
    hurried = data.optimal_arm(Objective(latency_weight=10.0))
    assert (hurried == data.expected_latency.argmin(axis=1)).all()
    cheap = data.optimal_arm(Objective(max_cost=1e-4))
    allowed = data.expected_cost[np.arange(3000), cheap] <= 1e-4
    assert (allowed | (cheap == data.expected_cost.argmin(axis=1))).all()


def test_a_provider_more_leaves_the_answers_of_the_others(data: SyntheticData) -> None:
    fewer = World(providers=DEFAULT_PROVIDERS[:4]).generate(3000, seed=0)
    np.testing.assert_array_equal(fewer.expected_quality, data.expected_quality[:, :4])
    assert list(fewer.table.prompts) == list(data.table.prompts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"providers": DEFAULT_PROVIDERS[:1]}, "two or more"),
        ({"providers": (*DEFAULT_PROVIDERS, DEFAULT_PROVIDERS[0])}, "each name once"),
        ({"days": 0.0}, "World.days is 0.0"),
        ({"events": (Outage("gpt", 1.0),)}, "no such provider"),
        ({"events": (Outage("nano", 5.0, 5.0),)}, "start < stop"),
        ({"events": (Drift("nano", -2.0, 0.0),)}, "shift in"),
        ({"events": (PriceChange("nano", -1.0, 0.0),)}, "factor"),
    ],
)
def test_a_world_that_cannot_be_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(RoutelabError, match=message):
        World(**arguments)


def test_no_requests_is_refused() -> None:
    with pytest.raises(RoutelabError, match="n_requests is 0"):
        World().generate(0)


# --- the fits, against the traces they were made from --------------------------------------------------------------


def mirror(pattern: str) -> Path:
    root = Path(os.environ.get("ROUTELAB_DATA_MIRROR", Path(__file__).parents[2] / "shared" / "mirror"))
    found = sorted(root.glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} under {root}; set ROUTELAB_DATA_MIRROR")
    return found[0]


def azure(workload: str) -> pd.DataFrame:
    path = mirror(f"Azure/AzurePublicDataset/*/data/AzureLLMInferenceTrace_{workload}.csv")
    frame = pd.read_csv(path, parse_dates=["TIMESTAMP"])
    frame["seconds"] = (frame["TIMESTAMP"] - frame["TIMESTAMP"].min()).dt.total_seconds()
    return frame


@pytest.mark.parametrize(("workload", "written"), [("conv", fits.CONVERSATION), ("code", fits.CODE)])
def test_traffic_constants_refit_from_the_azure_trace(workload: str, written: fits.TrafficFit) -> None:
    trace = azure(workload)
    fit = fits.fit_traffic(*(trace[c].to_numpy(float) for c in ("seconds", "ContextTokens", "GeneratedTokens")))
    assert fit.rate == pytest.approx(written.rate, rel=1e-3)
    assert fit.burst == pytest.approx(written.burst, rel=1e-3)
    np.testing.assert_allclose(fit.context, written.context, atol=0.5)
    np.testing.assert_allclose(fit.generated, written.generated, atol=0.5)


@pytest.mark.parametrize("pair", sorted(fits.LATENCY))
def test_latency_constants_refit_from_llmperf(pair: str) -> None:
    path = mirror(f"ray-project/llmperf-leaderboard/*/raw_data/individual/{pair}.json")
    frame = pd.DataFrame(json.loads(path.read_text()))
    answered = frame[frame["error_code"].isna()]
    arrays = (answered[c].to_numpy(float) for c in ("ttft_s", "end_to_end_latency_s", "number_output_tokens"))
    fit = fits.fit_latency(*arrays, failures=len(frame) - len(answered))
    assert asdict(fit) == pytest.approx(asdict(fits.LATENCY[pair]), rel=1e-3)


@pytest.mark.parametrize("workload", ["conv", "code"])
def test_generated_token_counts_resemble_the_azure_trace(workload: str, many: SyntheticData) -> None:
    """Kolmogorov–Smirnov distance below 0.1 (a log-normal reaches 0.13–0.18), for ``mini``, whose verbosity is 1."""
    trace = azure(workload)
    arm = NAMES.index("mini")
    rows = (many.table.tasks == TASKS[CODE_TASK]) == (workload == "code")
    answered = rows & (many.table.output_tokens[:, arm] > 0)
    for column_, synthetic in (
        ("ContextTokens", many.table.input_tokens[rows, arm]),
        ("GeneratedTokens", many.table.output_tokens[answered, arm]),
    ):
        assert stats.ks_2samp(trace[column_], synthetic).statistic < 0.1, column_


def test_arrivals_at_the_hour_of_the_trace_come_at_its_mix(many: SyntheticData) -> None:
    """At 18–20 o'clock the share of code is the trace's, 8,819 of 28,185, within what bursts of minutes allow."""
    time = column(many, "time_of_day")
    now = (time >= 18.25) & (time < 19.25)
    share = (many.table.tasks[now] == "code").mean()
    assert share == pytest.approx(8819 / 28185, abs=0.06)
