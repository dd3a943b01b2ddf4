"""The level of a tuned estimator, chosen by SLOPE: the least variance that no less biased level contradicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from routelab.arrays import Floats
from routelab.evaluation.ope.estimators import Rows, Terms, estimate, influence

_C = np.sqrt(6.0) - 1.0
_LEVELS = 12


def candidate_levels(name: str, weight: Floats) -> Floats:
    """Levels tried for a tuned estimator, ascending to ∞, which changes nothing.

    Clipping and switching begin at a weight of 1, up to the largest; the levels of DRos are squares of such weights.

    >>> candidate_levels("clipped-ips", np.array([0.0, 30.0])).round(1)[[0, 1, -2, -1]]
    array([ 1. ,  1.4, 30. ,  inf])
    """
    levels = np.geomspace(1.0, max(float(weight.max(initial=1.0)), 1.0 + 1e-9), _LEVELS - 1)
    return np.append(levels**2 if name == "dros" else levels, np.inf)


def slope(
    estimator: Callable[[Rows, float], Terms], rows: Rows, levels: Sequence[float] | Floats, delta: float = 0.1
) -> float:
    """Choose among ``levels``.

    Ordered from the widest interval to the narrowest, the last level is taken whose interval, and all before it, meet:
    |V̂_i − V̂_j| ≤ c_i + (√6 − 1) c_j for every j before i, with c the half-width of Student's t at 1 − δ.
    Su, Srinath & Krishnamurthy, *Adaptive Estimator Selection for Off-Policy Evaluation*, 2020; the constant is that
    of Tucker & Lee, *Improved Estimator Selection for Off-Policy Evaluation*, 2021.

    >>> rng = np.random.default_rng(0)
    >>> rows = Rows(np.ones(500), rng.exponential(size=500), np.zeros(500), np.zeros(500), np.ones(500))
    >>> from routelab.evaluation.ope.estimators import clipped_ips
    >>> slope(clipped_ips, rows, [0.1, np.inf])  # clipping at .1 is a tenth of the truth
    inf
    """
    from scipy.special import stdtrit

    values, widths = np.empty(len(levels)), np.empty(len(levels))
    for i, level in enumerate(levels):
        terms = estimator(rows, float(level))
        values[i] = estimate(terms.sum(axis=0))
        degrees = max(len(terms) - 1, 1)
        widths[i] = stdtrit(degrees, 1.0 - delta) * influence(terms).std() / np.sqrt(degrees)
    order = np.argsort(widths)[::-1]
    for place, i in enumerate(order):
        before = order[:place]
        if (np.abs(values[before] - values[i]) > widths[i] + _C * widths[before]).any():
            return float(levels[order[place - 1]])
    return float(levels[order[-1]])
