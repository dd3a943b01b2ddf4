"""Where a policy would be in the plane of cost and quality, with the region that the log leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from routelab.arrays import Floats
from routelab.evaluation.ope.estimators import estimate
from routelab.evaluation.ope.intervals import check_resampling, resampled
from routelab.evaluation.ope.logged import LoggedData
from routelab.evaluation.ope.study import Predictions, Study
from routelab.evaluation.ope.targets import Target
from routelab.policies.objective import Objective


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """An estimated mean cost and quality.

    Args:
        cost: USD per request.
        quality: in [0, 1].
        replicates: (b, 2) cost and quality on the same resamples.
    """

    cost: float
    quality: float
    replicates: Floats

    @property
    def covariance(self) -> Floats:
        """Covariance (2, 2) of cost and quality."""
        return np.asarray(np.cov(self.replicates, rowvar=False))

    def ellipse(self, level: float = 0.95, points: int = 64) -> Floats:
        """Points (points, 2) around the region that holds the true place with probability ``level``, by normal theory.

        >>> place = Place(0.1, 0.5, np.random.default_rng(0).normal(size=(5000, 2)))
        >>> float(place.ellipse()[:, 0].max().round(1))
        2.6
        """
        from scipy.stats import chi2

        check_resampling(level, len(self.replicates))
        angle = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
        variances, axes = np.linalg.eigh(self.covariance * chi2.ppf(level, 2))
        half_axes = np.sqrt(variances.clip(0.0)) * axes
        around = np.column_stack([np.cos(angle), np.sin(angle)]) @ half_axes.T
        border: Floats = np.array([self.cost, self.quality]) + around
        return border


def places(
    log: LoggedData,
    policies: Mapping[str, Target],
    *,
    objective: Objective = Objective(),
    estimator: str = "dr",
    n_resamples: int = 1000,
    predictions: Predictions | None = None,
    model: Any = None,
    folds: int = 5,
    max_unsupported: float = 0.01,
    seed: int = 0,
) -> dict[str, Place]:
    """Cost and quality of policies, resampled together; the arguments are those of ``evaluate``.

    The region of the direct method, and of a tuned estimator at a finite level, lacks their bias and is too small.

    Raises:
        OffPolicyError: the log does not support a policy, or knows no cost.

    >>> rng = np.random.default_rng(0)
    >>> action = rng.integers(2, size=500)
    >>> log = LoggedData(action, 0.4 + 0.2 * action, np.full(500, 0.5), ("a", "b"), cost=0.01 + 0.01 * action)
    >>> place = places(log, {"b": np.tile([0.0, 1.0], (500, 1))}, estimator="snips")["b"]
    >>> round(place.cost, 4), round(place.quality, 4)
    (0.02, 0.6)
    """
    both = ("cost", "quality")
    check_resampling(0.95, n_resamples)
    study = Study.of(
        log,
        policies,
        objective,
        [estimator],
        both,
        predictions=predictions,
        model=model,
        folds=folds,
        max_unsupported=max_unsupported,
        seed=seed,
    )
    found = {}
    for name in study.targets:
        terms = np.stack([study.terms(name, estimator, metric)[0] for metric in both], axis=1)
        cost, quality = estimate(terms.sum(axis=0))
        found[name] = Place(float(cost), float(quality), resampled(terms, n_resamples, np.random.default_rng(seed)))
    return found
