"""Stage ``evaluate``: every policy on prompts that none of them saw, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from routelab import tracking
from routelab.benchmark.runs import Run, run_policy, why_left_out
from routelab.benchmark.scores import Trial, score
from routelab.evaluation.bootstrap import bootstrap_mean
from routelab.evaluation.crossfit import cross_fit
from routelab.evaluation.frontier import Candidates
from routelab.params import Params
from routelab.policies import POLICIES, load_policy
from routelab.policies.objective import cost_weight_sweep
from routelab.stages.common import models, progress, read_curve, read_splits, reports, stage, write_bytes, write_json

TRAINED = ("forest", "forest-classifier", "epsilon-greedy", "thompson")


def _point(run: Run, params: Params) -> dict[str, Any]:
    """Mean quality and cost where quality alone counts, with intervals over prompts: one point per run."""
    setting, resamples = int(run.cost_weights.argmin()), params.sized(params.evaluation.resamples)
    outcomes = {"quality": run.outcomes.quality, "cost_usd": run.outcomes.cost}
    rng = np.random.default_rng(params.seed)
    return {name: bootstrap_mean(each[:, setting], resamples, rng).as_dict() for name, each in outcomes.items()}


def _finding(source: str, name: str, scores: dict[str, Any]) -> str:
    """A run's description: what was found, for people."""
    gap = scores["hull_gap_captured"]
    if gap["estimate"] is None:
        return f"**{name}** on {source}: no policy could do better than a mixture of fixed providers."
    return (
        f"**{name}** captures **{gap['estimate']:.2f}** [{gap['low']:.2f}, {gap['high']:.2f}] of what an oracle gains "
        f"on {source} over the best mixture of fixed providers (95 % interval over prompts that it did not see)."
    )


def _said(source: str, report: dict[str, Any]) -> str:
    """One line for who runs the stage."""
    gaps = {name: scores["hull_gap_captured"] for name, scores in report["policies"].items() if name != "oracle"}
    known = {name: gap for name, gap in gaps.items() if gap["estimate"] is not None}
    if not known:
        return f"{source}: {len(gaps)} policies on {report['n_eval']} prompts; there was no gap to capture"
    best = max(known, key=lambda name: known[name]["estimate"])
    gap = known[best]
    told = f"{gap['estimate']:.2f} [{gap['low']:.2f}, {gap['high']:.2f}]"
    return f"{source}: {len(gaps)} policies on {report['n_eval']} prompts; {best} captures most of the hull gap, {told}"


def evaluate(source: str, params: Params) -> None:
    """Score the trained policies, and opponents fitted here, on the evaluation split."""
    train, everything = read_splits(source)
    held = everything.complete(f"{source}, evaluation split")
    trained = {name: read_curve(models(source) / f"{name}.npz", held) for name in TRAINED}
    forest = load_policy(models(source) / "forest")
    tracking.check_store()
    settings = params.evaluation.settings
    runs: dict[str, Run] = {}
    left_out: dict[str, str] = {}
    for name in progress(POLICIES, "policies"):
        reason = why_left_out(name, len(train.providers), len(train.X) + len(everything.X))
        if reason is not None:
            left_out[name] = reason
        elif name in trained:
            runs[name] = Run.of(trained[name], forest if name == "forest" else None, held)
        else:
            runs[name] = run_policy(name, train, held, params.seed, settings)
    fitted = cross_fit(
        {name: run.outcomes for name, run in runs.items()},
        held.quality,
        held.cost,
        np.random.default_rng(params.seed),
        params.sized(params.evaluation.resamples),
        params.evaluation.partitions,
        cost_weights=cost_weight_sweep(train.cost, settings),
    )
    counts = {
        "table": source,
        "n_train": len(train.X),
        "n_eval": len(held.X),
        "n_eval_incomplete": len(everything.X) - len(held.X),
        "providers": len(held.providers),
    }
    report: dict[str, Any] = counts | score([Trial(train, held, runs, fitted)]) | {"left_out": left_out}
    points = [
        pd.DataFrame({"policy": name, "lambda": run.cost_weights, "cost_usd": cost, "quality": quality})
        for name, run in runs.items()
        for cost, quality in [run.points.T]
    ]
    lines = pd.concat(points).to_csv(index=False, float_format="%.9g")
    write_bytes(reports(source) / "curves.csv", lines.encode())
    settled = Candidates.of({name: (run.cost_weights, run.outcomes) for name, run in runs.items()})
    settled.write(reports(source) / "outcomes.npz")
    write_json(reports(source) / "evaluation.json", report)
    for name, scores in report["policies"].items():
        with tracking.run("evaluate", source, name, params.seed, params.evaluation.model_dump()):
            tracking.log_metrics(tracking.named_scores(scores | _point(runs[name], params)))
            tracking.log_files(reports(source) / "evaluation.json")
            tracking.log_outcomes(runs[name].outcomes, held.quality, held.cost, cost_weight_sweep(train.cost, settings))
            tracking.describe(_finding(source, name, scores))
    print(_said(source, report))


if __name__ == "__main__":
    stage(evaluate)
