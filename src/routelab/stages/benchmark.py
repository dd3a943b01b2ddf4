"""Stage ``benchmark``: ``routelab evaluate`` on every registered table, as one table and one figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from routelab import tracking
from routelab.plots import plot_benchmark
from routelab.benchmark.harness import evaluate_table, read_table
from routelab.benchmark.published import budget_rewards
from routelab.benchmark.text import report_lines
from routelab.errors import SourceError
from routelab.params import Params
from routelab.params_sections import BenchmarkRun
from routelab.stages.common import DATA, drawn, guarded, write_bytes, write_json
from routelab.tables.table import PerformanceTable

_SAVED = ("perf_gain", "cost_save", "cost_save_1pt", "apgr", "cpt50", "cpt80")
_LISTS = ("curve", "shares")  # long, and in nobody's way in the JSON of `routelab evaluate`


def tables_here(runs: list[BenchmarkRun]) -> tuple[dict[str, PerformanceTable], dict[str, str]]:
    """The tables that can be had, and why the others cannot."""
    here: dict[str, PerformanceTable] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(run.table for run in runs):
        try:
            if Path(name).suffix and not Path(name).exists():
                raise SourceError(f"no file {name}")
            here[name] = read_table(name)
        except SourceError as error:
            missing[name] = str(error)
    return here, missing


def rows_of(report: dict[str, Any]) -> pd.DataFrame:
    """One row per policy of a report: gap captured with its interval, and the single figures."""
    rows = []
    for policy, scores in report["policies"].items():
        gap, other = scores["hull_gap_captured"], scores.get("difference_to_strongest_other", {})
        rows.append(
            {name: report[name] for name in ("table", "split", "repeats", "n_train", "n_eval", "providers")}
            | {"policy": policy, "aiq": scores["aiq"], "gap": gap["estimate"], "low": gap["low"], "high": gap["high"]}
            | {name: scores.get(name) for name in _SAVED}
            | {"ece": np.mean(list(scores["ece"].values())) if scores["ece"] else None}
            | {"strongest_other": other.get("policy")}
            | {f"difference_{name}": other.get(name) for name in ("estimate", "low", "high")}
        )
    return pd.DataFrame(rows)


def benchmark(params: Params) -> None:
    """Evaluate all policies on all tables of ``benchmark.runs``; a table that cannot be had is named, not hidden."""
    runs = params.benchmark.runs
    here, missing = tables_here(runs)
    tracking.check_store()
    reports = []
    for run in runs:
        if run.table in here:
            settings = {"seed": params.seed, "repeats": run.repeats, "resamples": params.benchmark.resamples}
            report = evaluate_table(
                here[run.table],
                Path(run.table).stem,
                policies=params.benchmark.policies,
                partitions=params.evaluation.partitions,
                budgets=list(budget_rewards(run.table)) if run.repeats == 1 else (),
                **settings,
            )
            print(*report_lines(report), "", sep="\n", flush=True)
            reports.append(report)
    if not reports:
        raise SourceError(f"no table of the benchmark can be had: {'; '.join(missing.values())}")
    for name, reason in missing.items():
        print(f"missing: {name}: {reason}")
    rows = pd.concat([rows_of(report) for report in reports], ignore_index=True)
    figure = drawn(plot_benchmark(rows))
    for report in reports:
        for scores in report["policies"].values():
            for name in _LISTS:
                del scores[name]
    folder = DATA / "reports"
    write_json(folder / "benchmark.json", {"missing": [Path(name).stem for name in missing], "runs": reports})
    write_bytes(folder / "benchmark.csv", rows.to_csv(index=False, float_format="%.9g").encode())
    write_bytes(folder / "benchmark.png", figure)
    for report in reports:
        with tracking.run("benchmark", report["table"], "all", params.seed, {"repeats": report["repeats"]}):
            gaps = {name: scores["hull_gap_captured"]["estimate"] for name, scores in report["policies"].items()}
            tracking.log_metrics({f"hull_gap_captured/{name}": gap for name, gap in gaps.items() if gap is not None})
            tracking.log_files(folder / "benchmark.json", folder / "benchmark.png")


if __name__ == "__main__":
    guarded(benchmark)
