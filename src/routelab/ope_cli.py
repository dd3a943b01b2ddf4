"""What ``routelab ope`` does: reads a log and policies, estimates, ranks, and puts it into lines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from routelab.benchmark.text import aligned
from routelab.errors import OffPolicyError
from routelab.evaluation.ope import LoggedData, LowSampleWarning, evaluate, fixed, propensity_calibration, rank
from routelab.evaluation.ope.evaluating import ALL
from routelab.evaluation.ope.frames import kept
from routelab.evaluation.ope.study import default_metrics
from routelab.evaluation.ope.targets import Target
from routelab.performance_db import PerformanceDB
from routelab.policies import load_policy
from routelab.policies.objective import Objective
from routelab.tables.io import ENDINGS, read_frame

_FORMATS = {"cost": "{:.4g}", "latency": "{:.4g}"}


def read_log(name: str, **only: str | None) -> LoggedData:
    """A log from a database URL, a ``.db`` or ``.sqlite`` file of a router, or a table of decisions.

    ``only`` rows whose columns hold these values are read, None = any.

    Raises:
        OffPolicyError: there is no such file, or what it holds is no log.
    """
    path = Path(name.removeprefix("sqlite:///"))
    if path.suffix in ENDINGS and "://" not in name:
        return LoggedData.from_frame(kept(read_frame(path), **only))
    if name.startswith("sqlite:///") or "://" not in name:
        if not path.is_file():  # which opening would make
            raise OffPolicyError(f"{path}: no such file; give a database (URL or .db), or a {', '.join(ENDINGS)} file")
        name = f"sqlite:///{path}"
    with PerformanceDB(name) as db:
        return LoggedData.from_db(db, **only)


def read_policy(log: LoggedData, name: str) -> Target:
    """A saved policy's folder, or ``fixed:PROVIDER``, ``uniform``, or ``logged``, the policy that made the log.

    Raises:
        RoutelabError: no such provider or policy, or the log does not hold its policy's probabilities.
    """
    if name.startswith("fixed:"):
        return fixed(log, name.removeprefix("fixed:"))
    if name == "uniform":
        return np.full((log.n, log.k), 1.0 / log.k)
    if name == "logged":
        if log.probabilities is None:
            raise OffPolicyError("'logged' needs the columns 'providers' and 'probabilities', which the log lacks")
        return log.probabilities
    return load_policy(name)


def ope_report(
    log: LoggedData, policies: Sequence[str], *, objective: Objective, estimators: Sequence[str] = ALL, seed: int = 0
) -> dict[str, Any]:
    """Estimates of all policies, their ranking, and how the propensities fit the choices; for JSON.

    SNDR ranks where it is among ``estimators``, else the first of them.

    Raises:
        RoutelabError: as ``read_policy`` and ``evaluate``.
    """
    targets = {name: read_policy(log, name) for name in policies}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LowSampleWarning)  # the report says so itself
        estimates = evaluate(log, targets, objective=objective, estimators=estimators or ALL, seed=seed)
        by = "sndr" if "sndr" in estimators or not estimators else estimators[0]
        ranking = rank(log, targets, objective=objective, estimator=by, seed=seed)
    return {
        "decisions": log.n,
        "chosen": dict(zip(log.providers, log.counts.tolist(), strict=True)),
        "cost_weight": objective.cost_weight,
        "metrics": list(default_metrics(log, objective)),
        "estimates": estimates.to_dict("records"),
        "ranking": ranking.to_dict("records"),
        "propensities": propensity_calibration(log).to_dict("records"),
    }


def ope_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report for a terminal: estimates with 95 % intervals or –, what to beware of, and the ranking."""
    chosen = ", ".join(f"{name} {count}" for name, count in report["chosen"].items())
    yield f"{report['decisions']} decisions: {chosen}"
    metrics = report["metrics"]
    rows = [("policy", "estimator", *(f"{metric} [95 % CI]" for metric in metrics))]
    told = {(row["policy"], row["estimator"], row["metric"]): row for row in report["estimates"]}
    for policy, estimator in dict.fromkeys((policy, estimator) for policy, estimator, _ in told):
        cells = (_interval(told[policy, estimator, metric], metric) for metric in metrics)
        rows.append((policy, estimator, *cells))
    yield from aligned(rows)
    for policy, first in {row["policy"]: row for row in report["estimates"]}.items():
        yield (
            f"{policy}: effective sample {first['ess']:.0f}, largest weight {first['max_weight']:.3g}, "
            f"mean weight {first['mean_weight']:.3f}, {first['unsupported']:.2%} unsupported"
        )
        for told_once in dict.fromkeys(row["warning"] for row in report["estimates"] if row["policy"] == policy):
            if told_once:
                yield f"  beware: {told_once}"
    if len(report["ranking"]) > 1:
        first = report["ranking"][0]
        yield f"ranking by {first['metric']} ({first['estimator']}; intervals hold for all policies at once):"
        for row in report["ranking"]:
            yield f"  {row['rank']}. {row['policy']}  {_interval(row, row['metric'])}, {_ranks(row)}"


def _interval(row: Mapping[str, Any], metric: str) -> str:
    if row["low"] != row["low"]:  # NaN, has none
        return f"{_FORMATS.get(metric, '{:.4f}').format(row['value'])} –"
    value, low, high = (_FORMATS.get(metric, "{:.4f}").format(row[name]) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _ranks(row: Mapping[str, Any]) -> str:
    low, high = row["rank_low"], row["rank_high"]
    return f"rank {low}" if low == high else f"ranks {low} to {high}"
