from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from routelab.tables import PerformanceTable, load_source
from routelab.tables.sources import load_trace


def means(table: PerformanceTable, provider: str) -> tuple[float, float]:
    arm = table.providers.index(provider)
    return float(np.nanmean(table.quality[:, arm])), float(np.nanmean(table.cost[:, arm]))


def test_paretobandit_has_its_own_split_and_the_published_fixed_means() -> None:
    train, test = load_source("paretobandit").split()
    assert (train.n, test.n, test.k) == (1785, 1824, 3)
    published = {
        "meta-llama/llama-3.1-8b-instruct": (0.7931, 2.86e-5),
        "mistralai/mistral-large-2512": (0.9231, 5.27e-4),
        "google/gemini-2.5-pro": (0.9322, 1.516e-2),
    }
    for provider, (quality, cost) in published.items():
        assert means(test, provider) == pytest.approx((quality, cost), rel=3e-3)
    assert test.quality.max(axis=1).mean() == pytest.approx(0.9633, abs=5e-5)
    assert len({*train.tasks, *test.tasks}) == 31


def test_synthetic_takes_its_size_and_seed() -> None:
    table = load_source("synthetic", n_requests=200, seed=3)
    assert table.n == 200
    same = load_source("synthetic", n_requests=200, seed=3)
    np.testing.assert_array_equal(table.quality, same.quality)


STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"


@pytest.mark.parametrize(
    ("name", "prompts", "tasks", "strong", "weak"),
    [
        ("routellm-mmlu", 14_042 - 5, 57, 0.80587, 0.68092),
        ("routellm-gsm8k", 1_319 - 12, 1, 0.85769, 0.63734),
        ("routellm-mtbench", 72 * 2, 8, 0.91242, 0.80903),
    ],
)
def test_routellm_drops_contaminated_prompts_and_prices_tokens(
    mirror: Path, name: str, prompts: int, tasks: int, strong: float, weak: float
) -> None:
    table = load_source(name)
    assert (table.n, table.k, len(set(table.tasks))) == (prompts, 2, tasks)
    assert means(table, STRONG)[0] == pytest.approx(strong, abs=1e-5)
    assert means(table, WEAK)[0] == pytest.approx(weak, abs=1e-5)
    arm = table.providers.index(STRONG)
    priced = (10.0 * table.input_tokens + 30.0 * table.output_tokens)[:, arm] / 1e6
    np.testing.assert_allclose(table.cost[:, arm], priced)
    assert means(table, STRONG)[1] > 10 * means(table, WEAK)[1]


def test_mtbench_turns_are_prompts_with_the_turns_so_far(mirror: Path) -> None:
    table = load_source("routellm-mtbench")
    prompt = dict(zip(table.prompt_ids, table.prompts, strict=True))
    assert prompt["q160-turn2"].startswith(prompt["q160-turn1"] + "\n\n")
    second = np.array([name.endswith("turn2") for name in table.prompt_ids])
    assert second.sum() == 72
    assert table.input_tokens[second].mean() > table.input_tokens[~second].mean() + 300
    grades = np.round(table.quality * 9 + 1, 6)
    assert set(np.unique(grades)) <= {1, 2, 3, 4, 5, 6, 7, 8, 8.5, 9, 9.5, 10}


def test_routerbench_merges_the_ids_that_appear_twice(mirror: Path) -> None:
    table = load_source("routerbench")
    assert (table.n, table.k, set(table.tasks)) == (3164, 11, {"arc-challenge", "mbpp", "winogrande"})
    assert np.isfinite(table.quality).all()
    assert means(table, "gpt-4-1106-preview") == pytest.approx((0.879899, 0.005015), rel=1e-3)
    merged = table.take(table.prompt_ids == "arc-challenge.val.136")
    assert merged.cost[0, merged.providers.index("gpt-3.5-turbo-1106")] == pytest.approx(0.000476, rel=1e-3)
    assert merged.quality[0, merged.providers.index("gpt-3.5-turbo-1106")] == 1.0
    assert merged.prompts[0].count("George wants to warm his hands") == 1


def test_llmdrift_shows_the_real_drift_and_keeps_equal_queries_together(mirror: Path) -> None:
    table = load_source("llmdrift")
    assert (table.n, table.providers) == (3100, ("gpt-3.5", "gpt-4"))
    june = np.array([name.endswith("@2023-06") for name in table.prompt_ids])
    prime = table.tasks == "prime"
    measured = [table.quality[prime & period].mean(axis=0) for period in (~june, june)]
    np.testing.assert_allclose(measured, [[0.518, 0.840], [0.680, 0.502]])
    assert table.timestamp[~june].max() < table.timestamp[june].min()
    code = table.take((table.tasks == "leetcode_easy") & june)
    np.testing.assert_allclose(code.quality.mean(axis=0), [0.02, 0.10])
    happy = table.take((table.tasks == "counthappynumber") & ~june)
    np.testing.assert_allclose(happy.quality.mean(axis=0), [0.306, 0.836])
    train, rest = table.split()
    assert not set(train.prompts) & set(rest.prompts)
    assert table.has_latency


def test_routerarena_scores_stay_in_the_unit_interval(mirror: Path) -> None:
    table = load_source("routerarena")
    assert (table.n, table.k, len(set(table.tasks))) == (809, 2, 23)
    assert means(table, "gemini-2.0-flash-001") == pytest.approx((0.690119, 4.749e-5), rel=1e-4)
    assert means(table, "claude-3-haiku-20240307") == pytest.approx((0.523397, 1.75992e-4), rel=1e-4)
    assert table.quality.min() == 0.0


def test_azure_trace_holds_one_hour_of_arrivals(mirror: Path) -> None:
    trace = load_trace("azure_trace")
    assert trace["workload"].value_counts().to_dict() == {"conv": 19_366, "code": 8_819}
    assert trace["arrival_s"].is_monotonic_increasing
    assert 3400 < trace["arrival_s"].max() < 3600
    assert trace.groupby("workload")["input_tokens"].mean().round(1).to_dict() == {
        "code": 2047.8,
        "conv": 1154.7,
    }


def test_llmperf_holds_latencies_and_failures_of_19_pairs(mirror: Path) -> None:
    trace = load_trace("llmperf")
    assert len(trace) == 18 * 150 + 145
    assert len(trace.groupby(["provider", "model"])) == 19
    failed = trace["error_code"].isin([429, -1])
    assert failed.sum() == 3 * 130 + 2 + 1
    assert trace["latency_s"].isna().equals(failed)
    assert (trace["latency_s"] >= trace["ttft_s"])[~failed].all()


def test_a_ready_table_of_a_researcher_is_read(mirror: Path) -> None:
    table = PerformanceTable.read(mirror.parent / "tables" / "bfcl.parquet")
    assert (table.n, table.k, table.has_latency) == (1460, 15, True)
    assert np.nanmean(table.quality) == pytest.approx(0.828813, abs=1e-6)
