"""The upper hull of cost-quality points, and the mean quality along a path through some of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routelab.arrays import Floats, float_array
from routelab.errors import RoutelabError

_IN_LINE = 1e-9


def upper_hulls(cost: Floats, quality: Floats) -> NDArray[np.intp]:
    """Upper concave non-decreasing envelopes of ``r`` sets of points at once, by gift wrapping.

    Args:
        cost: (r, s), s ≥ 1.
        quality: (r, s).

    Returns:
        (r, h) column indices in cost order; a row with fewer than h vertices repeats its last one.

    >>> cost = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    >>> upper_hulls(cost, quality=np.array([[0.1, 0.8, 0.9], [0.5, 0.4, 0.3]]))
    array([[0, 1, 2],
           [0, 0, 0]])
    """
    rows = np.arange(len(cost))
    cheapest = cost == cost.min(axis=1, keepdims=True)
    path = [np.argmax(np.where(cheapest, quality, -np.inf), axis=1)]
    while True:
        run = cost - cost[rows, path[-1], None]
        rise = quality - quality[rows, path[-1], None]
        ahead = (run > 0.0) & (rise > 0.0)
        if not ahead.any():
            return np.stack(path, axis=1)
        slope = np.full(cost.shape, -np.inf)
        with np.errstate(over="ignore"):
            np.divide(rise, run, out=slope, where=ahead)
        # Of points in line within rounding only the farthest is a vertex.
        steepest = ahead & (slope >= slope.max(axis=1, keepdims=True) * (1.0 - _IN_LINE))
        farthest = np.argmax(np.where(steepest, quality, -np.inf), axis=1)
        path.append(np.where(ahead.any(axis=1), farthest, path[-1]))


def upper_hull(cost: ArrayLike, quality: ArrayLike) -> NDArray[np.intp]:
    """Vertices of the upper concave, non-decreasing envelope of points (cost, quality), in cost order.

    Mixing two neighbours at random reaches every point between them; beyond the last nothing is gained.

    Args:
        cost: (n,) finite.
        quality: (n,) finite.

    Returns:
        Indices (h,) with increasing cost, increasing quality and falling slope; empty for no points.

    Raises:
        RoutelabError: a value that is not finite, or arrays of different length.

    >>> upper_hull([1.0, 2.0, 3.0, 4.0], [0.5, 0.6, 0.9, 0.8])
    array([0, 2])
    """
    c, q = float_array("cost", cost, ndim=1), float_array("quality", quality, ndim=1)
    if c.shape != q.shape:
        raise RoutelabError(f"cost has {c.size} points, quality {q.size}; give one of each per point")
    return upper_hulls(c[None], q[None])[0] if c.size else np.zeros(0, dtype=np.intp)


def mean_heights(cost: Floats, quality: Floats, low: Floats, high: Floats) -> Floats:
    """Mean over [low, high] of the piecewise-linear paths through points in order of cost.

    A path is held flat at both ends. Exact: each piece is cut to the interval and weighs its width times its
    height in the middle.

    Args:
        cost: (r, h), in any order.
        quality: (r, h).
        low: (r,).
        high: (r,).

    Returns:
        (r,), NaN where ``high`` ≤ ``low``.

    >>> one, two = np.array([1.0]), np.array([2.0])
    >>> mean_heights(np.array([[1.0, 1.5]]), np.array([[0.4, 0.8]]), low=one, high=two)
    array([0.7])
    """
    order = np.argsort(cost, axis=1, kind="stable")
    x, y = np.take_along_axis(cost, order, axis=1), np.take_along_axis(quality, order, axis=1)
    x = np.column_stack([np.minimum(x[:, 0], low), x, np.maximum(x[:, -1], high)])
    y = np.column_stack([y[:, 0], y, y[:, -1]])
    begin, width = x[:, :-1], np.diff(x, axis=1)
    cut = np.clip(x, low[:, None], high[:, None])
    middle = (cut[:, 1:] + cut[:, :-1]) / 2.0
    share = np.divide(middle - begin, width, out=np.zeros_like(width), where=width > 0.0)
    area = (np.diff(cut, axis=1) * (y[:, :-1] + share * np.diff(y, axis=1))).sum(axis=1)
    mean: Floats = np.divide(area, high - low, out=np.full(area.shape, np.nan), where=high > low)
    return mean
