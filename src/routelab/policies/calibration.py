"""How much of what trees predict to believe: blended with a linear part, shrunk towards the training means.

All is chosen on training prompts by predictions that did not see them: out-of-bag for the trees, leave-one-out for the
regression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.hull import mean_heights, upper_hulls
from routelab.policies.objective import Objective, cost_weight_sweep
from routelab.policies.outcomes import Floats

_PENALTIES = np.logspace(-4.0, 3.0, 15)  # per prompt, on standardised features
_HALVES = 40
_FEWEST = 50  # prompts below which nothing but the means is believed


@dataclass(frozen=True, slots=True)
class Linear:
    """A ridge regression of deviations (n, k) from their means on features.

    Args:
        coef: (p, k) weights of the features as they come.
        intercept: (k,).
        left_out: (n, k) prediction of each training row without it.
    """

    coef: Floats
    intercept: Floats
    left_out: Floats


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of predicted deviations from the training means.

    Args:
        linear: share of the linear part in [0, 1]; the rest is the trees'.
        common: factor in [0, 1] of what all providers share.
        contrast: factor in [0, 1] of what tells them apart; 0 leaves the training means.
        cost: factor in [0, 1] of deviations of cost; 0 leaves the training means.
    """

    linear: float = 0.0
    common: float = 1.0
    contrast: float = 1.0
    cost: float = 1.0

    def apply(self, deviations: Floats) -> Floats:
        """Believed part of deviations (…, k) of quality."""
        shared = deviations.mean(axis=-1, keepdims=True)
        believed: Floats = self.contrast * (deviations - shared) + self.common * shared
        return believed


def fit_linear(X: NDArray[np.float32], deviations: Floats) -> Linear:
    """Ridge regression with the penalty of the smallest leave-one-out error of differences between providers.

    Reference: Golub, Heath & Wahba, *Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter*,
    Technometrics 1979, for the closed form of the leave-one-out error.
    """
    centre, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    useful = spread > 1e-6 * np.maximum(1.0, abs(X).max(axis=0))
    Z = np.where(useful, (X - centre) / np.where(useful, spread, 1.0), 0.0)
    eigenvalues, V = np.linalg.eigh(Z.T @ Z)
    eigenvalues, scores = eigenvalues.clip(0.0), Z @ V
    target, products = _contrast(deviations), scores.T @ deviations
    best, error = 0.0, np.inf
    left_out = np.zeros_like(deviations)
    for penalty in _PENALTIES * len(X):
        shrunk = 1.0 / (eigenvalues + penalty)
        leverage = np.einsum("ij,j,ij->i", scores, shrunk, scores) + 1.0 / len(X)
        residual = (deviations - scores @ (shrunk[:, None] * products)) / (1.0 - leverage).clip(1e-12)[:, None]
        loss = float(np.square(target - _contrast(deviations - residual)).mean())
        if loss < error:
            best, error, left_out = penalty, loss, deviations - residual
    coef = np.where(useful, 1.0 / np.where(useful, spread, 1.0), 0.0)[:, None] * (
        V @ (products / (eigenvalues + best)[:, None])
    )
    return Linear(coef, -centre @ coef, left_out)


def choose_belief(trees: Floats, linear: Floats, quality: Floats, cost: Floats, cost_trees: Floats) -> Belief:
    """Blend and shrink deviations of n training prompts, each predicted without its own outcome.

    The share of the linear part minimises the squared error of differences between providers. The factors of what
    providers share, of their differences and of cost are regression slopes. The last two are 0, so that requests are
    routed by the training means, unless they route better than these by more than one standard error (the rule of
    Breiman et al., *Classification and Regression Trees*, 1984, §3.4.3): by the mean height of the cost-quality hull,
    cross-fitted over random halves of the prompts. Halves vary about as fresh samples of all prompts would, which
    gives the standard error.

    Args:
        trees: (n, k) deviations of quality from the training means, NaN for a prompt that no tree left out.
        linear: (n, k) the same by the regression.
        quality: (n, k), cost: (n, k) USD: outcomes without gaps (``unbiased``).
        cost_trees: (n, k) USD, deviations of cost from the training means.
    """
    known = ~np.isnan(trees).any(axis=1)
    if known.sum() < _FEWEST:
        return Belief(common=0.0, contrast=0.0, cost=0.0)
    trees, linear, quality, cost, cost_trees = (block[known] for block in (trees, linear, quality, cost, cost_trees))
    mean, mean_cost = quality.mean(axis=0), cost.mean(axis=0)
    actual = quality - mean
    share = _slope(_contrast(linear - trees), _contrast(actual - trees))
    trees = (1.0 - share) * trees + share * linear
    common = _slope(trees.mean(axis=1), actual.mean(axis=1))
    contrast, dearer = _slope(_contrast(trees), _contrast(actual)), _slope(cost_trees, cost - mean_cost)
    learned = _heights(mean + contrast * _contrast(trees), mean_cost + dearer * cost_trees, quality, cost)
    gain = learned - _heights(np.tile(mean, (len(cost), 1)), mean_cost, quality, cost)
    better = quality.shape[1] == 1 or gain.mean() > gain.std()
    return Belief(share, common, contrast if better else 0.0, dearer if better else 0.0)


def unbiased(outcomes: Floats, mean: Floats) -> Floats:
    """Outcomes (n, k) whose gaps are filled so that means and slopes keep their expectation.

    A gap takes the provider's ``mean`` (k,); what was observed takes mean + deviation / share observed. It holds where
    gaps do not depend on the outcome. Reference: Horvitz & Thompson, *A Generalization of Sampling Without Replacement
    From a Finite Universe*, 1952.

    >>> unbiased(np.array([[0.2], [0.4], [np.nan]]), np.array([0.3])).round(2)
    array([[0.15],
           [0.45],
           [0.3 ]])
    """
    observed = ~np.isnan(outcomes)
    share = np.maximum(observed.mean(axis=0), 1.0 / len(outcomes))
    filled: Floats = mean + np.where(observed, outcomes - mean, 0.0) / share
    return filled


def _contrast(values: Floats) -> Floats:
    """What tells providers apart: deviations (n, k) from the mean over providers."""
    apart: Floats = values - values.mean(axis=1, keepdims=True)
    return apart


def _slope(x: Floats, y: Floats) -> float:
    """Least-squares slope through the origin, held within [0, 1]; 0 where ``x`` says nothing."""
    size = float((x * x).sum())
    return float(np.clip((x * y).sum() / size, 0.0, 1.0)) if size > 0.0 else 0.0


def _heights(predicted: Floats, predicted_cost: Floats, quality: Floats, cost: Floats) -> Floats:
    """Mean hull heights (halves,) of routing by ``predicted`` over all trade-offs.

    The trade-offs on the hull are chosen on one half of the prompts and scored on the other; in hindsight noise would
    look like a gain.
    """
    rows, arms = np.arange(len(quality)), cost.mean(axis=0)
    sweep = [Objective(cost_weight=float(weight)) for weight in cost_weight_sweep(cost)]
    chosen = np.stack([objective.utility(predicted, predicted_cost).argmax(axis=1) for objective in sweep], axis=1)
    chosen = np.hstack([np.full((len(rows), 1), arms.argmin()), chosen])
    half = np.random.default_rng(0).permuted(np.tile(rows, (_HALVES, 1)), axis=1) < len(rows) // 2
    outcomes = [side[rows[:, None], chosen] for side in (cost, quality)]
    vertices = upper_hulls(*(_means(half, side) for side in outcomes))
    path = [np.take_along_axis(_means(~half, side), vertices, axis=1) for side in outcomes]
    heights = mean_heights(*path, *(_means(~half, cost[:, [end]])[:, 0] for end in (arms.argmin(), arms.argmax())))
    return np.where(np.isnan(heights), path[1][:, -1], heights)  # where all cost the same, only quality counts


def _means(sides: NDArray[np.bool_], values: Floats) -> Floats:
    """Means (halves, s) of values (n, s) over the prompts of each side (halves, n)."""
    means: Floats = sides @ values / sides.sum(axis=1, keepdims=True)
    return means
