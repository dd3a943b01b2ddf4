"""A warm start of online regressions: a whole table at once, as if each cell had been an outcome."""

from __future__ import annotations

import numpy as np

from routelab.policies.choice import Floats
from routelab.policies.linear_arms import CHECKED_EVERY, LEVEL_PRECISION, LinearArms
from routelab.policies.symmetric import inverse


def warm_start(arms: LinearArms, X: Floats, quality: Floats, cost: Floats) -> None:
    """Let arms that saw nothing learn inputs (n, d) and outcomes (n, k), NaN = not observed.

    Noise is measured by errors divided by 1 − leverage, which is what they would be on requests to come.
    """
    if arms.ridge is None:
        arms.norm = float((X[:, 1:] ** 2).sum(axis=1).mean()) or 1.0
        arms.scale[:] = arms.norm, CHECKED_EVERY
    arms.open(X[0])
    for arm, (reward, paid) in enumerate(zip(quality.T, cost.T, strict=True)):
        arms.coef[1, arm], *_ = _regress(X, paid, arms.prior(), arms.levels[arm][1])
        found = _regress(X, reward, arms.prior(), arms.levels[arm][0])
        arms.coef[0, arm], arms.precision[arm], arms.covariance[arm] = found
        Z, seen = X[~np.isnan(reward)], reward[~np.isnan(reward)]
        unseen = 1.0 - np.einsum("nd,de,ne->n", Z, arms.covariance[arm], Z, optimize=True)
        arms.noise[:, arm] = np.mean((seen - Z @ arms.coef[0, arm]) ** 2 / unseen), len(seen)
        arms.costs[:, arm] = np.nanmean(paid), np.count_nonzero(~np.isnan(paid))
    arms.ready()


def _regress(X: Floats, values: Floats, prior: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """Coefficients (d,), precision and covariance (d, d) of one target (n,), NaN = not observed."""
    Z, seen = X[~np.isnan(values)], values[~np.isnan(values)]
    precision = np.diag(prior) + Z.T @ Z
    covariance = inverse(precision)
    towards = Z.T @ seen
    towards[0] += LEVEL_PRECISION * level
    return covariance @ towards, precision, covariance
