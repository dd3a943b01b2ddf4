"""Moments: all that the analysis keeps of its data, so that any amount of it is read once, in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from routelab.arrays import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Count, means and central second moments of n rows of d numbers.

    Two of them add up to the moments of all their rows, without loss where the mean is large beside the spread (Chan,
    Golub & LeVeque, *Algorithms for Computing the Sample Variance*, 1983).

    Args:
        count: n.
        mean: (d,); 0 where there are no rows.
        scatter: (d, d) sums of products of deviations from the means.
        least: (d,); ∞ where there are no rows.
        most: (d,); −∞ where there are none.

    >>> rows = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])
    >>> both = Moments.of(rows[:1]) + Moments.of(rows[1:])
    >>> both.count, both.mean, both.covariance
    (3, array([3., 4.]), array([[ 4.,  6.],
           [ 6., 12.]]))
    """

    count: int
    mean: Floats
    scatter: Floats
    least: Floats
    most: Floats

    @classmethod
    def of(cls, rows: Floats) -> Self:
        """The moments of ``rows`` (n, d); none is a row too."""
        mean = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
        deviations = rows - mean
        least, most = rows.min(axis=0, initial=np.inf), rows.max(axis=0, initial=-np.inf)
        return cls(len(rows), mean, deviations.T @ deviations, least, most)

    def __add__(self, other: Self) -> Self:
        count = self.count + other.count
        if not count:
            return self
        step = other.mean - self.mean
        between = np.outer(step, step) * (self.count * other.count / count)
        mean, scatter = self.mean + step * (other.count / count), self.scatter + other.scatter + between
        return type(self)(count, mean, scatter, np.minimum(self.least, other.least), np.maximum(self.most, other.most))

    @property
    def covariance(self) -> Floats:
        """(d, d), with n − 1 in the denominator; 0 of fewer than two rows."""
        return self.scatter / max(self.count - 1, 1)
