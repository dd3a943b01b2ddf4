"""KNNPolicy: the outcomes of the most similar prompts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.base import Estimates, Features, Floats, Policy
from routelab.policies.baselines.scaling import column_groups, directions, estimates_of, inverse_scale, targets_of
from routelab.policies.outcomes import Outcomes

# Prompts whose similarities to all training prompts are held at once.
BLOCK = 128


class KNNPolicy(Policy):
    """Mean outcome of the k nearest training prompts by cosine: the kNN router of RouterBench and RouterArena.

    Of each provider the k nearest prompts that were observed count, so a missing outcome costs that cell only.
    References: Hu et al., *RouterBench: A Benchmark for Multi-LLM Routing System*, 2024, arXiv:2403.12031 (k = 40);
    Lu et al., *RouterArena*, 2025, arXiv:2510.00202.

    Args:
        n_neighbors: k ≥ 1.

    >>> X = np.eye(2).repeat(50, axis=0)
    >>> policy = KNNPolicy().fit(X, quality=np.hstack([X, X[:, :1]]), cost=np.ones((100, 3)))
    >>> policy.predict(np.array([[2.0, 0.1]])).quality
    array([[1., 0., 1.]])
    """

    def __init__(self, n_neighbors: int = 40) -> None:
        self.n_neighbors = n_neighbors

    def _fit(self, data: Outcomes) -> None:
        """Keep the prompts and their outcomes."""
        self.inverse_scale_ = inverse_scale(data.X)
        self.units_ = directions(data.X, self.inverse_scale_)
        self.targets_ = targets_of(data)
        self.neighbors_ = self._neighbors(len(data.providers))

    def _neighbors(self, k: int) -> NDArray[np.intp]:
        """Neighbours that each column of the outcomes is averaged over."""
        if self.n_neighbors < 1:
            raise PolicyError(f"{type(self).__name__}.n_neighbors is {self.n_neighbors!r}; give a number ≥ 1")
        return np.full(self.targets_.shape[1], self.n_neighbors)

    def predict(self, X: Features) -> Estimates:
        """Mean outcomes of the neighbours, each (n, k)."""
        self.check_fitted()
        queries = directions(X, self.inverse_scale_)
        values: Floats = np.empty((len(queries), self.targets_.shape[1]))
        for rows, columns in column_groups(self.targets_, self.neighbors_):
            units, targets = self.units_[rows], self.targets_[np.ix_(rows, columns)]
            count = min(int(self.neighbors_[columns[0]]), len(rows))
            for start in range(0, len(queries), BLOCK):
                similarity = queries[start : start + BLOCK] @ units.T
                nearest = np.argpartition(similarity, -count, axis=1)[:, -count:]
                values[start : start + BLOCK, columns] = targets[nearest].mean(axis=1)
        return estimates_of(values, len(self.providers_))

    def _state(self) -> Bundle:
        arrays = {"inverse_scale": self.inverse_scale_, "units": self.units_}
        return Bundle("", {}, arrays | {"targets": self.targets_, "neighbors": self.neighbors_})

    def _restore(self, bundle: Bundle) -> None:
        self.inverse_scale_, self.units_ = bundle.arrays["inverse_scale"], bundle.arrays["units"]
        self.targets_, self.neighbors_ = bundle.arrays["targets"], bundle.arrays["neighbors"]
