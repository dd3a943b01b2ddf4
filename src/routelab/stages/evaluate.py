"""Stage ``evaluate``: every policy on prompts that none of them saw, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from routelab import tracking
from routelab.benchmark.runs import Run, run_policy, why_left_out
from routelab.benchmark.scores import Trial, score
from routelab.evaluation.crossfit import cross_fit
from routelab.evaluation.frontier import Candidates
from routelab.params import Params
from routelab.policies import POLICIES, load_policy
from routelab.policies.objective import cost_weight_sweep
from routelab.stages.common import models, read_curve, read_splits, reports, stage, write_bytes, write_json

TRAINED = ("forest", "forest-classifier", "epsilon-greedy", "thompson")


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
    for name in POLICIES:
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
            flat = tracking.flatten(scores)
            tracking.log_metrics({key: value for key, value in flat.items() if isinstance(value, float)})
            tracking.log_files(reports(source) / "evaluation.json")


if __name__ == "__main__":
    stage(evaluate)
