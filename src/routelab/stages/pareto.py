"""Stage ``pareto``: which provider or policy setting is worth its cost, and how surely, as a table and as figures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from routelab import plots, tracking
from routelab.arrays import Floats
from routelab.errors import RoutelabError
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.frontier import Candidates, curve_band, hull_of, resampled_means
from routelab.params import Params
from routelab.pareto import frontier_shares, hypervolume, pareto_mask
from routelab.stages.common import (
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

_OPPONENTS = 2  # the strongest, drawn beside the forest


def frontier_table(candidates: Candidates, resamples: Curve) -> pd.DataFrame:
    """One row per candidate: means with 95 % intervals, whether on the frontier, and with which probability."""
    columns: dict[str, Any] = {"policy": candidates.names, "lambda": candidates.cost_weights}
    for name, observed, drawn_again in zip(("quality", "cost_usd"), candidates.outcomes, resamples, strict=True):
        columns[name] = observed.mean(axis=0)
        columns[f"{name}_low"], columns[f"{name}_high"] = np.quantile(drawn_again, [0.025, 0.975], axis=0)
    table = pd.DataFrame(columns)
    table["on_frontier"] = pareto_mask(table[["cost_usd", "quality"]].to_numpy())
    return table.assign(on_frontier_probability=frontier_shares(resamples.cost, resamples.quality))


def read_evaluation(source: str, prompts: int) -> tuple[dict[str, Any], Candidates]:
    """The report of stage ``evaluate``, and the settings that it scored on as many ``prompts``.

    Raises:
        RoutelabError: a file is missing or damaged.
    """
    path = written(reports(source) / "evaluation.json")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        scored = {name: scores["hull_gap_captured"]["low"] for name, scores in report["policies"].items()}
        path = written(reports(source) / "outcomes.npz")
        settings = Candidates.read(path)
        if set(settings.names) != set(scored) or len(settings.outcomes.cost) != prompts:
            raise ValueError("it is of other policies or prompts")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, RoutelabError):
            raise
        told = " ".join(str(error).split())
        raise RoutelabError(f"{path} is damaged ({told}); run `dvc repro -f evaluate@{source}`") from None
    return report, settings


def _title(source: str, report: dict[str, Any]) -> str:
    gap = report["policies"]["forest"]["hull_gap_captured"]
    verdict = "beats" if (gap["low"] or 0.0) > 0.0 else "does not clearly beat"
    return f"{source}: the forest {verdict} the best mixture of fixed providers"


def _drawn_policies(report: dict[str, Any]) -> list[str]:
    """The forest, its strongest opponents, what teams start with, and the ceiling."""
    gaps = {name: scores["hull_gap_captured"]["estimate"] for name, scores in report["policies"].items()}
    opponents = sorted(gaps.keys() - {"forest", "oracle", "rule"}, key=lambda name: (-(gaps[name] or 0.0), name))
    return ["forest", *opponents[:_OPPONENTS], "rule", "oracle"]


def _band(points: Floats, means: Curve, of_policy: NDArray[np.bool_]) -> Floats:
    """The 95 % band of a policy's curve, or of its one setting."""
    return curve_band(points[:, 0], Curve(means.quality[:, of_policy], means.cost[:, of_policy]))


def pareto(source: str, params: Params) -> None:
    """Mark the frontier among providers and policies, and draw it."""
    _, everything = read_splits(source)
    held = everything.complete(f"{source}, evaluation split")
    report, settings = read_evaluation(source, len(held.X))
    forest = read_curve(models(source) / "forest.npz", held)
    tracking.check_store()
    # without the oracle, which nobody can buy
    bought = settings.only(settings.names != "oracle")
    candidates = bought.and_providers([f"provider {name}" for name in held.providers], held.quality, held.cost)
    rng = np.random.default_rng(params.seed)
    means = resampled_means(candidates.outcomes, params.sized(params.evaluation.resamples), rng)
    table = frontier_table(candidates, means)
    k, by_name = len(held.providers), table.set_index("policy")
    singles, reference = Curve(means.quality[:, :k], means.cost[:, :k]), np.array([table["cost_usd"].max(), 0.0])
    members = table[table["on_frontier"]]
    chances = {name: by_name.loc[[name], "on_frontier_probability"].to_numpy() for name in by_name.index.unique()}
    chances |= {name: chances[f"provider {name}"] for name in held.providers}
    alone = frontier_shares(singles.cost, singles.quality)
    summary = {
        "points": len(table),
        "on_frontier": len(members),
        "on_frontier_probability": {
            name: {"among_providers": alone[arm], "among_all": chances[name][0]}
            for arm, name in enumerate(held.providers)
        },
        "hypervolume": {
            name: hypervolume(group[["cost_usd", "quality"]].to_numpy(), reference) / reference[0]
            for name, group in [("providers", table[:k]), ("all", table)]
        },
        "share_of_forest": float((members["policy"] == "forest").mean()),
    }
    shown = _drawn_policies(report)
    plane = {name: settings.only(settings.names == name).points for name in shown}
    bands = {name: _band(plane[name], means, candidates.names == name) for name in shown if name != "oracle"}
    figure = plots.plot_frontier(
        plane,
        dict(zip(held.providers, zip(held.cost.mean(axis=0), held.quality.mean(axis=0), strict=True), strict=True)),
        captured={
            name: tuple(report["policies"][name]["hull_gap_captured"].values()) for name in shown if name != "oracle"
        },
        bands={plots.HULL: curve_band(held.cost.mean(axis=0), hull_of(singles))} | bands,
        chances=chances,
        title=_title(source, report),
    )
    shares = plots.plot_shares(
        forest.cost_weights.tolist(),
        forest.shares,
        held.providers,
        n=len(held.X),
        title=f"{source}: whom the forest asks as cost weighs more",
    )
    files = {
        "frontier.png": drawn(figure),
        "shares.png": drawn(shares),
        "frontier.csv": table.to_csv(index=False, float_format="%.9g").encode(),
    }
    for name, content in files.items():
        write_bytes(reports(source) / name, content)
    write_json(reports(source) / "pareto.json", summary)
    with tracking.run("pareto", source, "all", params.seed, params.evaluation.model_dump()):
        tracking.log_metrics(tracking.flatten(summary))
        tracking.log_files(*(reports(source) / name for name in files))
    print(f"{_title(source, report)}; {len(members)} of {len(table)} choices are on the frontier")


if __name__ == "__main__":
    stage(pareto)
