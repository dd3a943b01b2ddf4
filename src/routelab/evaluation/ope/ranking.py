"""Candidate policies ranked from one log, with intervals that hold for all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from routelab.arrays import Floats
from routelab.evaluation.ope.estimators import estimate, has_interval, influence
from routelab.evaluation.ope.intervals import check_resampling, degrees_of_freedom, resampled
from routelab.evaluation.ope.logged import LoggedData
from routelab.evaluation.ope.study import Predictions, Study, parts_of
from routelab.evaluation.ope.targets import Target
from routelab.policies.objective import Objective


def rank(
    log: LoggedData,
    policies: Mapping[str, Target],
    *,
    objective: Objective = Objective(),
    estimator: str = "sndr",
    metric: str | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
    predictions: Predictions | None = None,
    model: Any = None,
    folds: int = 5,
    max_unsupported: float = 0.01,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank policies by the value that they would have had on the requests of a log.

    Values have simultaneous intervals V̂ ± c·se, c the quantile of the largest |V̂* − V̂|/se over all policies in paired
    resamples (max-t: Romano & Wolf, *Exact and Approximate Stepdown Methods for Multiple Hypothesis Testing*, 2005),
    stretched as the bootstrap intervals are. Ranks have simultaneous intervals from the same for all differences, too
    (Mogstad et al., *Inference for Ranks with Applications to Mobility across Neighbourhoods*, 2024). Estimates that
    have no interval in ``evaluate`` have none here, and tell no policy from another.

    Args:
        log: n decisions among k providers.
        policies: fitted policies, or (n, k) probabilities, by name.
        objective: the trade-off that the policies serve.
        estimator: that ranks; of those of ``evaluate``. Of those without a bias, SNDR ranked best in simulations: a
            policy whose weights happen to add up to too much is not put first for that.
        metric: None is the utility where the objective weighs cost or latency, else quality. Less cost and latency
            rank higher.
        level: at which all intervals hold at once, in (0, 1).
        n_resamples: of the bootstrap, ≥ 1.
        predictions: see ``evaluate``; so are the arguments below.
        model: scikit-learn regressor for the predictions.
        folds: of their cross-fitting.
        max_unsupported: share of a policy's choices that the log may lack.
        seed: of folds and resamples.

    Returns:
        The best first: rank, policy, value, low, high, rank_low, rank_high, metric, estimator, ess, warning.

    Raises:
        OffPolicyError: the log does not support a policy, or an argument is unknown.

    >>> rng = np.random.default_rng(0)
    >>> action = rng.integers(2, size=500)
    >>> log = LoggedData(action, rng.random(500) < 0.4 + 0.3 * action, np.full(500, 0.5), ("a", "b"))
    >>> ranked = rank(log, {"a": np.tile([1.0, 0.0], (500, 1)), "b": np.tile([0.0, 1.0], (500, 1))})
    >>> ranked[["policy", "rank_low", "rank_high"]].values.tolist()
    [['b', 1, 1], ['a', 2, 2]]
    """
    check_resampling(level, n_resamples)
    metric = metric or ("utility" if len(parts_of("utility", objective)) > 1 else "quality")
    study = Study.of(
        log,
        policies,
        objective,
        [estimator],
        [metric],
        predictions=predictions,
        model=model,
        folds=folds,
        max_unsupported=max_unsupported,
        seed=seed,
    )
    terms, levels = zip(*(study.terms(name, estimator, metric) for name in study.targets), strict=True)
    sound = np.array([has_interval(estimator, one) for one in levels])
    replicates = resampled(np.stack(terms, axis=1), n_resamples, np.random.default_rng(seed))
    centred = np.column_stack([influence(one) for one in terms])
    values = np.array([float(estimate(one.sum(axis=0))) for one in terms])
    half = _max_t(values, replicates, centred, level)
    half[~sound] = np.nan
    first, second = _pairs(len(values))
    sign = -1.0 if metric in ("cost", "latency") else 1.0
    gaps = sign * (values[first] - values[second])
    spread = centred[:, first] - centred[:, second]
    surely = gaps > _max_t(values[first] - values[second], replicates[:, first] - replicates[:, second], spread, level)
    surely &= sound[first] & sound[second]
    frame = pd.DataFrame(
        {
            "policy": list(study.targets),
            "value": values,
            "low": values - half,
            "high": values + half,
            "rank_low": 1 + np.bincount(second[surely], minlength=len(values)),
            "rank_high": len(values) - np.bincount(first[surely], minlength=len(values)),
            "metric": metric,
            "estimator": estimator,
            "ess": [study.overlaps[name, metric].ess for name in study.targets],
            "warning": [study.warning(name, metric) for name in study.targets],
        }
    )
    frame = frame.iloc[np.argsort(-sign * values, kind="stable")].reset_index(drop=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


def _max_t(values: Floats, replicates: Floats, centred: Floats, level: float) -> Floats:
    """Half-widths (m,) that hold for all m values at once, from replicates (b, m) and influences (g, m), stretched as
    Student's t is over the normal quantile.
    """
    from scipy.special import ndtri, stdtrit

    error = centred.std(axis=0) / np.sqrt(len(centred))
    away = np.divide(abs(replicates - values), error, out=np.zeros(replicates.shape), where=error > 1e-12)
    outside = (1.0 - level) / 2.0
    stretch = stdtrit(np.minimum(degrees_of_freedom(centred), 1e9), outside) / ndtri(outside)
    half: Floats = stretch * error * np.nanquantile(away.max(axis=1, initial=0.0), level)
    return half


def _pairs(m: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Both policies of every ordered pair."""
    first, second = np.nonzero(~np.eye(m, dtype=bool))
    return first, second
