"""The normal mixture, and how an interval follows from a likelihood ratio.

Of a mean known with standard error SE, the likelihood ratio of a true mean drawn from N(0, r·SE²) against 0 is
exp(z²/2 · r/(1+r)) / √(1+r) at z standard errors. Over looks it is a martingale when the true mean is 0, and so stays
below 1/α at all of them with probability 1 − α (Ville, 1939; Robbins, *Statistical Methods Related to the Law of the
Iterated Logarithm*, 1970).
"""

from __future__ import annotations

import numpy as np

from routelab.abtest.effect import Effect, Value
from routelab.arrays import Floats


def log_normal_mixture(z: Value, r: Value) -> Floats:
    """Logarithm of the likelihood ratio at ``z`` standard errors."""
    return np.asarray(0.5 * (np.square(z) * (r / (1.0 + np.asarray(r))) - np.log1p(r)))


def normal_mixture_bound(r: Value, alpha: float) -> Floats:
    """The z at which the likelihood ratio is 1/α.

    >>> z = normal_mixture_bound(8.0, 0.05)
    >>> round(float(z), 4), round(float(np.exp(-log_normal_mixture(z, 8.0))), 4)
    (3.0352, 0.05)
    """
    return np.asarray(np.sqrt((1.0 + 1.0 / np.asarray(r)) * (np.log1p(r) - 2.0 * np.log(alpha))))


def z_score(effect: Effect, null: float, start: int) -> Floats:
    """Standard errors between the difference and ``null``; 0 where nothing can be claimed yet."""
    known = effect.known(start)
    away = np.asarray(effect.difference) - null
    return np.where(known, away / np.sqrt(np.where(known, effect.variance, 1.0)), 0.0)


def p_value(log_ratio: Value) -> Floats:
    """The smallest α whose interval leaves the null out: 1 over the likelihood ratio, at most 1."""
    return np.asarray(np.exp(-np.maximum(log_ratio, 0.0)))
