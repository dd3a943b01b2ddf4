"""RidgePolicy: one linear regression per provider and outcome."""

from __future__ import annotations

import numpy as np

from routelab.bundle import Bundle
from routelab.policies.base import Estimates, Features, Floats, Policy
from routelab.policies.baselines.scaling import column_groups, estimates_of, targets_of
from routelab.policies.outcomes import Outcomes, checked

# Penalties tried, per prompt and standardised feature.
_PENALTIES = np.logspace(-4.0, 4.0, 17)


class RidgePolicy(Policy):
    """Ridge regression on standardised features: the linear predictor of RouterBench's and CARROT's comparisons.

    Outcomes of one kind (quality, cost, latency) that were observed on the same prompts share one penalty, the one
    with the smallest closed-form leave-one-out error; a provider with missing outcomes is fitted on its observed
    prompts. Reference: Hoerl & Kennard, *Ridge Regression*, 1970; Golub, Heath & Wahba, *Generalized
    Cross-Validation*, 1979, for the choice of the penalty.

    Attributes:
        coef_: (p + 1, 2k) or (p + 1, 3k) weights of the features and, last, the intercept.

    >>> X = np.random.default_rng(0).random((100, 2))
    >>> policy = RidgePolicy().fit(X, quality=X, cost=1.0 - X)
    >>> policy.predict(np.array([[0.2, 0.7]])).quality.round(2)
    array([[0.2, 0.7]])
    """

    def _fit(self, data: Outcomes) -> None:
        """One regression for each group of outcomes."""
        targets, p = targets_of(data), data.X.shape[1]
        self.coef_: Floats = np.zeros((p + 1, targets.shape[1]))
        kind = np.arange(targets.shape[1]) // len(data.providers)
        for rows, columns in column_groups(targets, kind):
            self.coef_[:, columns] = _ridge(data.X[rows].astype(np.float64), targets[np.ix_(rows, columns)])

    def predict(self, X: Features) -> Estimates:
        """Linear predictions, each (n, k): quality clipped to [0, 1], cost and latency to ≥ 0."""
        self.check_fitted()
        values = checked(X, len(self.coef_) - 1) @ self.coef_[:-1] + self.coef_[-1]
        return estimates_of(values, len(self.providers_))

    def _state(self) -> Bundle:
        return Bundle("", {}, {"coef": self.coef_})

    def _restore(self, bundle: Bundle) -> None:
        self.coef_ = bundle.arrays["coef"]


def _ridge(X: Floats, Y: Floats) -> Floats:
    """Weights (p + 1, columns) for features as they come; too few prompts for a regression give the mean."""
    from sklearn.linear_model import RidgeCV

    mean, size = Y.mean(axis=0), Y.std(axis=0)
    spread = X.std(axis=0)
    useful = spread > 1e-6 * np.maximum(1.0, abs(X).max(axis=0))
    if len(X) < 3 or not useful.any():
        return np.vstack([np.zeros((X.shape[1], len(mean))), mean])
    centre, spread = X.mean(axis=0), np.where(useful, spread, np.inf)
    size = np.where(size > 1e-15, size, 1.0)
    model = RidgeCV(_PENALTIES * len(X)).fit((X - centre) / spread, (Y - mean) / size)
    coef = np.reshape(model.coef_, (len(mean), -1)).T / spread[:, None] * size
    return np.vstack([coef, mean - centre @ coef])
