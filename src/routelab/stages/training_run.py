"""What both training stages log of a policy: data, curve, figures and the saved model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from routelab import tracking
from routelab.evaluation.curves import PolicyCurve
from routelab.features import RequestFeaturizer
from routelab.policies.base import Floats
from routelab.stages.common import Split, features, models, point_metrics


def request_example(source: str) -> pd.DataFrame:
    """Three requests of our own making, for a model's signature; own features of the table are 0.

    The first leaves out what a caller may leave out, so that the signature takes these columns as optional.

    Raises:
        RoutelabError: the featurizer of ``source`` is missing or damaged.
    """
    featurizer = RequestFeaturizer.load(features(source) / "featurizer")
    rows: dict[str, Any] = {
        "estimated_complexity": [None, 0.2, 0.9],
        "requires_reasoning": [None, False, True],
        "time_of_day": [None, 13.0, 21.0],
        "user_tier": [None, "free", "premium"],
    }
    if featurizer.has_text_:
        rows["prompt"] = ["Translate 'cheese' into French.", "Why is the sky blue?", "Prove that 7 is prime."]
    return pd.DataFrame(rows | {f"x_{name}": [0.0, 0.0, 0.0] for name in featurizer.own_names_})


def log_training_run(
    stage: str,
    source: str,
    curve: PolicyCurve,
    splits: tuple[Split, Split],
    example: pd.DataFrame,
    *,
    seed: int,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    series: Mapping[str, Floats] | None = None,
    figures: Mapping[str, bytes],
) -> None:
    """Log one flat MLflow run of the policy ``curve.name`` and its model at ``data/models/<source>/<policy>``.

    Args:
        stage: that trained it.
        source: of the data.
        curve: of the policy on the evaluation split; logged per λ and per task.
        splits: the prompts that trained, and those that evaluate.
        example: requests for the model's signature.
        seed: of the training.
        params: settings of the policy.
        metrics: single numbers.
        series: further numbers per step.
        figures: file name → PNG.
    """
    with tracking.run(stage, source, curve.name, seed, params):
        for split, context in zip(splits, ("training", "evaluation"), strict=True):
            tracking.log_arrays(split.X, {"quality": split.quality, "cost_usd": split.cost}, source, context)
        tracking.log_metrics(metrics, point_metrics(curve, splits[1].tasks) | dict(series or {}))
        with tempfile.TemporaryDirectory() as folder:
            for name, png in figures.items():
                (Path(folder) / name).write_bytes(png)
                tracking.log_files(Path(folder) / name)
        tracking.log_policy(models(source) / curve.name, features(source) / "featurizer", example)
