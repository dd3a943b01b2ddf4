"""The estimators: each turns logged rows into four columns whose sums make the estimate.

With logged actions a, rewards r and propensities p, an evaluated policy π, weights w = π(a|x)/p (times the decisions
that a row stands for where outcomes are missing), predicted rewards q̂(x, a) and their mean under the policy
v(x) = Σ_a π(a|x) q̂(x, a), every estimate is

    V̂ = Σ base / Σ count + Σ correction / Σ norm

so that it can be resampled by one matrix product, and its influence function is the same few lines for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats


class Rows(NamedTuple):
    """What the estimators are made of; rows without an outcome are zeros in all but ``value``.

    Args:
        reward: (n,) outcomes r.
        weight: (n,) w = known · π(a|x)/p ≥ 0.
        predicted: (n,) q̂(x, a) of the logged action.
        value: (n,) v(x), the prediction's mean under the policy.
        known: (n,) decisions that the row stands for, see :func:`stands_for`; 1 in all where all outcomes are known.
    """

    reward: Floats
    weight: Floats
    predicted: Floats
    value: Floats
    known: Floats

    @classmethod
    def of(
        cls,
        action: NDArray[np.intp],
        reward: Floats,
        propensity: Floats,
        probabilities: Floats,
        predictions: Floats | None = None,
    ) -> Rows:
        """Rows of one policy and one outcome.

        Args:
            action: (n,) column of the logged action.
            reward: (n,) outcomes, NaN = unknown.
            propensity: (n,) logged probability of ``action``, in (0, 1].
            probabilities: (n, k) of the evaluated policy.
            predictions: (n, k) predicted rewards q̂; None where no estimator needs them.

        >>> Rows.of(np.array([0]), np.array([1.0]), np.array([0.5]), np.array([[0.2, 0.8]])).weight
        array([0.4])
        """
        known = ~np.isnan(reward)
        rows, stands = np.arange(len(action)), stands_for(action, known)
        weight = stands * (probabilities[rows, action] / propensity)
        if predictions is None:
            predicted = value = np.zeros(len(action))
        else:
            predicted = np.where(known, predictions[rows, action], 0.0)
            value = np.einsum("nk,nk->n", probabilities, predictions)
        return cls(np.where(known, reward, 0.0), weight, predicted, value, stands)


def stands_for(action: NDArray[np.intp], known: NDArray[np.bool_]) -> Floats:
    """How many decisions (n,) for its provider each row with an outcome stands for, 0 for rows without one.

    One over the share of the provider's decisions whose outcome is known: the inverse probability of seeing it where
    outcomes are missing by chance among the decisions for a provider, and 1 where none is missing.

    >>> stands_for(np.array([0, 0, 1]), np.array([True, False, True]))
    array([2., 0., 1.])
    """
    share = np.bincount(action, known) / np.maximum(np.bincount(action), 1)
    return np.divide(known, share[action], out=np.zeros(len(action)), where=known)


#: (n, 4): the columns base, count, correction, norm.
Terms = Floats


def ips(rows: Rows) -> Terms:
    """Inverse propensity scoring, Σ w r / Σ known: unbiased, of a variance that grows with the weights.

    Horvitz & Thompson, *A Generalization of Sampling Without Replacement from a Finite Universe*, 1952.
    """
    return clipped_ips(rows, np.inf)


def clipped_ips(rows: Rows, level: float) -> Terms:
    """Clipped IPS, Σ min(w, level) r / n: biased down where rewards are ≥ 0, of less variance.

    Bottou et al., *Counterfactual Reasoning and Learning Systems*, 2013.
    """
    return _terms(rows, 0.0, np.minimum(rows.weight, level) * rows.reward, rows.known)


def snips(rows: Rows) -> Terms:
    """Self-normalised IPS, Σ w r / Σ w: keeps to the range of the rewards.

    Swaminathan & Joachims, *The Self-Normalized Estimator for Counterfactual Learning*, 2015.
    """
    return _terms(rows, 0.0, rows.weight * rows.reward, rows.weight)


def dm(rows: Rows) -> Terms:
    """Direct method, Σ v / n: no weights, and all the bias of the reward model.

    Beygelzimer & Langford, *The Offset Tree for Learning with Partial Labels*, 2009.
    """
    return _terms(rows, rows.value, 0.0, 1.0)


def dr(rows: Rows) -> Terms:
    """Doubly robust, Σ [v + w (r − q̂)] / n: right where either the propensities or the model are.

    Dudík, Langford & Li, *Doubly Robust Policy Evaluation and Learning*, 2011.
    """
    return switch_dr(rows, np.inf)


def sndr(rows: Rows) -> Terms:
    """Self-normalised doubly robust, Σ v / n + Σ w (r − q̂) / Σ w.

    Thomas & Brunskill, *Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning*, 2016.
    """
    return _terms(rows, rows.value, rows.weight * (rows.reward - rows.predicted), rows.weight)


def switch_dr(rows: Rows, level: float) -> Terms:
    """Switch-DR, Σ [v + w 1(w ≤ level) (r − q̂)] / n: the model alone where weights are large.

    Wang, Agarwal & Dudík, *Optimal and Adaptive Off-policy Evaluation in Contextual Bandits*, 2017.
    """
    weight = np.where(rows.weight <= level, rows.weight, 0.0)
    return _terms(rows, rows.value, weight * (rows.reward - rows.predicted), rows.known)


def dros(rows: Rows, level: float) -> Terms:
    """DR with optimistic shrinkage, the weight level·w / (w² + level): the model at level 0, DR at level ∞.

    Su, Dimakopoulou, Krishnamurthy & Dudík, *Doubly Robust Off-Policy Evaluation with Shrinkage*, 2020.
    """
    weight = rows.weight / (rows.weight**2 / level + 1.0) if level else np.zeros(len(rows.weight))
    return _terms(rows, rows.value, weight * (rows.reward - rows.predicted), rows.known)


def _terms(rows: Rows, base: Floats | float, correction: Floats | float, norm: Floats | float) -> Terms:
    terms = np.empty((len(rows.known), 4))
    for column, values in enumerate((base, 1.0, correction, norm)):
        terms[:, column] = values
    return terms


#: Estimators by name; those of ``TUNED`` have a level beside the rows.
ESTIMATORS: dict[str, Callable[[Rows], Terms]] = {"ips": ips, "snips": snips, "dm": dm, "dr": dr, "sndr": sndr}
TUNED: dict[str, Callable[[Rows, float], Terms]] = {
    "clipped-ips": clipped_ips,
    "switch-dr": switch_dr,
    "dros": dros,
}
#: Those that need predicted rewards.
MODEL_BASED = frozenset({"dm", "dr", "sndr", "switch-dr", "dros"})


def estimate(sums: Floats) -> Floats:
    """The estimate (…) of sums (…, 4) of terms.

    >>> rows = Rows.of(np.array([0, 1]), np.array([1.0, 0.5]), np.array([0.5, 0.25]), np.tile([0.5, 0.5], (2, 1)))
    >>> float(estimate(ips(rows).sum(axis=0))), float(estimate(snips(rows).sum(axis=0)))
    (1.0, 0.6666666666666666)
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample without a weight has no estimate
        value: Floats = sums[..., 0] / sums[..., 1] + sums[..., 2] / sums[..., 3]
    return value


def has_interval(estimator: str, level: float | None) -> bool:
    """Whether an estimate's error is that of resampling: no bias of a finite ``level``, no unseen error of a model.

    The direct method has none: its predictions are the same in all resamples, which do not show how far off they are.

    >>> has_interval("dr", None), has_interval("dm", None), has_interval("dros", 9.0), has_interval("dros", np.inf)
    (True, False, False, True)
    """
    return estimator != "dm" and (level is None or level == np.inf)


def influence(terms: Terms) -> Floats:
    """What each row (n,) adds to the estimate, of mean 0: its standard error is sd(influence)/√n.

    For ratios it is the first-order (delta method) term, for the other estimators it is exact.
    """
    base, count, correction, norm = terms.mean(axis=0)
    centred: Floats = (terms[:, 0] - base / count * terms[:, 1]) / count
    centred += (terms[:, 2] - correction / norm * terms[:, 3]) / norm
    return centred
