"""Values of policies from a log, by several estimators side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from routelab.arrays import Floats
from routelab.errors import OffPolicyError
from routelab.evaluation.bootstrap import Interval
from routelab.evaluation.ope.estimators import ESTIMATORS, MODEL_BASED, TUNED, Terms, has_interval
from routelab.evaluation.ope.intervals import (
    bernstein_interval,
    bootstrap_interval,
    check_resampling,
    contribution_width,
    resampled,
)
from routelab.evaluation.ope.logged import LoggedData
from routelab.evaluation.ope.study import Predictions, Study, default_metrics, parts_of
from routelab.evaluation.ope.targets import Target
from routelab.policies.objective import Objective

ALL = (*ESTIMATORS, *TUNED)


def evaluate(
    log: LoggedData,
    policies: Mapping[str, Target],
    *,
    objective: Objective = Objective(),
    estimators: Sequence[str] = ALL,
    metrics: Sequence[str] | None = None,
    interval: Literal["bootstrap", "bernstein"] = "bootstrap",
    level: float = 0.95,
    n_resamples: int = 1000,
    predictions: Predictions | None = None,
    model: Any = None,
    folds: int = 5,
    max_unsupported: float = 0.01,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean outcomes that policies would have had on the requests of a log.

    All estimators, metrics and policies see the same resamples of units. The direct method has no interval, nor has a
    tuned estimator whose level, chosen by SLOPE, is finite: their biases, and the errors of the reward model on which
    they lean, would be in none. Where the level is ∞ the interval is that of IPS or DR, as if nothing had been chosen.

    Args:
        log: n decisions among k providers.
        policies: fitted policies, or (n, k) probabilities, by name.
        objective: the trade-off that the policies serve; where it weighs cost or latency, the utility is a metric too.
        estimators: of "ips", "snips", "dm", "dr", "sndr", "clipped-ips", "switch-dr", "dros".
        metrics: of "quality", "cost" (USD), "latency" (seconds) and "utility"; None takes all that are known.
        interval: "bootstrap" over units; "bernstein" holds at every sample size, and is several times as wide. It
            takes the largest cost and latency of the log for the highest possible.
        level: of the intervals, in (0, 1).
        n_resamples: of the bootstrap, ≥ 1.
        predictions: (n, k) predicted outcomes by metric, of models that did not see the row; None fits some.
        model: scikit-learn regressor for them, see ``predicted_rewards``.
        folds: of their cross-fitting.
        max_unsupported: share of a policy's choices that the log may lack; beyond it there is no answer.
        seed: of folds and resamples.

    Outcomes that are missing are taken as missing by chance among the decisions of a provider; the warning says where
    providers differ in that by more than chance. Weights of the rest, and what is told of them, make up for it.

    Returns:
        A row per policy, metric and estimator: policy, metric, estimator, value, low, high (NaN = no interval), n
        (decisions with that outcome), ess, max_weight, mean_weight, unsupported, tuned (the chosen level, ∞ = changes
        nothing, NaN = has none), warning.

    Raises:
        OffPolicyError: the log does not support a policy, or an argument is unknown.

    Warns:
        LowSampleWarning: few decisions carry the estimates of a policy.

    >>> rng = np.random.default_rng(0)
    >>> action = rng.integers(2, size=500)
    >>> log = LoggedData(action, 0.4 + 0.2 * action, np.full(500, 0.5), ("a", "b"))
    >>> frame = evaluate(log, {"always b": np.tile([0.0, 1.0], (500, 1))}, estimators=["snips", "dr"])
    >>> frame[["metric", "estimator", "value"]].round(3).values.tolist()
    [['quality', 'snips', 0.6], ['quality', 'dr', 0.6]]
    """
    if interval not in ("bootstrap", "bernstein"):
        raise OffPolicyError(f"interval {interval!r} is unknown; give 'bootstrap' or 'bernstein'")
    check_resampling(level, n_resamples)
    asked = default_metrics(log, objective) if metrics is None else tuple(metrics)
    study = Study.of(
        log,
        policies,
        objective,
        estimators,
        asked,
        predictions=predictions,
        model=model,
        folds=folds,
        max_unsupported=max_unsupported,
        seed=seed,
    )
    rows = []
    for policy in study.targets:
        for metric in asked:
            met, n = study.overlaps[policy, metric], int((~np.isnan(log.reward(metric, objective))).sum())
            about = {"n": n, "ess": met.ess, "max_weight": met.max_weight, "mean_weight": met.mean_weight}
            about |= {"unsupported": met.unsupported}
            told = {"warning": study.warning(policy, metric)}
            terms, levels = zip(*(study.terms(policy, name, metric) for name in estimators), strict=True)
            if interval == "bootstrap":
                intervals = _bootstrapped(terms, level, n_resamples, seed)
            else:
                span = _span(log, metric, objective)
                widths = [
                    _width(name, one, span, met.largest_weight) for name, one in zip(estimators, terms, strict=True)
                ]
                intervals = [bernstein_interval(one, width, level) for one, width in zip(terms, widths, strict=True)]
            for name, found, tuned in zip(estimators, intervals, levels, strict=True):
                head = {"policy": policy, "metric": metric, "estimator": name}
                low, high = (found.low, found.high) if has_interval(name, tuned) else (np.nan, np.nan)
                value = {"value": found.estimate, "low": low, "high": high}
                rows.append(head | value | about | {"tuned": np.nan if tuned is None else tuned} | told)
    return pd.DataFrame(rows)


def _bootstrapped(terms: Sequence[Terms], level: float, n_resamples: int, seed: int) -> list[Interval]:
    replicates = resampled(np.stack(terms, axis=1), n_resamples, np.random.default_rng(seed))
    return [bootstrap_interval(one, drawn, level) for one, drawn in zip(terms, replicates.T, strict=True)]


def _width(estimator: str, terms: Terms, span: float, largest_weight: float) -> float:
    model = estimator in MODEL_BASED
    return contribution_width(terms, span, largest_weight, model=model)


def _span(log: LoggedData, metric: str, objective: Objective) -> float:
    """The range of a metric: 1 of quality, the largest observed of cost and latency, their weighted sum of utility."""
    weights = {"quality": 1.0, "cost": objective.cost_weight, "latency": objective.latency_weight}
    spans = {name: 1.0 if name == "quality" else _largest(getattr(log, name)) for name in parts_of(metric, objective)}
    return sum(weights[name] * span for name, span in spans.items()) if metric == "utility" else spans[metric]


def _largest(values: Floats) -> float:
    return float(np.nanmax(values))
