"""ForestBanditPolicy: a forest says what to expect, a linear bandit learns online where it errs."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import clone

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.base import Features, Floats
from routelab.policies.forest import ForestPolicy
from routelab.policies.linear import LinTSPolicy
from routelab.policies.linear_arms import COST_FLOOR
from routelab.policies.outcomes import Outcomes
from routelab.reduction import COMPONENTS, reduce_columns


class ForestBanditPolicy(LinTSPolicy):
    """Thompson sampling around a forest: quality = forest(x) + z·θ_a + noise, and cost likewise.

    ``fit`` grows the forest, reduces the features to at most 25 principal components z, and lets the residual start at
    zero with the certainty that the forest's training outcomes give; every outcome then moves θ_a at once, where the
    forest would wait for its next fit. Before a fit it is ``LinTSPolicy`` on the features as they are. An arm that
    is added later is learned by its regression alone, from what is believed of it.

    Args:
        forest: settings of the forest (it is not itself fitted); None means ``ForestPolicy()``.
        alpha: standard deviation of the draws in standard errors, ≥ 0.
        ridge: prior precision > 0 of the residual; None takes it from the scale of the components.
        wander: variance per decision by which the level of an arm may drift, in units of its noise.
        forgetting: factor per decision by which evidence on the residual fades, in (0, 1].
        flip_share: share of rewards that are believed to come flipped, in [0, 0.5).

    Attributes:
        forest_: the fitted forest, or None.

    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> quality = np.column_stack([X[:, 0] > 0, np.full(200, 0.5)]).astype(float)
    >>> policy = ForestBanditPolicy(ForestPolicy(n_estimators=20)).fit(X, quality, np.full((200, 2), 0.01))
    >>> for _ in range(100):
    ...     policy.update(X[0], 1, 0.9)
    >>> bool(policy.predict(X[:1]).quality[0, 1] > 0.6)
    True
    """

    def __init__(
        self,
        forest: ForestPolicy | None = None,
        alpha: float = 0.5,
        ridge: float | None = None,
        wander: float = 1e-4,
        forgetting: float = 1.0,
        flip_share: float = 0.0,
    ) -> None:
        super().__init__(alpha, ridge, wander, forgetting, flip_share)
        self.forest = forest

    _forest: ForestPolicy | None = None
    _weights: Floats | None = None

    @property
    def forest_(self) -> ForestPolicy | None:
        """The fitted forest, or None before a fit."""
        return self._forest

    def _fit(self, data: Outcomes) -> None:
        """Grow the forest and start the residual at zero."""
        forest = ForestPolicy() if self.forest is None else clone(self.forest)
        self._forest = forest.fit(data.X, data.quality, data.cost, providers=data.providers)
        self._weights, self._offset = reduce_columns(data.X, COMPONENTS)
        expected = forest.expect(data.X)
        self._warm_up(data, data.quality - expected.quality, data.cost - expected.cost)
        self.arms_.coef[:] = 0.0

    def _components(self, X: Features) -> Features:
        """Principal components (…, c) of features (…, p); the features themselves before a fit."""
        if self._weights is None:
            return X
        if X.shape[-1] != len(self._weights):
            raise PolicyError(f"the policy was fitted on {len(self._weights)} features, got {X.shape[-1]}")
        return np.asarray(X @ self._weights + self._offset)

    def _forest_says(self, X: Features) -> tuple[Floats, Floats, Floats]:
        """Quality, cost and least cost by the forest for its arms, the first ones; 0, 0 and that of the others' means.

        Each is (n, k).
        """
        quality, cost, least = np.zeros((3, len(X), len(self.providers_)))
        least[:] = self.arms_.floor
        if self.forest_ is not None:
            expected, k = self.forest_.expect(X), len(self.forest_.providers_)
            quality[:, :k], cost[:, :k], least[:, :k] = expected.quality, expected.cost, COST_FLOOR * expected.cost
        return quality, cost, least

    def _believed(self, X: Features) -> tuple[Floats, Floats, Floats]:
        quality, cost, deviation = self._linear(X)
        known, paid, least = self._forest_says(X)
        return quality + known, np.maximum(cost + paid, least), deviation

    def _believed_one(self, x: Features) -> tuple[Floats, Floats, Floats]:
        quality, cost, deviation = self._linear_one(x)
        known, paid, least = self._forest_says(x[None, :])
        return quality + known[0], np.maximum(cost + paid[0], least[0]), deviation

    def _learn(
        self, x: Features, z: Floats, arm: int, reward: float, cost: float | None, age: int, blur: float
    ) -> None:
        """Learn what the forest did not expect."""
        known, paid, _ = self._forest_says(x[None, :])
        rest = None if cost is None else cost - float(paid[0, arm])
        super()._learn(x, z, arm, reward - float(known[0, arm]), rest, age, blur)

    def remove_provider(self, name: str) -> Self:
        """Remove an arm and what it learned; PolicyError where it is unknown or the last."""
        super().remove_provider(name)
        if self._forest is not None and name in self._forest.providers_:
            if len(self._forest.providers_) == 1:
                self._forest = None
            else:
                self._forest.remove_provider(name)
        return self

    def reprice_provider(self, name: str, factor: float) -> Self:
        """From now on expect ``factor`` (> 0) times the cost of one arm; PolicyError for an unknown name or factor."""
        super().reprice_provider(name, factor)
        if self._forest is not None and name in self._forest.providers_:
            self._forest.reprice_provider(name, factor)
        return self

    def _state(self) -> Bundle:
        state = super()._state()
        if self._weights is None:
            return state
        projection = {"weights": self._weights, "offset": self._offset}
        if self._forest is None:
            return Bundle("", state.meta, dict(state.arrays) | projection)
        forest = self._forest.to_bundle()
        arrays = dict(state.arrays) | {f"forest_{name}": array for name, array in forest.arrays.items()}
        arrays |= projection
        return Bundle("", dict(state.meta) | {"forest": dict(forest.meta)}, arrays, forest.onnx)

    def _restore(self, bundle: Bundle) -> None:
        super()._restore(bundle)
        if "forest" in bundle.meta:
            prefix = "forest_"
            arrays = {k.removeprefix(prefix): v for k, v in bundle.arrays.items() if k.startswith(prefix)}
            self._forest = ForestPolicy.from_bundle(Bundle("ForestPolicy", bundle.meta["forest"], arrays, bundle.onnx))
        if "weights" in bundle.arrays:
            self._weights, self._offset = bundle.arrays["weights"], bundle.arrays["offset"]
