"""Stage ``train_forest``: the RandomForest router, and its classic variant once per trade-off."""

from __future__ import annotations

import numpy as np

from routelab import plots, tracking
from routelab.evaluation.curves import PolicyCurve, policy_curve
from routelab.features import RequestFeaturizer
from routelab.params import Params
from routelab.policies import ForestClassifierPolicy, ForestPolicy, Objective
from routelab.policies.base import Floats
from routelab.policies.forest_classifier import best_labels
from routelab.policies.objective import cost_weight_sweep
from routelab.stages.common import (
    Split,
    drawn,
    features,
    models,
    progress,
    read_splits,
    reports,
    stage,
    write_bytes,
    write_curve,
    write_json,
)
from routelab.stages.training_run import log_training_run, request_example


def _labels(split: Split, cost_weights: Floats) -> Floats:
    """Best provider (s, n) of each prompt under each λ."""
    objectives = [Objective(cost_weight=float(weight)) for weight in cost_weights]
    return np.stack([best_labels(split.quality, split.cost, None, objective) for objective in objectives])


def _fit_classifiers(train: Split, params: Params, cost_weights: Floats) -> dict[Objective, ForestClassifierPolicy]:
    fitted = {}
    for weight in progress(cost_weights, "classifiers"):
        objective = Objective(cost_weight=float(weight))
        policy = ForestClassifierPolicy(
            objective, params.classifier.n_estimators, params.classifier.min_samples_leaf, seed=params.seed
        )
        fitted[objective] = policy.fit(train.X, train.quality, train.cost, providers=train.providers)
    return fitted


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
    held = everything.complete(f"{source}, evaluation split")
    names = RequestFeaturizer.load(features(source) / "featurizer").feature_names_
    example = request_example(source)
    tracking.check_store()
    sweep = cost_weight_sweep(train.cost, params.evaluation.settings)
    settings = params.forest.model_dump() | {"seed": params.seed}
    forest = ForestPolicy(**settings).fit(train.X, train.quality, train.cost, train.latency, providers=train.providers)
    few = cost_weight_sweep(train.cost, params.classifier.settings)
    classifiers = _fit_classifiers(train, params, few)
    curves = [
        policy_curve("forest", forest, held.X, held.quality, held.cost, sweep),
        policy_curve("forest-classifier", classifiers.__getitem__, held.X, held.quality, held.cost, few),
    ]
    report = {curve.name: _summary(curve, held) for curve in curves}
    report["forest"] |= _errors(forest, held)
    saved = {"forest": forest, "forest-classifier": classifiers[Objective(cost_weight=float(few[len(few) // 2]))]}
    title = f"{source}: whom the classifier asks as cost weighs more"
    by_tree = np.array([tree.feature_importances_ for tree in forest.forest_.estimators_])
    shares = plots.plot_shares(few.tolist(), curves[1].shares, held.providers, n=len(held.X), title=title)
    figures = {
        "forest": {"importance.png": drawn(plots.plot_importance(names, by_tree))},
        "forest-classifier": {"shares.png": drawn(shares)},
    }

    for curve in curves:
        saved[curve.name].save(models(source) / curve.name)
        write_curve(models(source) / f"{curve.name}.npz", curve.cost_weights, curve.probabilities)
    write_json(reports(source) / "forest.json", report)
    write_bytes(reports(source) / "importance.png", figures["forest"]["importance.png"])
    for curve, section in zip(curves, (params.forest, params.classifier), strict=True):
        log_training_run(
            "train_forest",
            source,
            curve,
            (train, held),
            example,
            seed=params.seed,
            params=section.model_dump(),
            metrics=report[curve.name],
            figures=figures[curve.name],
        )
    print(
        f"{source}: forest of {params.forest.n_estimators} trees on {len(train.X)} prompts, mean absolute error "
        f"{report['forest']['quality_mae']:.3f} of quality; {len(few)} classifiers"
    )


if __name__ == "__main__":
    stage(train_forest)
