"""The cost-quality frontier: who is dominated, what a frontier dominates, the providers worth keeping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routelab.arrays import Floats, float_array
from routelab.errors import RoutelabError
from routelab.hull import upper_hull
from routelab.request import LLMRequest

__all__ = ["find_pareto_optimal", "frontier_shares", "hypervolume", "pareto_mask", "path_heights", "upper_hull"]

_BLOCK = 256


class Named(Protocol):
    """Anything with a name: a provider."""

    @property
    def name(self) -> str:
        """Its name."""


class Estimator(Protocol):
    """Whoever can tell what each provider would do with a request: a router."""

    def estimates(self, request: LLMRequest) -> Mapping[str, tuple[float, float]]:
        """Provider name -> (quality in [0, 1], cost in USD)."""


AnyProvider = TypeVar("AnyProvider", bound=Named)


def _minimised(values: ArrayLike, sense: Sequence[str]) -> Floats:
    """``values`` (n, m) with the objectives to maximise negated."""
    unknown = [word for word in sense if word not in ("min", "max")]
    if isinstance(sense, str) or unknown or not len(sense):
        raise RoutelabError(f"sense is {sense!r}; give one 'min' or 'max' per objective, as in ('min', 'max')")
    rows = np.empty((0, len(sense))) if np.shape(values) == (0,) else values
    points = float_array("values", rows, ndim=2, finite=False)
    if points.shape[1] != len(sense):
        raise RoutelabError(f"values has {points.shape[1]} columns, but sense names {len(sense)} objectives: {sense!r}")
    return points * np.where(np.asarray(sense) == "max", -1.0, 1.0)


def _mask_two(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Non-dominated points of two minimised objectives (or of one, given twice): one sort, one scan."""
    order = np.argsort(x)
    low = np.minimum.accumulate(y[order])
    # A point above the running minimum is dominated; ties in x are settled among the few that are left.
    order = order[y[order] == low]
    cx, cy = x[order], y[order]
    start = np.flatnonzero(np.append(True, cx[1:] != cx[:-1]))
    stop = np.append(start[1:], cx.size)
    lowest = cy[stop - 1]
    improves = np.append(True, lowest[1:] < lowest[:-1])
    mask = np.zeros(x.size, dtype=bool)
    mask[order] = np.repeat(improves, stop - start) & (cy == np.repeat(lowest, stop - start))
    return mask


def _mask_many(points: Floats) -> NDArray[np.bool_]:
    """Non-dominated points of any number of minimised objectives, block by block in lexicographic order."""
    # Among distinct rows in lexicographic order a dominator comes first, and a row that no other is ≤ everywhere
    # is dominated by none.
    distinct, inverse = np.unique(points, axis=0, return_inverse=True)
    front, kept = distinct[:0], []
    for begin in range(0, len(distinct), _BLOCK):
        block = distinct[begin : begin + _BLOCK]
        rivals = np.concatenate([front, block])
        below = np.ones((len(block), len(rivals)), dtype=bool)
        for column in range(points.shape[1]):
            below &= rivals[:, column] <= block[:, column, None]
        alone = below.sum(axis=1) == 1
        kept.append(alone)
        front = np.concatenate([front, block[alone]])
    mask: NDArray[np.bool_] = np.concatenate(kept)[inverse]
    return mask


def pareto_mask(values: ArrayLike, sense: Sequence[str] = ("min", "max")) -> NDArray[np.bool_]:
    """Which rows no other row dominates.

    A row dominates another if it is at least as good in every objective and better in one. Duplicates of a
    non-dominated row are kept, infinities are ordered like numbers. O(n log n) for one or two objectives.

    Args:
        values: (n, m), any m ≥ 1.
        sense: "min" or "max" for each of the m objectives.

    Returns:
        bool (n,).

    Raises:
        RoutelabError: NaN (it names row and column), a width that does not fit ``sense``, an unknown sense.

    >>> pareto_mask([[1.0, 0.7], [2.0, 0.9], [3.0, 0.8], [1.0, 0.7]])
    array([ True,  True, False,  True])
    """
    points = _minimised(values, sense)
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    return _mask_two(points[:, 0], points[:, -1]) if points.shape[1] <= 2 else _mask_many(points)


def frontier_shares(cost: Floats, quality: Floats) -> Floats:
    """Share (s,) of resamples in which each of s candidates is on the frontier: its probability of being on it.

    Args:
        cost: (r, s) mean cost in each resample.
        quality: (r, s) mean quality.

    Raises:
        RoutelabError: a value is NaN.

    >>> frontier_shares(np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([[0.5, 0.6], [0.5, 0.4]]))
    array([1. , 0.5])
    """
    shares: Floats = np.mean([pareto_mask(points) for points in np.stack([cost, quality], axis=2)], axis=0)
    return shares


def path_heights(cost: Floats, quality: Floats, grid: Floats) -> Floats:
    """Quality (r, g) at the costs ``grid`` (g,) of paths through points (r, s) in order of cost, flat at both ends.

    >>> path_heights(np.array([[3.0, 1.0]]), np.array([[0.8, 0.4]]), np.array([0.5, 2.0]))
    array([[0.4, 0.6]])
    """
    order = np.argsort(cost, axis=1, kind="stable")
    paths = zip(np.take_along_axis(cost, order, axis=1), np.take_along_axis(quality, order, axis=1), strict=True)
    return np.stack([np.interp(grid, x, y) for x, y in paths])


def _volume(points: Floats, reference: Floats) -> float:
    """Volume between minimised ``points`` and ``reference``: slabs along the first axis."""
    points = points[np.argsort(points[:, 0])]
    depth = np.diff(points[:, 0], append=reference[0])
    if points.shape[1] == 1:
        return float(depth.sum())
    if points.shape[1] == 2:
        return float(depth @ (reference[1] - np.minimum.accumulate(points[:, 1])))
    return float(sum(d * _volume(points[: i + 1, 1:], reference[1:]) for i, d in enumerate(depth) if d > 0.0))


def hypervolume(values: ArrayLike, reference: ArrayLike, sense: Sequence[str] = ("min", "max")) -> float:
    """Volume of what ``values`` dominate, up to the point ``reference``; exact.

    O(n log n) in two objectives, by slabs O(n^(m-1) log n) in more: meant for frontiers, not for clouds.

    Args:
        values: (n, m); points not better than ``reference`` in every objective count nothing.
        reference: (m,) finite, a point worse than those of interest.
        sense: "min" or "max" for each of the m objectives.

    Raises:
        RoutelabError: as ``pareto_mask``; a reference of another width or not finite.

    >>> round(hypervolume([[1.0, 0.5], [2.0, 0.9]], reference=[4.0, 0.0]), 9)
    2.3
    """
    points = _minimised(values, sense)
    worst = _minimised(float_array("reference", reference, ndim=1)[None], sense)[0]
    points = points[(points < worst).all(axis=1)]
    if np.isinf(points).any():
        return float("inf")
    return _volume(points[pareto_mask(points, ("min",) * len(worst))], worst) if len(points) else 0.0


def _estimates(providers: Sequence[Named], request: LLMRequest, estimator: Estimator | None) -> Floats:
    """(cost, quality) of each provider, shape (n, 2)."""
    known = estimator.estimates(request) if estimator is not None else {}
    rows = []
    for provider in providers:
        if estimator is None:
            estimate = getattr(provider, "estimate", None)
            if not callable(estimate):
                raise RoutelabError(
                    f"provider {provider.name!r} has no estimate(request) -> (quality, cost_usd); "
                    "give it one, or pass estimator=router"
                )
            quality, cost = estimate(request)
        elif provider.name in known:
            quality, cost = known[provider.name]
        else:
            raise RoutelabError(
                f"the estimator knows {sorted(known)}, not {provider.name!r}; train it on that provider first"
            )
        if np.isnan(quality) or np.isnan(cost):
            raise RoutelabError(
                f"provider {provider.name!r} is estimated at quality {quality}, cost {cost}; NaN has no rank"
            )
        rows.append((float(cost), float(quality)))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def find_pareto_optimal(
    providers: Iterable[AnyProvider], request: LLMRequest, estimator: Estimator | None = None
) -> list[AnyProvider]:
    """The providers that none other beats on both expected cost and expected quality for this request.

    Args:
        providers: a pool or any iterable of providers.
        request: what is to be answered.
        estimator: a router, whose ``estimates(request)`` are used; without it each provider's own
            ``estimate(request) -> (quality, cost_usd)``.

    Returns:
        Cheapest first; equals stay in the order given, all of them.

    Raises:
        RoutelabError: a provider without an estimate, or an estimate that is NaN.

    >>> from collections import namedtuple
    >>> class P(namedtuple("P", "name quality cost")):
    ...     def estimate(self, request): return self.quality, self.cost
    >>> pool = [P("large", 0.9, 0.02), P("slow", 0.8, 0.03), P("small", 0.7, 0.001)]
    >>> [p.name for p in find_pareto_optimal(pool, LLMRequest("Why is the sky blue?"))]
    ['small', 'large']
    """
    candidates = list(providers)
    values = _estimates(candidates, request, estimator)
    kept = np.flatnonzero(pareto_mask(values))
    return [candidates[i] for i in kept[np.argsort(values[kept, 0], kind="stable")]]
