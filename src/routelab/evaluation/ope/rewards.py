"""Cross-fitted reward models: what each provider would have brought, said by models that did not see the row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats
from routelab.errors import OffPolicyError
from routelab.evaluation.ope.logged import LoggedData

# Fewer outcomes than that of a provider teach its mean only.
_FEWEST = 10
# Penalties tried, of standardised features.
_PENALTIES = np.logspace(-1.0, 5.0, 13)


def predicted_rewards(
    log: LoggedData, metrics: Iterable[str], *, model: Any = None, folds: int = 5, seed: int = 0
) -> dict[str, Floats]:
    """Predictions (n, k) of each metric for each provider, cross-fitted over folds of units.

    One regression per provider, metric and fold, on the decisions that chose the provider. A prediction keeps to the
    range of the outcomes that its model saw. Without features, or with few outcomes, it is their mean; of a provider
    that a fold's complement never saw, the mean of all.

    Cross-fitting: Chernozhukov et al., *Double/Debiased Machine Learning for Treatment and Structural Parameters*,
    2018.

    Args:
        log: n decisions among k providers.
        metrics: of "quality", "cost", "latency".
        model: any scikit-learn regressor; None is a ridge regression whose penalty leave-one-out errors choose.
        folds: ≥ 2.
        seed: of the draw of the folds.

    Raises:
        OffPolicyError: fewer than two folds or units.

    >>> rng = np.random.default_rng(0)
    >>> X, action = rng.random((400, 2)), rng.integers(2, size=400)
    >>> log = LoggedData(action, X[np.arange(400), action], np.full(400, 0.5), ("a", "b"), X=X)
    >>> bool(np.abs(predicted_rewards(log, ["quality"])["quality"] - X).max() < 0.05)
    True
    """
    count = int(log.units.max()) + 1
    if folds < 2 or count < 2:
        raise OffPolicyError(f"cross-fitting {count} units in {folds} folds; give two of each, or more")
    fold = (np.random.default_rng(seed).permutation(count) % folds)[log.units]
    regressor = _default_model() if model is None else model
    return {metric: _cross_fitted(log, log.reward(metric), fold, regressor) for metric in metrics}


def _default_model() -> Any:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))


def _cross_fitted(log: LoggedData, reward: Floats, fold: NDArray[np.intp], model: Any) -> Floats:
    known = ~np.isnan(reward)
    predictions = np.empty((log.n, log.k))
    for held_out in np.unique(fold):
        seen, rows = known & (fold != held_out), fold == held_out
        fallback = float(reward[seen].mean()) if seen.any() else 0.0
        for arm in range(log.k):
            chosen = seen & (log.action == arm)
            predictions[rows, arm] = _predicted(model, log.X[chosen], reward[chosen], log.X[rows], fallback)
    return predictions


def _predicted(model: Any, X: NDArray[Any], y: Floats, at: NDArray[Any], fallback: float) -> Floats | float:
    from sklearn.base import clone

    if not len(y):
        return fallback
    if len(y) < _FEWEST or not X.shape[1] or y.min() == y.max():
        return float(y.mean())
    return np.asarray(clone(model).fit(X, y).predict(at)).clip(y.min(), y.max())
