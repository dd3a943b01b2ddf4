"""What a reader of ``routelab evaluate`` and of the benchmark's figure is told."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from routelab.benchmark.harness import evaluate_table
from routelab.benchmark.text import report_lines
from routelab.plots import plot_benchmark
from routelab.stages.benchmark import rows_of
from tables import hard_and_easy, table_of, with_split


def report_on(frame: pd.DataFrame, *policies: str) -> dict[str, object]:
    return evaluate_table(table_of(frame), "t", policies=policies, resamples=60)


def test_a_policy_without_estimates_of_its_own_has_no_calibration() -> None:
    report = report_on(with_split(hard_and_easy(150), train=100), "train-means", "best-single", "forest-classifier")
    classifier = report["policies"]["forest-classifier"]
    assert (classifier["ece"], classifier["brier"]) == (None, None)
    assert {len(report["policies"][name]["ece"]) for name in ("train-means", "best-single")} == {2}
    lines = list(report_lines(report))
    header, *rows = (next(line for line in lines if line.startswith(name)) for name in ("policy", "forest-", "train-"))
    assert [row[header.index("ECE")] for row in rows] == ["-", "0"]
    assert rows_of(report)["ece"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(("scored", "told"), [(49, True), (50, False)])
def test_few_evaluation_prompts_are_warned_of(scored: int, told: bool) -> None:
    report = report_on(with_split(hard_and_easy(60 + scored), train=60), "train-means")
    assert next(report_lines(report)).startswith(f"only {scored} evaluation prompts") is told


def test_the_oracle_is_told_as_the_ceiling_not_as_the_best_policy() -> None:
    lines = list(report_lines(report_on(with_split(hard_and_easy(150), train=100), "ridge", "oracle")))
    assert sum(line.startswith("oracle (ceiling, no policy)  +1.000") for line in lines) == 1


def test_the_report_tells_who_answers_under_three_settings_of_the_best_policy() -> None:
    lines = list(report_lines(report_on(with_split(hard_and_easy(), train=200), "ridge", "train-means", "oracle")))
    told = [line for line in lines if line.startswith("ridge at ")]
    assert told[0] == "ridge at 0.001 USD per request: small 100%"
    assert "large " in told[-1]
    assert "curves and shares of all policies: routelab evaluate --json" in lines


def test_the_title_of_the_figure_counts_runs_and_tells_leads_beyond_the_interval() -> None:
    columns = ("table", "split", "repeats", "policy", "gap", "low", "high", "difference_low")
    runs = [("a", "own", 1, 0.3, 0.05), ("a", "0.7", 10, 0.3, -0.05), ("b", "0.7", 5, 0.1, -0.1)]
    ours = [(*run, "forest", gap, gap - 0.1, gap + 0.1, low) for *run, gap, low in runs]
    theirs = [(*run, "ridge", 0.2, 0.1, 0.3, -0.3) for *run, _, _ in runs]
    ax = plot_benchmark(pd.DataFrame([*ours, *theirs], columns=columns))
    expected = "forest: highest on 2 of 3 runs, ahead by more than the paired interval on 1"
    assert ax.get_title(loc="left").replace("\n", " ").endswith(expected)
    bold = {cell.get_text().split("\n")[0] for cell in ax.texts if cell.get_weight() == "bold"}
    assert bold == {"+.30", "+.20"}  # +.10 is never the highest
    plt.close(ax.figure)


@pytest.mark.parametrize(("lacking", "told"), [(10, False), (100, True)])
def test_who_lacks_most_outcomes_is_told_where_the_cause_is_named(lacking: int, told: bool) -> None:
    head = {"split": 0.7, "repeats": 1, "n_train": 140, "n_eval": 60, "table": "mine.csv", "providers": 3}
    line = next(one for one in report_lines(head | {"n_eval_incomplete": lacking}) if "lack an outcome" in one)
    assert ("`routelab recommend` names them" in line) is told
