"""ClusterPolicy: the outcomes of similar prompts' clusters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from routelab.bundle import Bundle
from routelab.policies.base import Estimates, Features, Floats, Policy
from routelab.policies.baselines.scaling import directions, estimates_of, inverse_scale, targets_of
from routelab.policies.outcomes import Outcomes

# Settings of Avengers-Pro: clusters that answer a request, and how fast their weight falls with distance.
_NEAREST = 4
_SHARPNESS = 9.0
_GRID = (1, 4, 8, 15, 30, 60, 100)
_ARRAYS = ("inverse_scale", "centers", "means")


class ClusterPolicy(Policy):
    """Avengers-Pro: k-means on prompts; a request takes the mean outcomes of its nearest four clusters.

    Weights are softmax(−9·distance) as in the authors' code. Their performance–efficiency score
    α·quality + (1 − α)·(1 − cost), both scaled, is up to scale our quality − λ·cost, and λ plays the part of α.
    Clusters do not see outcomes, so their number is chosen by leave-one-out error of the outcomes alone (their
    default is 60). Each cluster's mean counts the provider's overall mean as one more observation. References:
    Zhang et al., *Beyond GPT-5: Performance-Efficiency Optimized Routing*, 2025, arXiv:2508.12631; *The Avengers*,
    2025, arXiv:2505.19797.

    Args:
        n_clusters: number of clusters, or None for the best of 1, 4, 8, 15, 30, 60, 100.
        seed: of k-means.

    Attributes:
        centers_: (c, p) of the clusters.
        means_: (c, 2k) or (c, 3k) mean quality, cost and latency of each cluster.

    >>> X = np.eye(2).repeat(50, axis=0)
    >>> policy = ClusterPolicy(n_clusters=2).fit(X, quality=X, cost=np.ones((100, 2)))
    >>> policy.predict(np.array([[1.0, 0.0]])).quality.argmax()
    np.int64(0)
    """

    def __init__(self, n_clusters: int | None = None, seed: int = 0) -> None:
        self.n_clusters = n_clusters
        self.seed = seed

    def _fit(self, data: Outcomes) -> None:
        """Cluster the prompts, for each number of clusters tried, and keep the one that predicts quality best."""
        self.inverse_scale_ = inverse_scale(data.X)
        units, targets = directions(data.X, self.inverse_scale_), targets_of(data)
        distinct = len(np.unique(units, axis=0))
        sizes = _GRID if self.n_clusters is None else (self.n_clusters,)
        tried = sorted({min(size, distinct) for size in sizes})
        found = [_clusters(units, targets, size, len(data.providers), self.seed) for size in tried]
        best = min(found, key=lambda clusters: clusters.error)
        self.centers_, self.means_ = best.centers, best.means

    def predict(self, X: Features) -> Estimates:
        """Weighted mean outcomes of the nearest clusters, each (n, k)."""
        self.check_fitted()
        nearest, weight = _nearest(directions(X, self.inverse_scale_), self.centers_)
        return estimates_of(np.einsum("np,npt->nt", weight, self.means_[nearest]), len(self.providers_))

    def _state(self) -> Bundle:
        return Bundle("", {}, {name: getattr(self, f"{name}_") for name in _ARRAYS})

    def _restore(self, bundle: Bundle) -> None:
        for name in _ARRAYS:
            setattr(self, f"{name}_", bundle.arrays[name])


class _Clusters(NamedTuple):
    """A clustering, the mean outcomes of each cluster, and their leave-one-out error on quality."""

    centers: NDArray[np.float32]
    means: Floats
    error: float


def _nearest(units: NDArray[np.float32], centers: NDArray[np.float32]) -> tuple[NDArray[np.intp], Floats]:
    """The nearest clusters (n, ≤ 4) in order of distance, and their weights, which sum to 1."""
    square = (units**2).sum(axis=1)[:, None] - 2.0 * (units @ centers.T) + (centers**2).sum(axis=1)
    distance = np.sqrt(np.maximum(square, 0.0)).astype(np.float64)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :_NEAREST]
    distance = np.take_along_axis(distance, nearest, axis=1)
    weight = np.exp(-_SHARPNESS * (distance - distance[:, :1]))
    return nearest, weight / weight.sum(axis=1, keepdims=True)


def _clusters(units: NDArray[np.float32], targets: Floats, size: int, k: int, seed: int) -> _Clusters:
    """Cluster the prompts and judge the means on quality, each prompt's own outcomes taken out of its cluster."""
    from sklearn.cluster import KMeans

    centers = KMeans(size, n_init=1, random_state=seed).fit(units).cluster_centers_
    nearest, weight = _nearest(units, centers)
    observed, overall = ~np.isnan(targets), np.nanmean(targets, axis=0)
    excess = np.where(observed, targets - overall, 0.0)
    members = np.eye(size)[nearest[:, 0]].T
    total, count = members @ excess, members @ observed + 1.0
    means = total / count
    own = nearest[:, 0]
    # count ≥ 2 where the prompt itself was observed
    without = (total[own] - excess) / (count[own] - observed)
    others = np.einsum("np,npt->nt", weight[:, 1:], means[nearest[:, 1:]])
    error = (weight[:, :1] * without + others - excess)[:, :k]
    return _Clusters(centers, overall + means, float((error[observed[:, :k]] ** 2).sum()))
