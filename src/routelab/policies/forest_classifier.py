"""ForestClassifierPolicy: the classic router, a RandomForest that predicts the best provider's label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.base import Choice, Estimates, Features, Floats, Policy
from routelab.policies.means import column_means, repeat_means
from routelab.policies.objective import Objective
from routelab.policies.onnx_forest import OnnxForest, to_onnx
from routelab.policies.outcomes import Outcomes

_WORST = 1e12


def best_labels(quality: Floats, cost: Floats, latency: Floats | None, objective: Objective) -> NDArray[np.intp]:
    """Best observed arm (n,) of each prompt under ``objective``; −1 where fewer than two arms were observed.

    With one arm observed there is nothing to compare, so such prompts carry no label. Latency counts only where the
    objective does.

    >>> best_labels(np.array([[0.9, 0.5], [np.nan, 1.0]]), np.zeros((2, 2)), None, Objective())
    array([ 0, -1])
    """
    observed = ~np.isnan(quality) & ~np.isnan(cost)
    if latency is not None and (objective.latency_weight or objective.max_latency is not None):
        observed &= ~np.isnan(latency)
        latency = np.where(observed, latency, _WORST)
    # an unobserved arm must neither win nor decide which arms meet the constraints: it gets the worst of everything
    scores = objective.scores(np.where(observed, quality, -_WORST), np.where(observed, cost, _WORST), latency)
    return np.where(observed.sum(axis=1) >= 2, scores.argmax(axis=1), -1)


class ForestClassifierPolicy(Policy):
    """A ``RandomForestClassifier`` over the label argmax of the objective on the recorded outcomes.

    It serves one trade-off, the one it was fitted for; another one needs another fit. ``predict`` gives training
    means, since the labels carry no estimates.

    Args:
        objective: the trade-off that defines the labels.
        n_estimators: trees.
        min_samples_leaf: training prompts a leaf holds at least.
        max_features: share of the features tried at each split, in (0, 1], or "sqrt".
        n_jobs: threads of the fit; the result does not depend on it.
        seed: of bootstrap and splits.

    Attributes:
        labelled_: number of training prompts with at least two observed arms.

    >>> X = np.array([[0.0], [1.0]] * 50)
    >>> quality = np.where(X == 0.0, [[1.0, 0.0]], [[0.0, 1.0]])
    >>> policy = ForestClassifierPolicy(n_estimators=10).fit(X, quality, np.zeros((100, 2)))
    >>> policy.action_probabilities(np.array([[0.0], [1.0]]), Objective())
    array([[1., 0.],
           [0., 1.]])
    """

    def __init__(
        self,
        objective: Objective = Objective(),
        n_estimators: int = 100,
        min_samples_leaf: int = 10,
        max_features: float | str = "sqrt",
        n_jobs: int = 2,
        seed: int = 0,
    ) -> None:
        self.objective = objective
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.n_jobs = n_jobs
        self.seed = seed

    def _fit(self, data: Outcomes) -> None:
        """Label the prompts and grow the forest.

        Raises:
            PolicyError: additionally, where no prompt has two observed arms.
        """
        from sklearn.ensemble import RandomForestClassifier

        labels = best_labels(data.quality, data.cost, data.latency, self.objective)
        known = labels >= 0
        if not known.any():
            raise PolicyError("no prompt was answered by two providers, so none has a best label; use ForestPolicy")
        self.labelled_ = int(known.sum())
        forest = RandomForestClassifier(
            self.n_estimators,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            n_jobs=self.n_jobs,
            random_state=self.seed,
        ).fit(data.X[known], labels[known])
        self.classes_ = forest.classes_
        self.feature_importances_: Floats = forest.feature_importances_
        self.means_ = column_means(data)
        self._graph = to_onnx(forest, data.X.shape[1])
        self._run = OnnxForest(self._graph)

    def predict(self, X: Features) -> Estimates:
        """Training means of every arm, each (n, k)."""
        self.check_fitted()
        return repeat_means(self.means_, len(X))

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """One-hot (n, k) at the predicted label.

        Raises:
            PolicyError: ``objective`` is not the one that defined the labels.
        """
        self.check_fitted()
        if objective != self.objective:
            raise PolicyError(f"this classifier was fitted for {self.objective!r}; fit another one for {objective!r}")
        out = np.zeros((len(X), len(self.providers_)))
        out[np.arange(len(X)), self.classes_[self._run(X).argmax(axis=1)]] = 1.0
        return out

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Choose the predicted label, propensity 1."""
        arm = int(self.action_probabilities(x[None, :], objective)[0].argmax())
        return Choice(arm, 1.0, self.predict(x[None, :]))

    def _state(self) -> Bundle:
        arrays = {
            "classes": self.classes_,
            "means": self.means_,
            "feature_importances": self.feature_importances_,
        }
        return Bundle("", {"labelled": self.labelled_}, arrays, self._graph)

    def _restore(self, bundle: Bundle) -> None:
        self.classes_, self.means_ = bundle.arrays["classes"], bundle.arrays["means"]
        self.feature_importances_ = bundle.arrays["feature_importances"]
        self.labelled_ = int(bundle.meta["labelled"])
        if bundle.onnx is None:
            raise PolicyError("the saved forest has no ONNX graph; save the model again")
        self._graph = bundle.onnx
        self._run = OnnxForest(self._graph)
