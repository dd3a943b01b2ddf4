"""What the opponents share: features as directions, outcomes as one matrix, columns observed on the same prompts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from routelab.policies.base import Estimates, Features, Floats
from routelab.policies.outcomes import Outcomes, checked


def inverse_scale(X: Features) -> NDArray[np.float32]:
    """1 / root mean square of each column (p,), 0 for a column of zeros.

    A column of another unit, like a prompt's length, then weighs as much as one of the embedding. Not centred: kNN on
    centred features captured less of the hull gap by cross-validation on training prompts (RouterBench 0.10 instead
    of 0.12, BFCL −0.28 instead of −0.07; ParetoBandit 0.11 instead of 0.10).

    >>> inverse_scale(np.array([[3.0, 0.0], [4.0, 0.0]], dtype=np.float32)).round(3)
    array([0.283, 0.   ], dtype=float32)
    """
    size = np.sqrt(np.mean(np.square(X, dtype=np.float64), axis=0))
    inverse: NDArray[np.float32] = np.where(size > 1e-12, 1.0 / np.maximum(size, 1e-12), 0.0).astype(np.float32)
    return inverse


def directions(X: Features, inverse: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features times ``inverse`` (p,) as unit vectors (n, p): a product is a cosine. A row of zeros stays one."""
    rows: NDArray[np.float32] = checked(X, len(inverse)) * inverse
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, length, out=rows, where=length > 0.0)
    return rows


def targets_of(data: Outcomes) -> Floats:
    """Quality, cost and, where observed, latency side by side, (n, 2k) or (n, 3k)."""
    return np.hstack([block for block in (data.quality, data.cost, data.latency) if block is not None])


def estimates_of(values: Floats, k: int) -> Estimates:
    """Inverse of ``targets_of`` for predictions: quality clipped to [0, 1], cost and latency to ≥ 0."""
    sides = values[:, k:].clip(0.0)
    return Estimates(values[:, :k].clip(0.0, 1.0), sides[:, :k], sides[:, k:] if sides.shape[1] > k else None)


def column_groups(targets: Floats, kind: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows and columns that can be learned together: observed on the same rows, and of the same ``kind`` (columns,).

    >>> targets = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]])
    >>> [(rows.tolist(), columns.tolist()) for rows, columns in column_groups(targets, np.zeros(3, dtype=np.intp))]
    [([1], [1]), ([0, 1], [0, 2])]
    """
    observed = ~np.isnan(targets)
    patterns, group = np.unique(np.vstack([observed, kind]), axis=1, return_inverse=True)
    for g in range(patterns.shape[1]):
        yield np.flatnonzero(patterns[:-1, g]), np.flatnonzero(group == g)
