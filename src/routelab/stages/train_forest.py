"""Stage ``train_forest``: the RandomForest router, and its classic variant once per trade-off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from routelab import plots, tracking
from routelab.evaluation.curves import PolicyCurve, complete_rows, policy_curve
from routelab.features import RequestFeaturizer
from routelab.params import Params
from routelab.policies import ForestClassifierPolicy, ForestPolicy, Objective
from routelab.policies.base import Floats
from routelab.policies.forest_classifier import best_labels
from routelab.policies.objective import cost_weight_sweep
from routelab.stages.common import (
    Split,
    collected,
    features,
    models,
    point_metrics,
    read_splits,
    reports,
    stage,
    write_curve,
    write_json,
)
from routelab.tables.table import PerformanceTable


def _labels(split: Split, cost_weights: Floats) -> Floats:
    """Best provider (s, n) of each prompt under each λ."""
    objectives = [Objective(cost_weight=float(weight)) for weight in cost_weights]
    return np.stack([best_labels(split.quality, split.cost, None, objective) for objective in objectives])


def _fit_classifiers(train: Split, params: Params, cost_weights: Floats) -> dict[Objective, ForestClassifierPolicy]:
    fitted = {}
    for weight in cost_weights:
        objective = Objective(cost_weight=float(weight))
        policy = ForestClassifierPolicy(
            objective, params.classifier.n_estimators, params.classifier.min_samples_leaf, seed=params.seed
        )
        fitted[objective] = policy.fit(train.X, train.quality, train.cost, providers=train.providers)
    return fitted


def _example(table: PerformanceTable, featurizer: RequestFeaturizer) -> pd.DataFrame:
    """Three requests for the model's signature; the prompts are ours, the user's own features are the table's."""
    rows: dict[str, Any] = {"user_tier": ["free", "free", "premium"], "time_of_day": [9.0, 13.0, 21.0]}
    if featurizer.has_text_:
        rows["prompt"] = ["Translate 'cheese' into French.", "Why is the sky blue?", "Prove that 7 is prime."]
    for name in featurizer.own_names_:
        rows[f"x_{name}"] = [request.features[name] for request in table.requests()[:3]]
    return pd.DataFrame(rows)


def _errors(policy: ForestPolicy, held: Split) -> dict[str, float]:
    estimates = policy.predict(held.X)
    return {
        "quality_mae": float(np.nanmean(np.abs(estimates.quality - held.quality))),
        "cost_mae_usd": float(np.nanmean(np.abs(estimates.cost - held.cost))),
    }


def _summary(curve: PolicyCurve, held: Split) -> dict[str, float]:
    accuracy = curve.labels_agree(_labels(held, curve.cost_weights))
    return {"best_quality": float(curve.points[:, 1].max()), "accuracy_lambda_0": float(accuracy[0])}


def train_forest(source: str, params: Params) -> None:
    """Fit the forest and the classifiers, save them, and log both to MLflow."""
    train, everything = read_splits(source)
    held = everything.rows(complete_rows(everything.quality, everything.cost))
    sweep = cost_weight_sweep(train.cost, params.evaluation.settings)
    settings = params.forest.model_dump() | {"seed": params.seed}
    forest = ForestPolicy(**settings).fit(train.X, train.quality, train.cost, train.latency, providers=train.providers)
    few = cost_weight_sweep(train.cost, params.classifier.settings)
    classifiers = _fit_classifiers(train, params, few)
    curves = {
        "forest": policy_curve("forest", forest, held.X, held.quality, held.cost, sweep),
        "forest-classifier": policy_curve(
            "forest-classifier", classifiers.__getitem__, held.X, held.quality, held.cost, few
        ),
    }
    report = {name: _summary(curve, held) for name, curve in curves.items()}
    report["forest"] |= _errors(forest, held)

    forest.save(models(source) / "forest")
    for name, curve in curves.items():
        write_curve(models(source) / f"{name}.npz", curve.cost_weights, curve.probabilities)
    write_json(reports(source) / "forest.json", report)
    featurizer = RequestFeaturizer.load(features(source) / "featurizer")
    figure = plots.save_figure(
        plots.plot_importance(featurizer.feature_names_, forest.feature_importances_),
        reports(source) / "importance.png",
    )
    table = PerformanceTable.read(collected(source))
    for name, section in (("forest", params.forest), ("forest-classifier", params.classifier)):
        with tracking.run("train_forest", source, name, params.seed, section.model_dump()):
            tracking.log_table(table, source, "training")
            tracking.log_metrics(report[name], point_metrics(curves[name], held.tasks))
            if name == "forest":
                tracking.log_files(figure)
                tracking.log_policy(models(source) / name, features(source) / "featurizer", _example(table, featurizer))


if __name__ == "__main__":
    stage(train_forest)
