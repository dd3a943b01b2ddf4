"""Stage ``controls``: what the forest captures where there is nothing to learn must be nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab import tracking
from routelab.arrays import Floats
from routelab.evaluation.bootstrap import Interval
from routelab.evaluation.crossfit import Curve, cross_fit
from routelab.evaluation.curves import complete_rows, policy_curve
from routelab.evaluation.split import Split
from routelab.params import Params
from routelab.policies import ForestPolicy, load_policy
from routelab.policies.objective import cost_weight_sweep
from routelab.stages.common import models, progress, read_splits, reports, stage, write_json


def summary(intervals: list[Interval]) -> dict[str, Any]:
    """Mean hull gap captured with its standard error, in how many shuffles the 95 % interval excludes 0, all of them.

    >>> found = summary([Interval(0.02, 0.01, 0.03), Interval(-0.04, -0.1, 0.02)])
    >>> found["excluding_zero"], round(found["standard_error"], 3)
    (1, 0.03)
    """
    estimates = np.array([each.estimate for each in intervals])
    return {
        "mean": float(estimates.mean()),
        "standard_error": float(estimates.std(ddof=1) / np.sqrt(estimates.size)),
        "excluding_zero": sum(each.low > 0.0 or each.high < 0.0 for each in intervals),
        "intervals": [each.as_dict() for each in intervals],
    }


def captured(curves: list[Curve], quality: Floats, cost: Floats, sweep: Floats, params: Params) -> list[Interval]:
    """Hull gap captured by each of ``curves`` on the same prompts, of which outcomes (n, k) are known."""
    resamples = params.sized(params.controls.resamples)
    rng, partitions = np.random.default_rng(params.seed), params.evaluation.partitions
    named = {str(place): curve for place, curve in enumerate(curves)}
    fitted = cross_fit(named, quality, cost, rng, resamples, partitions, cost_weights=sweep)
    return [fitted.hull_gap_captured(name) for name in named]


def of_strangers(
    train: Split, held: Split, settings: Mapping[str, Any], order: NDArray[np.intp], params: Params
) -> Interval:
    """Hull gap captured where each prompt of either side has the outcomes of another, after ``order`` (both,)."""
    sides = np.split(order, [len(train.X)])
    outcomes = [np.concatenate(pair) for pair in ((train.quality, held.quality), (train.cost, held.cost))]
    (quality, cost), (held_quality, held_cost) = ([matrix[rows] for matrix in outcomes] for rows in sides)
    sweep = cost_weight_sweep(cost, params.evaluation.settings)
    blind = ForestPolicy(**settings).fit(train.X, quality, cost, providers=train.providers)
    known = complete_rows(held_quality, held_cost)
    scored = held.X[known], held_quality[known], held_cost[known]
    return captured([policy_curve("blind", blind, *scored, sweep).outcomes], *scored[1:], sweep, params)[0]


def controls(source: str, params: Params) -> None:
    """Hull gap captured where nothing, or the wrong thing, was there to learn; nobody should find any.

    - ``outcomes`` shuffled against the prompts of the whole table, then a fit on the training side: the truth is about
      0, in each shuffle for another reason, and an interval excludes 0 by chance only. At most ``controls.prompts``
      prompts train.
    - ``features`` of the evaluation prompts shuffled, the forest as trained: 0 or below.
    """
    train, everything = read_splits(source)
    held = everything.complete(f"{source}, evaluation split")
    fitted = load_policy(models(source) / "forest")
    tracking.check_store()
    rng = np.random.default_rng(params.seed)
    shuffles = range(params.sized(params.controls.shuffles))
    settings = params.forest.model_dump() | {"seed": params.seed}
    some = rng.permutation(len(train.X)) < params.sized(params.controls.prompts)
    few = train.rows(some)
    orders = [rng.permutation(len(few.X) + len(everything.X)) for _ in shuffles]
    sweep = cost_weight_sweep(train.cost, params.evaluation.settings)
    others = [rng.permutation(len(held.X)) for _ in shuffles]
    curves = [policy_curve("", fitted, held.X[order], held.quality, held.cost, sweep).outcomes for order in others]
    report = {
        "outcomes": summary(
            [of_strangers(few, everything, settings, order, params) for order in progress(orders, "shuffles")]
        ),
        "features": summary(captured(curves, held.quality, held.cost, sweep, params)),
    }
    counts = {"table": source, "shuffles": len(shuffles), "n_train": len(few.X), "n_eval": len(held.X)}
    write_json(reports(source) / "controls.json", counts | report)
    with tracking.run("controls", source, "forest", params.seed, params.controls.model_dump()):
        for name, found in report.items():
            tracking.log_metrics({f"{name}/{key}": found[key] for key in ("mean", "standard_error", "excluding_zero")})
        tracking.log_files(reports(source) / "controls.json")
    told = ", ".join(
        f"{found['mean']:+.3f} ± {2 * found['standard_error']:.3f} ({name})" for name, found in report.items()
    )
    print(f"{source}: hull gap captured where nothing is to be learned: {told}")


if __name__ == "__main__":
    stage(controls)
