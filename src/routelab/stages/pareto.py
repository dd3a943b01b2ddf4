"""Stage ``pareto``: which provider or policy setting is worth its cost, as a table and as figures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from routelab import plots, tracking
from routelab.errors import RoutelabError
from routelab.evaluation.bootstrap import resample_weights
from routelab.evaluation.curves import PolicyCurve
from routelab.params import Params
from routelab.pareto import hypervolume, pareto_mask
from routelab.policies.base import Floats
from routelab.stages.common import (
    Split,
    drawn,
    models,
    read_curve,
    read_splits,
    reports,
    stage,
    write_bytes,
    write_json,
    written,
)

_DRAWN = ("forest", "forest-classifier", "epsilon-greedy", "rule", "random-mix", "oracle")


def quality_band(curve: PolicyCurve, resamples: int, rng: np.random.Generator) -> Floats:
    """Pointwise 95 % bootstrap band (s, 2) of the mean quality under each setting."""
    quality = curve.outcomes.quality
    means = np.vstack([weights @ quality for weights in resample_weights(len(quality), resamples, rng)])
    return np.percentile(means / len(quality), [2.5, 97.5], axis=0).T


def frontier_of(points: pd.DataFrame, held: Split) -> pd.DataFrame:
    """Single providers and policy settings as rows, with ``on_frontier``; without the oracle, which nobody can buy."""
    singles = pd.DataFrame(
        {
            "policy": [f"provider {name}" for name in held.providers],
            "cost_usd": held.cost.mean(axis=0),
            "quality": held.quality.mean(axis=0),
        }
    )
    every = pd.concat([singles, points[points["policy"] != "oracle"]], ignore_index=True)
    every["on_frontier"] = pareto_mask(every[["cost_usd", "quality"]].to_numpy())
    return every


def read_evaluation(source: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """The report of stage ``evaluate``, and its curves with columns policy, lambda, cost_usd, quality.

    Raises:
        RoutelabError: a file is missing or damaged.
    """
    path = written(reports(source) / "evaluation.json")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        scored = {name: scores["hull_gap_captured"]["low"] for name, scores in report["policies"].items()}
        path = written(reports(source) / "curves.csv")
        points = pd.read_csv(path)[["policy", "lambda", "cost_usd", "quality"]]
        if set(points["policy"]) != set(scored) or points.isna().any(axis=None):
            raise ValueError("it ends too early")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, RoutelabError):
            raise
        told = " ".join(str(error).split())
        raise RoutelabError(f"{path} is damaged ({told}); run `dvc repro -f evaluate@{source}`") from None
    return report, points


def _title(source: str, report: dict[str, Any]) -> str:
    gap = report["policies"]["forest"]["hull_gap_captured"]
    verdict = "beats" if gap["low"] > 0.0 else "does not clearly beat"
    return f"{source}: the forest {verdict} the best mixture of fixed providers"


def pareto(source: str, params: Params) -> None:
    """Mark the frontier among providers and policies, and draw it."""
    _, everything = read_splits(source)
    held = everything.complete(f"{source}, evaluation split")
    report, points = read_evaluation(source)
    forest = read_curve(models(source) / "forest.npz", held)
    tracking.check_store()
    every = frontier_of(points, held)
    reference = np.array([every["cost_usd"].max(), 0.0])
    members = every[every["on_frontier"]]
    summary = {
        "points": len(every),
        "on_frontier": len(members),
        "hypervolume": {
            name: hypervolume(group[["cost_usd", "quality"]].to_numpy(), reference) / reference[0]
            for name, group in [("providers", every[: len(held.providers)]), ("all", every)]
        },
        "share_of_forest": float((members["policy"] == "forest").mean()),
    }
    resamples = params.sized(params.evaluation.resamples)
    band = quality_band(forest, resamples, np.random.default_rng(params.seed))
    figure = plots.plot_frontier(
        {name: points.loc[points["policy"] == name, ["cost_usd", "quality"]].to_numpy() for name in _DRAWN},
        dict(zip(held.providers, zip(held.cost.mean(axis=0), held.quality.mean(axis=0), strict=True), strict=True)),
        captured={
            name: tuple(report["policies"][name]["hull_gap_captured"].values()) for name in _DRAWN if name != "oracle"
        },
        band=("forest", band),
        title=_title(source, report),
    )
    shares = plots.plot_shares(
        forest.cost_weights.tolist(),
        forest.shares,
        held.providers,
        title=f"{source}: whom the forest asks as cost weighs more",
    )
    files = {
        "frontier.png": drawn(figure),
        "shares.png": drawn(shares),
        "frontier.csv": every.to_csv(index=False, float_format="%.9g").encode(),
    }
    for name, content in files.items():
        write_bytes(reports(source) / name, content)
    write_json(reports(source) / "pareto.json", summary)
    with tracking.run("pareto", source, "all", params.seed, params.evaluation.model_dump()):
        tracking.log_metrics(tracking.flatten(summary))
        tracking.log_files(*(reports(source) / name for name in files))


if __name__ == "__main__":
    stage(pareto)
