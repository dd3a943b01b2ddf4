"""ForestPolicy: one RandomForest that predicts quality, cost and latency of every provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.base import Choice, Estimates, Features, Floats, Policy
from routelab.policies.calibration import Belief
from routelab.policies.forest_model import learn, sampling_errors, select_leaf
from routelab.policies.objective import Objective
from routelab.policies.onnx_forest import OnnxForest, second_moments, to_onnx
from routelab.policies.outcomes import Outcomes, check_belief, check_factor
from routelab.policies.trees import Settings

_ARRAYS = ("scale", "offset", "error_factor", "mean_error", "feature_importances")


class ForestPolicy(Policy):
    """A multi-output RandomForest (Breiman, *Random Forests*, 2001) over request features; one fit serves every λ.

    Its outputs are quality, cost and (where observed) latency of each provider. Half of its trees have random split
    thresholds (Geurts et al., *Extremely Randomized Trees*, 2006): the two kinds err in different ways. Splits look
    for what tells providers apart. Then, by predictions that did not see the prompt (out-of-bag), it is decided how
    much of a ridge regression to blend in and how far to shrink towards the training means; without a signal in the
    features requests are routed by the training means. A request that comes several times counts once, with its
    mean outcomes. All of this is folded into the leaves and one matrix of weights, so that a decision costs a walk
    through the trees and one product. Standard errors say how an estimate would vary with the training prompts; the
    bias of shrinking and of leaves is not in them.

    Args:
        n_estimators: trees.
        min_samples_leaf: graded outcomes of each provider that a leaf holds at least, on average; with missing
            outcomes a leaf holds accordingly more prompts. Of a list, the size is taken whose trees predict
            differences between providers best out-of-bag.
        max_features: share of the features tried at each split, in (0, 1], or "sqrt".
        max_samples: prompts that each tree sees at most.
        random_splits: share of the trees with random thresholds, in [0, 1].
        calibrate: choose blend and shrinkage; else the trees are believed as they are.
        leaf_prior: with missing outcomes, the weight (in observations, > 0) of the provider's mean in each leaf.
        n_jobs: threads of the fit; what is learned does not depend on it.
        seed: of bootstrap and splits.

    Attributes:
        min_samples_leaf_: the size that was used.
        belief_: share of the linear part, and the factors of what providers share, of their differences, and of cost.
        feature_importances_: (p,) mean decrease of impurity in the trees, sums to 1.

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
        min_samples_leaf: int | list[int] = 10,
        max_features: float | str = 0.33,
        max_samples: int = 10_000,
        random_splits: float = 0.5,
        calibrate: bool = True,
        leaf_prior: float = 1.0,
        n_jobs: int = 2,
        seed: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.max_samples = max_samples
        self.random_splits = random_splits
        self.calibrate = calibrate
        self.leaf_prior = leaf_prior
        self.n_jobs = n_jobs
        self.seed = seed

    def _fit(self, data: Outcomes) -> None:
        """Grow the trees, choose what to believe of them, and fold it into the leaves."""
        data, params = data.distinct(), self.get_params(deep=False)
        sizes = np.atleast_1d(params.pop("min_samples_leaf")).tolist()
        del params["calibrate"]
        settings = select_leaf(data, [Settings(min_samples_leaf=size, **params) for size in sizes])
        model = learn(data, settings, self.calibrate)
        self.belief_, self.min_samples_leaf_ = model.belief, settings.min_samples_leaf
        self.error_factor_, self.mean_error_ = sampling_errors(data, settings, self.calibrate, model)
        self.scale_, self.offset_ = model.trees.scale, model.trees.mean.copy()
        self.linear_: Floats | None = None
        if model.weights is not None:
            self.linear_, intercept = model.weights
            self.offset_[: len(intercept)] += intercept
        model.trees.fold(model.believed, model.belief.cost)
        self.forest_ = model.trees.forest
        self.feature_importances_: Floats = self.forest_.feature_importances_
        self._graph = to_onnx(self.forest_, data.X.shape[1])
        self._start(data.providers)

    def _start(self, fitted: tuple[str, ...]) -> None:
        """Open the graph and let the arms be the fitted ones."""
        self._run = OnnxForest(self._graph)
        self._moments: OnnxForest | None = None
        self.fitted_providers_ = fitted
        self._names = fitted
        self.beliefs_: dict[str, list[float | None]] = {}
        self.price_factors_ = np.ones(len(fitted))

    def predict(self, X: Features) -> Estimates:
        """Estimates of every arm, each (n, k), with the standard error of quality."""
        self.check_fitted()
        values = self._run(X)
        estimates = self._estimates(values, X)
        k = len(self.fitted_providers_)
        if self._moments is None:
            self._moments = OnnxForest(second_moments(self._graph, k))
        deviations = values[:, :k].astype(np.float64)
        between = (self._moments(X) - deviations**2).clip(0.0) * self.scale_[:k] ** 2
        error = np.sqrt(self.mean_error_**2 + self.error_factor_**2 * between)
        return replace(estimates, quality_se=self._arrange(error, [np.nan] * len(self.beliefs_)))

    def expect(self, X: Features) -> Estimates:
        """What ``predict`` gives but for the standard errors: the decision path."""
        self.check_fitted()
        return self._estimates(self._run(X), X)

    def _estimates(self, values: NDArray[np.float32], X: Features) -> Estimates:
        """Outputs (n, m) of the trees, and the linear part, in the units of the outcomes."""
        outcomes = values * self.scale_
        outcomes += self.offset_
        k = len(self.fitted_providers_)
        quality = outcomes[:, :k]
        if self.linear_ is not None:
            quality += X @ self.linear_
        if quality.max(initial=0.0) > 1.0:  # the best arm is held, the others keep their distance to it
            quality -= (quality.max(axis=1, keepdims=True) - 1.0).clip(0.0)
        np.maximum(outcomes, 0.0, out=outcomes)
        outcomes[:, k : 2 * k] *= self.price_factors_
        cost, latency = outcomes[:, k : 2 * k], outcomes[:, 2 * k :] if outcomes.shape[1] > 2 * k else None
        if self.providers_ == self.fitted_providers_ and not self.beliefs_:
            return Estimates(quality, cost, latency)
        believed = list(zip(*self.beliefs_.values(), strict=True)) or [(), (), ()]
        return Estimates(
            self._arrange(quality, believed[0]),
            self._arrange(cost, believed[1]),
            None if latency is None else self._arrange(latency, believed[2]),
        )

    def _arrange(self, values: Floats, believed: Sequence[float | None]) -> Floats:
        """Columns of the arms as they are now: fitted ones from ``values``, added ones as ``believed``."""
        column = {name: values[:, j] for j, name in enumerate(self.fitted_providers_)}
        column |= {name: np.full(len(values), value) for name, value in zip(self.beliefs_, believed, strict=True)}
        return np.column_stack([column[name] for name in self.providers_])

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Choose the arm of the highest utility for the features (p,) of one request; computes no standard error."""
        estimates = self.expect(np.asarray(x)[None, :])
        return Choice(int(estimates.scores(objective)[0].argmax()), 1.0, estimates)

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

    def reprice_provider(self, name: str, factor: float) -> Self:
        """Expect ``factor`` (> 0) times the cost of one arm until the next fit.

        Raises:
            PolicyError: the name is unknown, or the factor no finite number > 0.
        """
        check_factor(f"the factor of the price of {name!r}", factor)
        self._position(name)
        if name in self.beliefs_:
            quality, cost, latency = self.beliefs_[name]
            self.beliefs_[name] = [quality, factor * (cost or 0.0), latency]
        else:
            self.price_factors_[self.fitted_providers_.index(name)] *= factor
        return self

    def _state(self) -> Bundle:
        meta = {
            "fitted": list(self.fitted_providers_),
            "beliefs": self.beliefs_,
            "belief": asdict(self.belief_),
            "min_samples_leaf": self.min_samples_leaf_,
        }
        arrays = {name: getattr(self, f"{name}_") for name in (*_ARRAYS, "price_factors")}
        if self.linear_ is not None:
            arrays["linear"] = self.linear_
        return Bundle("", meta, arrays, self._graph)

    def _restore(self, bundle: Bundle) -> None:
        if bundle.onnx is None:
            raise PolicyError("the saved forest has no ONNX graph; save the model again")
        for name in _ARRAYS:
            setattr(self, f"{name}_", bundle.arrays[name])
        self.linear_ = bundle.arrays.get("linear")
        self.belief_ = Belief(**{part.name: float(bundle.meta["belief"][part.name]) for part in fields(Belief)})
        self.min_samples_leaf_ = bundle.meta["min_samples_leaf"]
        self._graph = bundle.onnx
        names = self._names
        self._start(tuple(bundle.meta["fitted"]))
        self.beliefs_, self.price_factors_ = dict(bundle.meta["beliefs"]), bundle.arrays["price_factors"]
        self._names = names
