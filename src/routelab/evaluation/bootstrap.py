"""The bootstrap over prompts: multinomial weights, so that a resampled mean is one matrix product.

Reference: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 6 and 13 (percentiles).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from routelab.arrays import Floats, float_array
from routelab.errors import RoutelabError

_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval.

    >>> Interval(0.2, 0.1, 0.3).as_dict()
    {'estimate': 0.2, 'low': 0.1, 'high': 0.3}
    """

    estimate: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """The three numbers by name, for JSON."""
        return asdict(self)


def resample_weights(n: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each of ``n`` prompts is drawn in each resample, in blocks that stay small in memory.

    Multiplying one block with several matrices of n rows resamples all of them alike: a paired bootstrap.

    Yields:
        (b, n) counts, every row adding up to n; ``n_resamples`` rows in all.

    Raises:
        RoutelabError: no prompts, or fewer than two resamples.

    >>> weights = next(resample_weights(4, 2, np.random.default_rng(0)))
    >>> weights.shape, weights.sum(axis=1)
    ((2, 4), array([4., 4.]))
    """
    if n < 1 or n_resamples < 2:
        raise RoutelabError(
            f"a bootstrap of {n} prompts with {n_resamples} resamples; give ≥ 1 prompt and ≥ 2 resamples"
        )
    size = max(1, _CELLS // n)
    for begin in range(0, n_resamples, size):
        rows = min(size, n_resamples - begin)
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def percentile_interval(estimate: float, replicates: Floats) -> Interval:
    """``estimate`` with the 2.5 and 97.5 % quantiles of ``replicates`` (r,); undefined ones (NaN) are left out.

    >>> percentile_interval(60.0, np.arange(121.0))
    Interval(estimate=60.0, low=3.0, high=117.0)
    """
    low, high = np.nanquantile(replicates, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high))


def bootstrap_mean(values: ArrayLike, n_resamples: int, rng: np.random.Generator) -> Interval:
    """Mean of ``values`` (n,) over prompts; given differences of two policies, a paired bootstrap.

    Raises:
        RoutelabError: an empty array, or one that is not finite.

    >>> bootstrap_mean([0.5, 0.5, 0.5], n_resamples=10, rng=np.random.default_rng(0))
    Interval(estimate=0.5, low=0.5, high=0.5)
    """
    sample = float_array("values", values, ndim=1)
    sums = [weights @ sample for weights in resample_weights(sample.size, n_resamples, rng)]
    return percentile_interval(sample.mean(), np.concatenate(sums) / sample.size)
