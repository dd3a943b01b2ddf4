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

_SHRINKAGES = (0.125, 0.25, 0.5, 0.75, 1.0)
_PENALTIES = np.logspace(-4.0, 3.0, 15)  # per prompt, on standardised features
_RESAMPLES = 40
_FEWEST = 50  # prompts with all outcomes below which nothing is chosen
MOST = 0.8  # of the prompts; where fewer have all outcomes, those few do not speak for the others


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
    """

    linear: float = 0.0
    common: float = 1.0
    contrast: float = 1.0

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


def choose_belief(
    trees: Floats, linear: Floats | None, quality: Floats, cost: Floats, predicted_cost: Floats
) -> Belief:
    """Blend and shrink deviations of n training prompts, each predicted without its own outcome.

    The share of the linear part minimises the squared error of differences between providers. The factor of what the
    providers share is its regression slope. The factor of the differences is the one that routes best: the mean
    height of the cost-quality hull, averaged over bootstrap resamples, and 0 where none beats the training means by
    more than one standard error.

    Args:
        trees: (n, k) deviations of quality from the training means.
        linear: (n, k) the same by the regression, or None.
        quality: (n, k), cost: (n, k) USD: outcomes; prompts with a missing one are left out.
        predicted_cost: (n, k) USD.
    """
    known = ~np.isnan(np.hstack([trees, quality, cost])).any(axis=1)
    if known.sum() < max(_FEWEST, MOST * len(quality)) or quality.shape[1] < 2:
        slope = _observed_slope(trees, quality)
        return Belief(common=slope, contrast=slope)
    trees, quality, cost, predicted_cost = (block[known] for block in (trees, quality, cost, predicted_cost))
    mean = quality.mean(axis=0)
    actual, share = quality - mean, 0.0
    if linear is not None:
        step = _contrast(linear[known] - trees)
        share = _slope(step, _contrast(actual - trees))
        trees = (1.0 - share) * trees + share * linear[known]
    common = _slope(trees.mean(axis=1), actual.mean(axis=1))
    slope = _slope(_contrast(trees), _contrast(actual))
    factors = (0.0, *sorted(_SHRINKAGES, key=lambda factor: abs(factor - slope)))  # where all route alike: the truest
    routes = [mean + factor * _contrast(trees) for factor in factors]
    heights = np.stack([_heights(route, predicted_cost, quality, cost) for route in routes])
    best = int(heights.mean(axis=1).argmax())
    lead = heights[best] - heights[0]
    return Belief(share, common, factors[best] if lead.mean() > lead.std() else 0.0)


def _contrast(values: Floats) -> Floats:
    """What tells providers apart: deviations (n, k) from the mean over providers."""
    apart: Floats = values - values.mean(axis=1, keepdims=True)
    return apart


def _slope(x: Floats, y: Floats) -> float:
    """Least-squares slope through the origin, held within [0, 1]; 0 where ``x`` says nothing."""
    size = float((x * x).sum())
    return float(np.clip((x * y).sum() / size, 0.0, 1.0)) if size > 0.0 else 0.0


def _observed_slope(trees: Floats, quality: Floats) -> float:
    """Slope over single cells, for logs that hold few outcomes of a prompt."""
    known = ~np.isnan(trees) & ~np.isnan(quality)
    return _slope(trees[known], (quality - np.nanmean(quality, axis=0))[known])


def _heights(predicted: Floats, predicted_cost: Floats, quality: Floats, cost: Floats) -> Floats:
    """Mean hull heights (resamples,) of routing by ``predicted`` over all trade-offs, in bootstrap resamples."""
    rows, arms = np.arange(len(quality)), cost.mean(axis=0)
    sweep = [Objective(cost_weight=float(weight)) for weight in cost_weight_sweep(cost)]
    chosen = np.stack([objective.utility(predicted, predicted_cost).argmax(axis=1) for objective in sweep], axis=1)
    chosen = np.hstack([np.full((len(rows), 1), arms.argmin()), chosen])
    weights = np.random.default_rng(0).multinomial(len(rows), np.full(len(rows), 1.0 / len(rows)), size=_RESAMPLES)
    draws = weights / len(rows)
    c, q = draws @ cost[rows[:, None], chosen], draws @ quality[rows[:, None], chosen]
    vertices = upper_hulls(c, q)
    path = (np.take_along_axis(values, vertices, axis=1) for values in (c, q))
    heights = mean_heights(*path, *(draws @ cost[:, end] for end in (arms.argmin(), arms.argmax())))
    return np.where(np.isnan(heights), q[:, 1], heights)  # where all cost the same, only quality counts
