"""Stage ``evaluate``: every policy on prompts that none of them saw, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from routelab import tracking
from routelab.evaluation.crossfit import cross_fit
from routelab.evaluation.curves import PolicyCurve, policy_curve
from routelab.metrics import cost_save, expected_calibration_error, perf_gain
from routelab.params import Params
from routelab.policies import FixedPolicy, MeansPolicy, OraclePolicy, Policy, RandomPolicy, RulePolicy, load_policy
from routelab.policies.base import Floats
from routelab.policies.objective import cost_weight_sweep
from routelab.stages.common import Split, models, read_curve, read_splits, reports, stage, write_bytes, write_json

TRAINED = ("forest", "forest-classifier", "epsilon-greedy", "thompson")


def baseline_curves(train: Split, held: Split, cost_weights: Floats) -> list[PolicyCurve]:
    """Curves of the opponents that need no training of their own, and of the oracle."""
    baselines: dict[str, Policy] = {
        "best-single": FixedPolicy(),
        "train-means": MeansPolicy(),
        "random-mix": RandomPolicy(),
        "rule": RulePolicy(),
    }
    for policy in baselines.values():
        policy.fit(train.X, train.quality, train.cost, providers=train.providers)
    baselines["oracle"] = OraclePolicy().fit(held.X, held.quality, held.cost, providers=held.providers)
    return [
        policy_curve(name, policy, held.X, held.quality, held.cost, cost_weights) for name, policy in baselines.items()
    ]


def _calibration(forest: Policy, held: Split) -> dict[str, float]:
    predicted = forest.predict(held.X).quality
    return {
        name: expected_calibration_error(predicted[:, arm], held.quality[:, arm])
        for arm, name in enumerate(held.providers)
    }


def evaluate(source: str, params: Params) -> None:
    """Score all policies on the evaluation split, cross-fitted, with paired bootstrap intervals."""
    train, everything = read_splits(source)
    held = everything.complete(f"{source}, evaluation split")
    trained = {name: read_curve(models(source) / f"{name}.npz", held) for name in TRAINED}
    forest = load_policy(models(source) / "forest")
    tracking.check_store()
    sweep = cost_weight_sweep(train.cost, params.evaluation.settings)
    curves = {curve.name: curve for curve in baseline_curves(train, held, sweep)}
    curves |= trained
    fitted = cross_fit(
        {name: curve.outcomes for name, curve in curves.items()},
        held.quality,
        held.cost,
        np.random.default_rng(params.seed),
        params.sized(params.evaluation.resamples),
        params.evaluation.partitions,
        cost_weights=sweep,
    )
    single = int(np.nanmean(train.quality, axis=0).argmax())
    best_quality, best_cost = held.quality[:, single].mean(), held.cost[:, single].mean()
    policies: dict[str, dict[str, Any]] = {}
    for name, curve in curves.items():
        cost, quality = curve.points.T
        policies[name] = {
            "aiq": fitted.aiq_interval(name).estimate,
            "hull_gap_captured": fitted.hull_gap_captured(name).as_dict(),
            "perf_gain": perf_gain(quality, best_quality),
            "cost_save": cost_save(cost, quality, best_cost, best_quality),
        }
    policies["forest"]["ece"] = _calibration(forest, held)
    report = {
        "table": source,
        "n_train": len(train.X),
        "n_eval": len(held.X),
        "n_eval_incomplete": len(everything.X) - len(held.X),
        "providers": len(held.providers),
        "single_hull_aiq": fitted.single[0],
        "oracle_aiq": fitted.oracle[0],
        "policies": policies,
    }
    points = [
        pd.DataFrame({"policy": name, "lambda": curve.cost_weights, "cost_usd": cost, "quality": quality})
        for name, curve in curves.items()
        for cost, quality in [curve.points.T]
    ]
    lines = pd.concat(points).to_csv(index=False, float_format="%.9g")
    write_bytes(reports(source) / "curves.csv", lines.encode())
    write_json(reports(source) / "evaluation.json", report)
    for name, scores in policies.items():
        with tracking.run("evaluate", source, name, params.seed, params.evaluation.model_dump()):
            tracking.log_metrics(tracking.flatten(scores))
            tracking.log_files(reports(source) / "evaluation.json")


if __name__ == "__main__":
    stage(evaluate)
