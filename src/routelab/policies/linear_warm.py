"""A warm start of online regressions: a whole table at once, as if each cell had been an outcome."""

from __future__ import annotations

import numpy as np

from routelab.policies.choice import Floats
from routelab.policies.linear_arms import CHECKED_EVERY, LEVEL_PRECISION, NOISE, LinearArms
from routelab.policies.symmetric import inverse


def warm_start(arms: LinearArms, X: Floats, quality: Floats, cost: Floats, se: Floats | None = None) -> None:
    """Let arms that saw nothing learn inputs (n, d) and outcomes (n, k), NaN = not observed.

    Noise is measured by errors divided by 1 − leverage, which is what they would be on requests to come. Qualities of
    standard errors ``se`` (n, k) weigh σ²/(σ² + se²), by the noise that is believed first, then by the one measured.
    """
    if arms.ridge is None:
        arms.norm = float((X[:, 1:] ** 2).sum(axis=1).mean()) or 1.0
        arms.scale[:] = arms.norm, CHECKED_EVERY
    arms.open(X[0])
    for arm, (reward, paid) in enumerate(zip(quality.T, cost.T, strict=True)):
        arms.coef[1, arm], *_ = _regress(X, paid, arms.prior(), arms.levels[arm][1])
        Z, seen = X[~np.isnan(reward)], reward[~np.isnan(reward)]
        arms.noise[:, arm] = NOISE, len(seen)
        for _ in range(1 if se is None else 2):
            spread = np.ones(len(seen)) if se is None else 1.0 + se[~np.isnan(reward), arm] ** 2 / arms.noise[0, arm]
            found = _regress(X, reward, arms.prior(), arms.levels[arm][0], None if se is None else spread)
            arms.coef[0, arm], arms.precision[arm], arms.covariance[arm] = found
            unseen = spread - np.einsum("nd,de,ne->n", Z, arms.covariance[arm], Z, optimize=True)
            arms.noise[0, arm] = np.mean((seen - Z @ arms.coef[0, arm]) ** 2 / unseen)
        arms.costs[:, arm] = np.nanmean(paid), np.count_nonzero(~np.isnan(paid))
    arms.ready()


def _regress(
    X: Floats, values: Floats, prior: Floats, level: float, spread: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Coefficients (d,), precision and covariance (d, d) of one target (n,), NaN = not observed.

    ``spread`` is the variance of each observed value in units of σ², 1 where it is None.
    """
    Z, seen = X[~np.isnan(values)], values[~np.isnan(values)]
    if spread is not None:
        Z, seen = Z / np.sqrt(spread)[:, None], seen / np.sqrt(spread)
    precision = np.diag(prior) + Z.T @ Z
    covariance = inverse(precision)
    towards = Z.T @ seen
    towards[0] += LEVEL_PRECISION * level
    return covariance @ towards, precision, covariance
