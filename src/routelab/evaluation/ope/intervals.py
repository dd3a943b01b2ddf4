"""Intervals of the estimates: bootstrap over units, and empirical Bernstein."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats
from routelab.errors import OffPolicyError
from routelab.evaluation.bootstrap import Interval, resample_weights
from routelab.evaluation.ope.estimators import Terms, estimate, influence


def check_resampling(level: float, n_resamples: int) -> None:
    """Refuse what makes no interval: OffPolicyError unless 0 < ``level`` < 1 and ``n_resamples`` ≥ 1."""
    if not 0.0 < level < 1.0:
        raise OffPolicyError(f"level is {level}; give a number between 0 and 1, such as 0.95")
    if n_resamples < 1:
        raise OffPolicyError(f"n_resamples is {n_resamples}; give 1 or more, such as 1000")


def by_unit(terms: Terms, units: NDArray[np.intp]) -> Terms:
    """Terms (g, 4) added up over the rows of each unit.

    >>> by_unit(np.ones((3, 4)), np.array([0, 1, 0]))[:, 0]
    array([2., 1.])
    """
    count = int(units.max()) + 1
    if count == len(terms):
        return terms
    return np.column_stack([np.bincount(units, column, minlength=count) for column in terms.T])


def resampled(terms: Floats, n_resamples: int, rng: np.random.Generator) -> Floats:
    """Estimates (b, m) of m sets of terms (g, m, 4) on the same resamples of the g units; ratios anew in each.

    >>> terms = np.ones((10, 1, 4))
    >>> resampled(terms, 3, np.random.default_rng(0)).ravel()
    array([2., 2., 2.])
    """
    flat = terms.reshape(len(terms), -1)
    sums = np.concatenate([weights @ flat for weights in resample_weights(len(flat), n_resamples, rng)])
    return estimate(sums.reshape(len(sums), -1, 4))


def degrees_of_freedom(influences: Floats) -> Floats:
    """Degrees of freedom 2g/(κ − 1) of the variances of estimates whose influences (g, …) have kurtosis κ (…).

    A chi-square's with the variance that an estimated variance has (Satterthwaite, *An Approximate Distribution of
    Estimates of Variance Components*, 1946): about g for normal terms, few where few decisions carry the weight.

    >>> rng = np.random.default_rng(0)
    >>> degrees_of_freedom(rng.normal(size=(20_000, 2))).round(-3)
    array([20000., 20000.])
    """
    square = influences**2
    fourth, variance = (square**2).mean(axis=0), square.mean(axis=0)
    kurtosis = np.divide(fourth, variance**2, out=np.ones(np.shape(variance)), where=variance**2 > 0.0)
    return np.asarray(2.0 * len(influences) / np.maximum(kurtosis - 1.0, 1e-12))


def bootstrap_interval(terms: Terms, replicates: Floats, level: float = 0.95) -> Interval:
    """Expanded percentile interval: quantiles of ``replicates`` (b,) as far out as Student's t is beyond the normal.

    Hesterberg, *What Teachers Should Know About the Bootstrap*, 2015, §5.2, with the degrees of freedom above in place
    of g − 1. Biases are not in it: that of a clipped, switched or shrunk weight, or of the direct method's model.

    >>> terms = np.column_stack([np.tile([0.0, 1.0], 500), *np.ones((3, 1000))]) * [1.0, 1.0, 0.0, 1.0]
    >>> replicates = resampled(terms[:, None, :], 2000, np.random.default_rng(0))[:, 0]
    >>> interval = bootstrap_interval(terms, replicates)
    >>> round(interval.high - interval.low, 2)
    0.06
    """
    from scipy.special import ndtr, stdtrit

    outside = float(ndtr(stdtrit(min(float(degrees_of_freedom(influence(terms))), 1e9), (1.0 - level) / 2.0)))
    low, high = np.nanquantile(replicates, [outside, 1.0 - outside])
    return Interval(float(estimate(terms.sum(axis=0))), float(low), float(high))


def bernstein_interval(terms: Terms, width: float, level: float = 0.95) -> Interval:
    """Empirical Bernstein interval, V̂ ± [√(2 s² l / n) + 7 R l / (3 (n − 1))] with l = ln(4/(1 − level)).

    Maurer & Pontil, *Empirical Bernstein Bounds and Sample Variance Penalization*, 2009, theorem 4 on both sides. Holds
    at every n for IPS and DR where no outcome is missing and R is the range that a row's contribution cannot leave; for
    self-normalised estimators it is that of their linearisation.

    Args:
        terms: (n, 4), a row per unit.
        width: R, see :func:`contribution_width`.
        level: of confidence.

    >>> terms = np.column_stack([np.tile([0.0, 1.0], 500), *np.ones((3, 1000))]) * [1.0, 1.0, 0.0, 1.0]
    >>> interval = bernstein_interval(terms, width=1.0)
    >>> round(interval.high - interval.low, 2)
    0.11
    """
    n, value, spread = len(terms), float(estimate(terms.sum(axis=0))), influence(terms).var(ddof=1)
    log = np.log(4.0 / (1.0 - level))
    half = float(np.sqrt(2.0 * spread * log / n) + 7.0 * width * log / (3.0 * (n - 1)))
    return Interval(value, value - half, value + half)


def contribution_width(terms: Terms, span: float, largest_weight: float, *, model: bool) -> float:
    """The range R of what one unit contributes to an estimate.

    Args:
        terms: (g, 4), a row per unit.
        span: range of the rewards, which holds 0 (1 for quality).
        largest_weight: that can be, over all providers.
        model: whether predictions are used; they keep to the range of the rewards.
    """
    count, norm = terms[:, 1], terms[:, 3]
    weight = largest_weight / (norm.mean() / count.mean())
    return float(span * (model + weight * (1 + model)) * count.max() / count.mean())
