"""Stage ``drift``: policies learn online while real providers change their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from routelab import plots, tracking
from routelab.benchmark.harness import read_table
from routelab.benchmark.replay_report import parts, report_of
from routelab.benchmark.replays import Plan, run_plans
from routelab.drift import DriftMonitor
from routelab.evaluation.scenarios import build
from routelab.evaluation.split import cut_at_date
from routelab.params import Params
from routelab.stages.common import drawn, guarded, reports, write_bytes, write_json
from routelab.stages.replays import curves_of, log_replays, shown


def drift(params: Params) -> None:
    """Replay the change of versions in ``drift.table``, quality alone; write report and figure, log to MLflow."""
    chosen, name = params.drift, Path(params.drift.table).stem
    train, held, _ = parts(*cut_at_date(read_table(chosen.table)), params.seed)
    tracking.check_store()
    settings = {"task": chosen.task}
    plans = [Plan("drift", policy, settings=settings, monitor=DriftMonitor) for policy in chosen.policies]
    done = run_plans(plans, train, held, seeds=chosen.seeds, seed=params.seed)
    told = [report_of(plan, runs, name) for plan, runs in zip(plans, done, strict=True)]
    curves = curves_of(plans, done)
    phases = build("drift", train, held, np.random.default_rng(params.seed), **settings).phases
    shares = {each["policy"]: share_of_informed(each) for each in told}
    first = {policy: next(iter(share.values())) for policy, share in shares.items()}
    best = max(first, key=first.__getitem__)
    title = f"{name}: providers change overnight; {best} soon earns {first[best]:.0%} of who knew the date"
    figure = drawn(plots.plot_adaptation(curves, phases, title=title))
    report = {"seeds": chosen.seeds, "task": chosen.task, "share_of_informed": shares, "runs": shown(told)}
    write_json(reports(name) / "drift.json", report)
    write_bytes(reports(name) / "drift.png", figure)
    log_replays(name, params.seed, told, curves, {"drift.png": figure})


def share_of_informed(report: dict[str, Any]) -> dict[str, float]:
    """Mean reward of each phase, as a share of what the provider that is best after the change would earn."""
    return {phase["name"]: phase["reward"]["mean"] / phase["best_static"]["mean"] for phase in report["phases"]}


if __name__ == "__main__":
    guarded(drift)
