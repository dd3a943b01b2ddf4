"""Estimates without features: the training mean of each arm."""

from __future__ import annotations

import numpy as np

from routelab.bundle import Bundle
from routelab.policies.base import Estimates, Features, Floats, Policy
from routelab.policies.outcomes import Outcomes


def column_means(data: Outcomes) -> Floats:
    """Means (3, k) of quality, cost and latency over the observed cells; latency is NaN where never observed."""
    latency = np.full(len(data.providers), np.nan) if data.latency is None else np.nanmean(data.latency, axis=0)
    return np.stack([np.nanmean(data.quality, axis=0), np.nanmean(data.cost, axis=0), latency])


def repeat_means(means: Floats, n: int) -> Estimates:
    """The same estimates (n, k) for each of ``n`` requests."""
    quality, cost, latency = (np.broadcast_to(row, (n, means.shape[1])) for row in means)
    return Estimates(quality, cost, None if np.isnan(means[2]).any() else latency)


class MeansPolicy(Policy):
    """Training means: no features, the best single provider for each trade-off (``train-means``).

    Attributes:
        means_: (3, k) mean quality, cost in USD, latency in seconds (NaN = never observed).

    >>> policy = MeansPolicy().fit(np.zeros((2, 1)), np.array([[0.2, 1.0], [0.4, 0.8]]), np.ones((2, 2)))
    >>> policy.predict(np.zeros((1, 1))).quality.round(3)
    array([[0.3, 0.9]])
    """

    def _fit(self, data: Outcomes) -> None:
        """Take the means."""
        self.means_ = column_means(data)

    def predict(self, X: Features) -> Estimates:
        """Training means of every arm, each (n, k)."""
        self.check_fitted()
        return repeat_means(self.means_, len(X))

    def _state(self) -> Bundle:
        return Bundle("", {}, {"means": self.means_})

    def _restore(self, bundle: Bundle) -> None:
        self.means_ = bundle.arrays["means"]
