"""The difference of two runs, with intervals where both kept what they did with every prompt."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routelab.errors import RoutelabError
from routelab.tracking.commits import flatten
from routelab.tracking.origin import held_run
from routelab.tracking.store import store_errors
from routelab.tracking.table import plain_name

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run
    from numpy.typing import ArrayLike, NDArray

    from routelab.arrays import Floats
    from routelab.evaluation.bootstrap import Interval
    from routelab.evaluation.crossfit import Curve

_FILE = "outcomes.npz"
_ALIKE = ("provider_quality", "provider_cost", "cost_weights")  # of the prompts, whatever the policy
_RESAMPLES, _PARTITIONS = 1000, 5  # as in params.yaml: evaluation


def named_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """A policy's scores as flat metrics: an interval as ``name``, ``name_low``, ``name_high``; per provider as a path.

    Six significant digits: more than any of them is known to, and a column of the MLflow UI shows them all.

    >>> named_scores({"aiq": 0.5, "gap": {"estimate": 0.25, "low": 0.125, "high": None}, "ece": {"a/b": 0.01}})
    {'aiq': 0.5, 'gap': 0.25, 'gap_low': 0.125, 'ece/a-b': 0.01}
    """
    named = {}
    for name, value in scores.items():
        if not isinstance(value, Mapping):
            named[name] = value
        elif "estimate" in value:
            named |= {plain_name(f"{name}.{part}"): number for part, number in value.items()}
        else:
            named |= {f"{name}/{part.replace('/', '-')}": number for part, number in flatten(value).items()}
    return {name: float(f"{value:.6g}") for name, value in named.items() if isinstance(value, float)}


def log_outcomes(outcomes: Curve, quality: Floats, cost: Floats, cost_weights: Floats) -> None:
    """Keep with the active run what its policy did with every prompt, so that ``compare`` can pair it with another.

    Args:
        outcomes: of the policy, quality and cost (n, s) in expectation.
        quality: (n, k) of the providers.
        cost: (n, k) USD.
        cost_weights: λ of the oracle.
    """
    import mlflow

    from routelab.files import write_arrays

    kept = {"quality": outcomes.quality, "cost": outcomes.cost}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _FILE
        write_arrays(path, **kept, provider_quality=quality, provider_cost=cost, cost_weights=cost_weights)
        mlflow.log_artifact(str(path))


def compare(a: str | Mapping[str, Any], b: str | Mapping[str, Any]) -> pd.DataFrame:
    """What run ``a`` reached less what ``b`` did, metric by metric.

    ``hull_gap_captured`` and ``aiq`` of two runs of the stage ``evaluate`` on the same prompts have 95 % intervals
    from a bootstrap that draws the same prompts for both. No other difference has one, and ``why`` says so: single
    numbers do not tell how they vary together.

    Args:
        a: a run's id, or a row of ``runs()``.
        b: the other one.

    Returns:
        ``metric``, ``a``, ``b``, ``difference``, ``low``, ``high``, and ``why`` there is no interval; those with one
        first.

    Raises:
        RoutelabError: there is no such run, they have no metric in common, or the store cannot be used.
    """
    import pandas as pd

    pair = held_run(a), held_run(b)
    values = [{plain_name(name): value for name, value in run.data.metrics.items()} for run in pair]
    kept = [_kept_outcomes(run) for run in pair]
    why = _why_unpaired(pair, kept)
    paired = {} if why else _paired(*(arrays for arrays in kept if arrays is not None))
    rows = []
    for metric in (name for name in values[0] if name in values[1] and not name.endswith(("_low", "_high"))):
        mine, other = (found[metric] for found in values)
        told = why or ("" if metric in paired else "logged as one number for all prompts")
        interval = paired.get(metric)
        bounds = (interval.low, interval.high) if interval else (None, None)
        rows.append((metric, mine, other, mine - other, *bounds, told))
    if not rows:
        raise RoutelabError(f"{pair[0].info.run_name!r} and {pair[1].info.run_name!r} have no metric in common")
    columns = ["metric", "a", "b", "difference", "low", "high", "why"]
    table = pd.DataFrame(rows, columns=columns).astype({"low": float, "high": float})
    return table.sort_values("low", key=pd.isna, kind="stable", ignore_index=True)


def _kept_outcomes(run: Run) -> dict[str, NDArray[Any]] | None:
    """What ``log_outcomes`` kept with a run, or None."""
    import mlflow

    from routelab.files import read_arrays

    client = mlflow.MlflowClient()
    with store_errors(), tempfile.TemporaryDirectory() as folder:
        if _FILE not in [file.path for file in client.list_artifacts(run.info.run_id)]:
            return None
        return read_arrays(Path(client.download_artifacts(run.info.run_id, _FILE, folder)))


def _why_unpaired(pair: tuple[Run, Run], kept: list[dict[str, NDArray[Any]] | None]) -> str:
    """Why the runs cannot be paired prompt by prompt; empty where they can."""
    import numpy as np

    for run, arrays in zip(pair, kept, strict=True):
        if arrays is None:
            return f"{run.info.run_name} kept no outcomes per prompt"
    first, second = (arrays for arrays in kept if arrays is not None)
    same = all(np.array_equal(first[name], second[name]) for name in _ALIKE)
    return "" if same else "they were scored on other prompts"


def _paired(first: Mapping[str, ArrayLike], second: Mapping[str, ArrayLike]) -> dict[str, Interval]:
    """Differences first − second on the same resamples of the same prompts."""
    import numpy as np

    from routelab.evaluation.bootstrap import percentile_interval
    from routelab.evaluation.crossfit import cross_fit

    curves = {name: (held["quality"], held["cost"]) for name, held in (("a", first), ("b", second))}
    providers = first["provider_quality"], first["provider_cost"]
    rng = np.random.default_rng(0)
    fitted = cross_fit(curves, *providers, rng, _RESAMPLES, _PARTITIONS, cost_weights=first["cost_weights"])
    lead = fitted.aiq["a"] - fitted.aiq["b"]
    found = {"aiq": percentile_interval(lead[0], lead[1:])}
    with suppress(RoutelabError):  # no gap to capture
        found["hull_gap_captured"] = fitted.paired_difference("a", "b")
    return found
