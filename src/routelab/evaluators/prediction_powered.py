"""A mean quality from many judged answers and a few that people graded, too: prediction-powered inference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routelab.arrays import float_array
from routelab.errors import RoutelabError
from routelab.evaluators.correction import check_grades, checked_sample


@dataclass(frozen=True, slots=True)
class CorrectedMean:
    """A mean quality with its confidence interval, within [0, 1].

    Args:
        mean: the estimate.
        low: lower end of the interval.
        high: upper end.
        trust: λ in [0, 1]: how far the judge was believed; 0 is the labels alone.
    """

    mean: float
    low: float
    high: float
    trust: float


def corrected_mean(
    judged: ArrayLike, labelled_judged: ArrayLike, labelled_human: ArrayLike, alpha: float = 0.05
) -> CorrectedMean:
    """What people would say on average, by a judge whose errors a small random sample of the answers shows.

    mean(human) + λ·(mean(judged) − mean(labelled_judged)), with the λ of the least variance, and a t interval
    (Angelopoulos et al., *Prediction-Powered Inference*, 2023; *PPI++*, 2024, example 6.1). However wrong the judge is,
    the estimate is as good as unbiased and the interval no wider than that of the labels alone. It is one of means: it
    takes at least five labels that differ from the others, or many scores between 0 and 1.

    Args:
        judged: (N,) the judge's scores of the answers that nobody labelled.
        labelled_judged: (n,) its scores of those that people graded.
        labelled_human: (n,) what people said of them.
        alpha: 1 − the confidence level, in (0, 1).

    Raises:
        RoutelabError: a value is outside [0, 1], there are fewer than 10 labels, or alpha is no level.

    >>> rng = np.random.default_rng(0)
    >>> right = rng.random(2_000) < 0.7
    >>> judged = np.where(rng.random(2_000) < 0.9, right, True)  # it takes one in ten for right unseen
    >>> found = corrected_mean(judged[100:], judged[:100], right[:100])
    >>> round(found.mean, 2), round(found.low, 2), round(found.high, 2)
    (0.71, 0.68, 0.74)
    """
    from scipy.special import stdtrit

    if not 0.0 < alpha < 1.0:
        raise RoutelabError(f"alpha is {alpha!r}; give 1 − the confidence level, such as 0.05")
    scores = float_array("judged", judged, ndim=1)
    check_grades("judged", scores)
    seen, labels = checked_sample(labelled_judged, labelled_human)
    if not len(scores):
        raise RoutelabError("judged is empty; give the scores of the answers without a label")
    n, share = len(labels), len(labels) / len(scores)
    covariance = np.cov(seen, labels)
    spread = covariance[0, 0] * (1.0 + share)
    trust = float(np.clip(covariance[0, 1] / spread, 0.0, 1.0)) if spread else 0.0
    mean = float(labels.mean() + trust * (scores.mean() - seen.mean()))
    variance = covariance[1, 1] - 2.0 * trust * covariance[0, 1] + trust * trust * spread
    radius = float(stdtrit(n - 1, 1.0 - alpha / 2.0)) * math.sqrt(max(variance, 0.0) / n)
    return CorrectedMean(
        mean=min(max(mean, 0.0), 1.0), low=max(mean - radius, 0.0), high=min(mean + radius, 1.0), trust=trust
    )
