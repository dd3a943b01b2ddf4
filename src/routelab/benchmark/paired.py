"""Paired comparison of a policy with a provider on the same prompts, where prompts of the same text are one draw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats
from routelab.evaluation.bootstrap import Interval, percentile_interval, resample_weights

Groups = NDArray[np.intp]
_DEAREST = 10  # prompts, or a sixth of fewer than sixty
Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


def standard_error(difference: Floats, group: Groups) -> float:
    """Standard error of the mean of ``difference`` (n,), whose prompts come in groups (n,), numbered from 0.

    Two prompts more are counted, one won and one lost: a handful of prompts on which two providers happen to be equal
    would otherwise prove them equal. After the adjusted interval for paired proportions of Bonett and Price (2012),
    doi 10.3102/1076998611411915; groups by the cluster-robust variance.

    >>> alone = standard_error(np.array([0.5, -0.5] * 50), np.arange(100))
    >>> twice = standard_error(np.repeat([0.5, -0.5] * 50, 2), np.repeat(np.arange(100), 2))
    >>> round(alone, 4), round(twice, 4)
    (0.0512, 0.0502)
    """
    sums = np.append(np.bincount(group, weights=difference - difference.mean()), [1.0, -1.0])
    return float(np.sqrt(len(sums) / (len(sums) - 1.0) * (sums**2).sum()) / (len(difference) + 2.0))


def saving_interval(cost: Floats, baseline: Floats, group: Groups, resamples: int, seed: int) -> Interval:
    """1 − mean cost / mean baseline (both (n,), USD) with a 95 % interval: bootstrap over groups of prompts."""
    sums = np.column_stack([np.bincount(group, weights=one) for one in (cost, baseline)])
    drawn = resample_weights(len(sums), resamples, np.random.default_rng([seed, 1]))
    means = np.vstack([sums.sum(axis=0), *(weights @ sums for weights in drawn)])
    # who pays where the baseline is free loses all; where both are free, nothing is lost
    worst = np.where(means[:, 0] > 0.0, -np.inf, 0.0)
    saving = 1.0 - np.divide(means[:, 0], means[:, 1], out=1.0 - worst, where=means[:, 1] > 0.0)
    low, high = np.quantile(saving[1:], [0.025, 0.975], method="inverted_cdf")  # no mean of infinities
    return Interval(float(saving[0]), float(low), float(high))


def difference_interval(difference: Floats, group: Groups, resamples: int, seed: int) -> Interval:
    """Mean of ``difference`` (n,) with a 95 % interval: bootstrap over groups, with one won and one lost added."""
    sums = np.append(np.bincount(group, weights=difference), [1.0, -1.0])
    sizes = np.append(np.bincount(group), [1, 1])
    drawn = resample_weights(len(sums), resamples, np.random.default_rng([seed, 2]))
    means = np.concatenate([weights @ sums / (weights @ sizes) for weights in drawn])
    return percentile_interval(float(difference.mean()), means)


def is_dominated(cost: Floats) -> bool:
    """Whether the ten dearest prompts carry a third of the cost (n,): no interval of a mean holds then.

    >>> is_dominated(np.ones(100)), is_dominated(np.append(np.ones(100), [500.0]))
    (False, True)
    """
    few = min(_DEAREST, len(cost) // 6)
    return bool(np.sort(cost)[len(cost) - few :].sum() > cost.sum() / 3.0)


def least_prompts(tolerance: float) -> int | None:
    """Fresh prompts without which nothing is proven at a ``tolerance``, even where nothing differs; None: no number.

    >>> least_prompts(0.01), least_prompts(0.05), least_prompts(0.0)
    (276, 54, None)
    """
    return int(np.ceil(Z * np.sqrt(2.0) / tolerance)) - 2 if tolerance > 0.0 else None
