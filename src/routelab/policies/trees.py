"""Growing the trees of a routing forest: split on what tells providers apart, fill leaves with what was observed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.errors import PolicyError
from routelab.policies.outcomes import Floats, Outcomes

Rows = NDArray[np.intp]
# Weight of a cost or latency column beside a quality column in the split criterion: quality leads, cost helps.
_SIDE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """How trees are grown; ``ForestPolicy`` documents each."""

    n_estimators: int
    min_samples_leaf: int
    max_features: float | str
    max_samples: int
    random_splits: float
    leaf_prior: float
    n_jobs: int
    seed: int

    def __post_init__(self) -> None:
        """Refuse what no forest can be grown with.

        Raises:
            PolicyError: a setting is out of its range.
        """
        share = self.max_features == "sqrt" or (
            not isinstance(self.max_features, str) and 0.0 < self.max_features <= 1.0
        )
        rules = {
            "n_estimators": (_whole(self.n_estimators) >= 1, "a whole number, at least 1"),
            "min_samples_leaf": (_whole(self.min_samples_leaf) >= 1, "a whole number, at least 1"),
            "max_features": (share, 'a share in (0, 1] or "sqrt"'),
            "max_samples": (_whole(self.max_samples) >= 1, "a whole number, at least 1 prompt"),
            "random_splits": (0.0 <= self.random_splits <= 1.0, "a share in [0, 1]"),
            "leaf_prior": (0.0 < self.leaf_prior < math.inf, "a finite number above 0"),
            "n_jobs": (abs(_whole(self.n_jobs)) >= 1, "a number of threads, or -1 for all"),
            "seed": (0 <= _whole(self.seed) < 2**32, "a whole number in [0, 2**32)"),
        }
        for name, (kept, wanted) in rules.items():
            if not kept:
                raise PolicyError(f"ForestPolicy.{name} is {getattr(self, name)!r}; give {wanted}")


def _whole(value: Any) -> float:
    """The value, NaN where it is no whole number."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else math.nan


@dataclass(frozen=True, slots=True)
class Trees:
    """Grown trees whose leaves hold deviations of the m outcomes from their means, in units of ``scale``.

    Args:
        forest: a ``RandomForestRegressor`` that holds all trees.
        bags: rows that each tree saw, with repeats.
        mean: (m,) training means of quality, cost and, where observed, latency of each provider.
        scale: (m,) units.
        providers: k, whose qualities are the first columns.
    """

    forest: Any
    bags: list[Rows]
    mean: Floats
    scale: Floats
    providers: int

    def predict(self, X: NDArray[np.float32]) -> Floats:
        """Deviations (n, m) from the means, in the units of the outcomes."""
        values: Floats = self.forest.predict(X).reshape(len(X), -1) * self.scale
        return values

    def spread(self, X: NDArray[np.float32], believed: Callable[[Floats], Floats]) -> Floats:
        """Variance (n, k) between the trees of what is ``believed`` of their deviations of quality."""
        k = self.providers
        each = np.stack([tree.tree_.value[tree.apply(X), :k, 0] for tree in self.forest.estimators_])
        spread: Floats = believed(each * self.scale[:k]).var(axis=0)
        return spread

    def fold(self, believed: Callable[[Floats], Floats], cost: float) -> None:
        """Leave in the leaves only what is ``believed`` of deviations of quality, and the factor ``cost`` of cost."""
        k = self.providers
        for tree in self.forest.estimators_:
            tree.tree_.value[:, :k, 0] = believed(tree.tree_.value[:, :k, 0])
            tree.tree_.value[:, k : 2 * k, 0] *= cost

    def out_of_bag(self, X: NDArray[np.float32], rows: Rows) -> Floats:
        """Deviations (rows, m) by the trees that did not see the row, NaN where all did."""
        total, count = np.zeros((len(rows), len(self.scale))), np.zeros(len(rows))
        for tree, bag in zip(self.forest.estimators_, self.bags, strict=True):
            unseen = np.ones(len(X), dtype=bool)
            unseen[bag] = False
            free = unseen[rows]
            total[free] += tree.tree_.value[tree.tree_.apply(X[rows[free]]), :, 0]  # takes no rows, too
            count += free
        deviations: Floats = np.divide(
            total * self.scale, count[:, None], out=np.full(total.shape, np.nan), where=count[:, None] > 0
        )
        return deviations


def grow(data: Outcomes, settings: Settings) -> Trees:
    """Grow half of the trees with the best splits (Breiman 2001), half with random thresholds (Geurts et al. 2006).

    Trees are grown on the qualities less most of what all providers share: how hard a request is for everybody does
    not matter to the choice. Missing outcomes are imputed by means for the growing; leaves then hold the mean of what
    was observed there, so that a missing outcome costs that cell only.
    """
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    blocks = [data.quality, data.cost] + ([] if data.latency is None else [data.latency])
    observed = np.hstack(blocks)
    mean, scale = np.nanmean(observed, axis=0), _scales(data)
    deviations = (observed - mean) / scale
    targets, k = np.nan_to_num(deviations), len(data.providers)
    targets[:, :k] -= (1.0 - 1.0 / math.sqrt(k)) * targets[:, :k].mean(axis=1, keepdims=True)
    random = round(settings.n_estimators * settings.random_splits)
    counts = {RandomForestRegressor: settings.n_estimators - random, ExtraTreesRegressor: random}
    grown = [
        kind(
            count,
            min_samples_leaf=math.ceil(settings.min_samples_leaf / (~np.isnan(data.quality)).mean()),
            max_features=settings.max_features,
            bootstrap=True,
            max_samples=min(settings.max_samples, len(targets)),
            n_jobs=settings.n_jobs,
            random_state=settings.seed,
        ).fit(data.X, targets)
        for kind, count in counts.items()
        if count
    ]
    bags = [bag for part in grown for bag in part.estimators_samples_]
    forest = RandomForestRegressor(settings.n_estimators, random_state=settings.seed)
    forest.__dict__ |= {name: value for name, value in vars(grown[0]).items() if name.endswith("_")}
    forest.estimators_ = [tree for part in grown for tree in part.estimators_]
    complete = not np.isnan(deviations).any()
    for tree, bag in zip(forest.estimators_, bags, strict=True):
        _fill_leaves(tree, data.X[bag], deviations[bag], 0.0 if complete else settings.leaf_prior)
    return Trees(forest, bags, mean, scale, k)


def _scales(data: Outcomes) -> Floats:
    """Divisor of each output column: the pooled deviation of quality, and twice their own for cost and latency."""
    k = len(data.providers)
    scales = [np.full(k, np.nanstd(data.quality))]
    scales += [np.nanstd(side, axis=0) / _SIDE_WEIGHT for side in (data.cost, data.latency) if side is not None]
    joined = np.concatenate(scales)
    return np.where(joined > 1e-12, joined, 1.0)


def _fill_leaves(tree: Any, X: NDArray[np.float32], deviations: Floats, prior: float) -> None:
    """Set each leaf to Σ observed deviations in bag / (count + prior), per output."""
    values, leaves = tree.tree_.value, tree.apply(X)
    for output, column in enumerate(deviations.T):
        known = ~np.isnan(column)
        count = np.bincount(leaves[known], minlength=len(values)) + prior
        total = np.bincount(leaves[known], column[known], len(values))
        values[:, output, 0] = np.divide(total, count, out=np.zeros(len(values)), where=count > 0.0)
