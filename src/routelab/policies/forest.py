"""ForestPolicy: one RandomForest that predicts quality, cost and latency of every provider."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.base import Estimates, Features, Floats, Policy
from routelab.policies.onnx_forest import OnnxForest, to_onnx
from routelab.policies.outcomes import Outcomes, check_belief

# Weight of a cost or latency column beside a quality column in the split criterion: quality leads, cost helps.
_SIDE_WEIGHT = 0.5


class ForestPolicy(Policy):
    """A multi-output RandomForest (Breiman, *Random Forests*, 2001) over request features; one fit serves every λ.

    Its outputs are quality, cost and (where observed) latency of each provider, scaled so that their variances are
    comparable in the split criterion. A missing outcome costs that cell only: the trees are grown on mean-imputed
    outcomes, then every leaf is refilled with the mean of what was observed there.

    Args:
        n_estimators: trees.
        min_samples_leaf: graded outcomes of each provider that a leaf holds at least, on average; with missing
            outcomes a leaf holds accordingly more prompts.
        max_features: share of the features tried at each split, in (0, 1], or "sqrt".
        max_samples: share of the prompts each tree sees, in (0, 1], or None for a full bootstrap.
        leaf_prior: with missing outcomes, the weight (in observations, > 0) of the provider's mean in each leaf.
        n_jobs: threads of the fit; the result does not depend on it.
        seed: of bootstrap and splits.

    Attributes:
        forest_: the fitted ``RandomForestRegressor`` (absent after ``load``).
        feature_importances_: (p,) mean decrease of impurity, sums to 1.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.random((200, 3))
    >>> quality = np.column_stack([X[:, 0], np.full(200, 0.5)])
    >>> policy = ForestPolicy(n_estimators=20).fit(X, quality, np.full((200, 2), 0.01))
    >>> policy.predict(np.array([[0.9, 0.5, 0.5]])).quality.argmax()
    np.int64(0)
    """

    def __init__(
        self,
        n_estimators: int = 100,
        min_samples_leaf: int = 5,
        max_features: float | str = 0.2,
        max_samples: float | None = None,
        leaf_prior: float = 1.0,
        n_jobs: int = 2,
        seed: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.max_samples = max_samples
        self.leaf_prior = leaf_prior
        self.n_jobs = n_jobs
        self.seed = seed

    def _fit(self, data: Outcomes) -> None:
        """Grow the forest."""
        from sklearn.ensemble import RandomForestRegressor

        if not 0.0 < self.leaf_prior < np.inf:
            raise PolicyError(f"ForestPolicy.leaf_prior is {self.leaf_prior!r}; give a finite number above 0")
        self.scale_ = _scales(data)
        blocks = [data.quality, data.cost] + ([] if data.latency is None else [data.latency])
        targets = np.hstack(blocks) / self.scale_
        means = np.nanmean(targets, axis=0)
        observed = ~np.isnan(targets)
        self.forest_ = RandomForestRegressor(
            self.n_estimators,
            min_samples_leaf=math.ceil(self.min_samples_leaf / (~np.isnan(data.quality)).mean()),
            max_features=self.max_features,
            max_samples=self.max_samples,
            n_jobs=self.n_jobs,
            random_state=self.seed,
        ).fit(data.X, np.where(observed, targets, means))
        self.forest_.n_jobs = 1
        if not observed.all():
            _refill_leaves(self.forest_, data.X, targets, means, self.leaf_prior)
        self.feature_importances_: Floats = self.forest_.feature_importances_
        self._graph = to_onnx(self.forest_, data.X.shape[1])
        self._start(data.providers)

    def _start(self, fitted: tuple[str, ...]) -> None:
        """Open the graph and let the arms be the fitted ones."""
        self._run = OnnxForest(self._graph)
        self.fitted_providers_ = fitted
        self._names = fitted
        self.beliefs_: dict[str, list[float | None]] = {}

    def predict(self, X: Features) -> Estimates:
        """Estimates of every arm, each (n, k)."""
        self.check_fitted()
        values = self._run(X) * self.scale_
        k = len(self.fitted_providers_)
        quality, cost = values[:, :k], values[:, k : 2 * k]
        latency = values[:, 2 * k :] if values.shape[1] > 2 * k else None
        if self.providers_ == self.fitted_providers_ and not self.beliefs_:
            return Estimates(quality, cost, latency)
        return self._rearrange(quality, cost, latency)

    def _rearrange(self, quality: Floats, cost: Floats, latency: Floats | None) -> Estimates:
        """Columns of the arms as they are now: fitted ones from the forest, added ones as believed."""
        column = {name: j for j, name in enumerate(self.fitted_providers_)}

        def arrange(values: Floats, kind: int) -> Floats:
            constant = {name: np.full(len(values), belief[kind]) for name, belief in self.beliefs_.items()}
            return np.column_stack(
                [constant[name] if name in constant else values[:, column[name]] for name in self.providers_]
            )

        return Estimates(arrange(quality, 0), arrange(cost, 1), None if latency is None else arrange(latency, 2))

    def add_provider(self, name: str, *, quality: float = 0.5, cost: float = 0.0, latency: float | None = None) -> Self:
        """Add an arm with constant estimates until the next fit; a fitted arm that was removed comes back as believed.

        Raises:
            PolicyError: the name is taken, a belief is out of its range, or the forest predicts latency and none is
                given.
        """
        self.check_fitted()
        if name in self.providers_:
            raise PolicyError(f"provider {name!r} is there already; remove it first")
        check_belief(name, quality, cost, latency)
        if latency is None and len(self.scale_) > 2 * len(self.fitted_providers_):
            raise PolicyError(f"this forest predicts latency; give add_provider({name!r}, latency=…) in seconds")
        self.beliefs_ |= {name: [quality, cost, latency]}
        self._names = (*self.providers_, name)
        return self

    def remove_provider(self, name: str) -> Self:
        """Remove an arm; the forest keeps its outputs for the others.

        Raises:
            PolicyError: the name is unknown, or it is the last arm.
        """
        self._drop_name(name)
        self.beliefs_.pop(name, None)
        return self

    def _state(self) -> Bundle:
        meta = {"fitted": list(self.fitted_providers_), "beliefs": self.beliefs_}
        arrays = {"scale": self.scale_, "feature_importances": self.feature_importances_}
        return Bundle("", meta, arrays, self._graph)

    def _restore(self, bundle: Bundle) -> None:
        if bundle.onnx is None:
            raise PolicyError("the saved forest has no ONNX graph; save the model again")
        self.scale_ = bundle.arrays["scale"]
        self.feature_importances_ = bundle.arrays["feature_importances"]
        self._graph = bundle.onnx
        names = self._names
        self._start(tuple(bundle.meta["fitted"]))
        self.beliefs_ = dict(bundle.meta["beliefs"])
        self._names = names


def _scales(data: Outcomes) -> Floats:
    """Divisor of each output column: the pooled deviation of quality, and twice their own for cost and latency."""
    k = len(data.providers)
    scales = [np.full(k, np.nanstd(data.quality))]
    scales += [np.nanstd(side, axis=0) / _SIDE_WEIGHT for side in (data.cost, data.latency) if side is not None]
    joined = np.concatenate(scales)
    return np.where(joined > 1e-12, joined, 1.0)


def _refill_leaves(forest: Any, X: NDArray[np.float32], targets: Floats, means: Floats, prior: float) -> None:
    """Set each leaf to (Σ observed in bag + prior·mean) / (count + prior), per output."""
    observed = ~np.isnan(targets)
    filled = np.where(observed, targets, 0.0)
    for tree, leaves, samples in zip(forest.estimators_, forest.apply(X).T, forest.estimators_samples_, strict=True):
        nodes = tree.tree_.node_count
        weight = np.bincount(samples, minlength=len(X)).astype(np.float64)
        for output, mean in enumerate(means):
            count = np.bincount(leaves, weight * observed[:, output], nodes)
            total = np.bincount(leaves, weight * filled[:, output], nodes)
            is_leaf = tree.tree_.children_left < 0
            tree.tree_.value[is_leaf, output, 0] = ((total + prior * mean) / (count + prior))[is_leaf]
