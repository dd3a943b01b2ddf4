"""Cross-fitted area under the cost-quality hull, and the share of the oracle's lead that a router captures.

A hull taken in hindsight finds 1-2 % of the gap in pure noise. So the settings on the hull are chosen on one
half of the evaluation prompts and scored on the other, for the router, the single providers and the oracle alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routelab.arrays import Floats, float_array
from routelab.errors import RoutelabError
from routelab.evaluation.bootstrap import Interval, percentile_interval, resample_weights
from routelab.hull import mean_heights, upper_hulls
from routelab.policies.objective import Objective, cost_weight_sweep

MAX_SETTINGS = 32
_NO_GAP = 1e-10
_DIGITS = 12


class Curve(NamedTuple):
    """Expected outcome of each of n prompts under each of s settings of a policy's knob.

    Args:
        quality: (n, s) in [0, 1].
        cost: (n, s) USD.
    """

    quality: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class CrossFit:
    """Cross-fitted AIQ of several curves on the same halves and the same resamples of prompts.

    Each array has 1 + r entries: the estimate, then one per bootstrap resample.

    Args:
        single: the hull of the single providers, the best random mixture of fixed ones.
        oracle: per prompt the best arm in hindsight, for each price on cost.
        aiq: by name, the curves that were asked for.
    """

    single: Floats
    oracle: Floats
    aiq: Mapping[str, Floats]

    def aiq_interval(self, name: str) -> Interval:
        """AIQ of curve ``name``, a mean quality in [0, 1]."""
        return percentile_interval(self.aiq[name][0], self.aiq[name][1:])

    def captured(self, name: str) -> Floats:
        """(AIQ − AIQ single) / (AIQ oracle − AIQ single) of curve ``name``: the estimate, then the resamples.

        Raises:
            RoutelabError: the oracle is no better than the single hull, so there is nothing to capture.
        """
        gap = self.oracle - self.single
        if not gap[0] > _NO_GAP:
            raise RoutelabError(
                f"oracle AIQ is {self.oracle[0]:.6g}, single-hull AIQ {self.single[0]:.6g}: no gap; "
                "use a table in which providers differ from prompt to prompt"
            )
        lead = self.aiq[name] - self.single
        share: Floats = np.divide(lead, gap, out=np.full(gap.shape, np.nan), where=gap > _NO_GAP)
        return share

    def hull_gap_captured(self, name: str) -> Interval:
        """Hull gap captured by curve ``name``: 0 the best fixed mixture, 1 the oracle."""
        captured = self.captured(name)
        return percentile_interval(captured[0], captured[1:])

    def paired_difference(self, name: str, other: str) -> Interval:
        """Hull gap captured by ``name`` less that by ``other``, resample by resample."""
        difference = self.captured(name) - self.captured(other)
        return percentile_interval(difference[0], difference[1:])


def oracle_curve(quality: ArrayLike, cost: ArrayLike, cost_weights: ArrayLike | None = None) -> Curve:
    """Per prompt the arm with the highest quality − λ·cost, the cheapest among equals, for each λ.

    Args:
        quality: (n, k) in [0, 1].
        cost: (n, k) USD.
        cost_weights: (s,) values of λ; the default sweep of 32 when left out.

    >>> curve = oracle_curve([[0.5, 1.0], [0.9, 0.9]], [[0.01, 0.1], [0.01, 0.1]], cost_weights=[0.0, 10.0])
    >>> curve.quality.mean(axis=0), curve.cost.mean(axis=0)
    (array([0.95, 0.7 ]), array([0.055, 0.01 ]))
    """
    q, c = float_array("quality", quality, ndim=2), float_array("cost", cost, ndim=2)
    if q.shape != c.shape:
        raise RoutelabError(f"quality has shape {q.shape}, cost {c.shape}; give two matrices of one shape")
    sweep = cost_weight_sweep(c) if cost_weights is None else float_array("cost_weights", cost_weights, ndim=1)
    arms = np.empty((len(q), sweep.size), dtype=np.intp)
    for setting, weight in enumerate(sweep):
        utility = Objective(cost_weight=float(weight)).utility(q, c)
        best = utility == utility.max(axis=1, keepdims=True)
        arms[:, setting] = np.argmin(np.where(best, c, np.inf), axis=1)
    return Curve(np.take_along_axis(q, arms, axis=1), np.take_along_axis(c, arms, axis=1))


def _checked(name: str, curve: tuple[ArrayLike, ArrayLike], n: int) -> Curve:
    """``curve`` as float matrices (n, s), s ≤ 32."""
    quality = float_array(f"quality of curve {name!r}", curve[0], ndim=2)
    cost = float_array(f"cost of curve {name!r}", curve[1], ndim=2)
    if quality.shape != cost.shape or len(quality) != n or not 1 <= quality.shape[1] <= MAX_SETTINGS:
        raise RoutelabError(
            f"curve {name!r} has quality {quality.shape} and cost {cost.shape}; "
            f"give both as ({n} prompts, 1 to {MAX_SETTINGS} settings)"
        )
    return Curve(quality, cost)


def _means(outcomes: Floats, bounds: list[int], weights: Floats, half: NDArray[np.bool_]) -> list[Curve]:
    """Means (r, s) of each curve over one half of the prompts, for each row of ``weights`` (r, n)."""
    drawn = weights[:, half]
    # A resample may miss a half of very few prompts altogether; it is then undefined, and left out later.
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn /= drawn.sum(axis=1, keepdims=True)
    # Rounded, so that equal means stay equal whatever the order in which a machine adds them up.
    parts = np.split(np.round(drawn @ outcomes[half], _DIGITS), bounds, axis=1)
    return [Curve(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]


def _areas(chosen: list[Curve], scored: list[Curve], ends: tuple[int, int]) -> Floats:
    """AIQ (curves, r) of hulls chosen on one half of the prompts and scored on the other.

    The first curve are the single providers, ``ends`` its cheapest and its dearest.
    """
    low, high = (scored[0].cost[:, end] for end in ends)
    areas = []
    for choice, score in zip(chosen, scored, strict=True):
        vertices = upper_hulls(choice.cost, choice.quality)
        path = Curve(*(np.take_along_axis(means, vertices, axis=1) for means in score))
        areas.append(mean_heights(path.cost, path.quality, low, high))
    return np.stack(areas)


def cross_fit(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    quality: ArrayLike,
    cost: ArrayLike,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    n_partitions: int = 5,
    cost_weights: ArrayLike | None = None,
    weights: Iterable[Floats] | None = None,
) -> CrossFit:
    """Cross-fitted AIQ of ``curves``, of the single providers and of the oracle, bootstrapped in pairs over prompts.

    A seeded partition halves the prompts. On one half, each curve's mean points and the cheapest single provider
    give an upper hull; on the other half the same settings' means, joined in order of cost and held flat at both
    ends, are averaged over [c_min, c_max], the mean costs there of the cheapest and the dearest provider. Halves
    are swapped, and all is averaged over the partitions. A resample draws prompts with replacement and repeats all
    of this; a prompt drawn twice stays on one side.

    Args:
        curves: name -> (quality, cost), each (n, s): expected outcome of every prompt under s ≤ 32 settings.
        quality: (n, k) in [0, 1], what each provider reached.
        cost: (n, k) USD.
        rng: makes the partitions, then the resamples.
        n_resamples: bootstrap resamples r.
        n_partitions: partitions averaged, to lower the noise of the split.
        cost_weights: the oracle's values of λ; the default sweep of 32 when left out.
        weights: how often each resample draws each prompt, in blocks (b, n); in place of resamples of its own.

    Raises:
        RoutelabError: NaN, matrices that do not fit, more than 32 settings, fewer than two prompts, or
            providers that all cost the same.

    >>> rng = np.random.default_rng(0)
    >>> quality = rng.integers(0, 2, size=(200, 2)).astype(float)
    >>> cost = np.tile([0.001, 0.01], (200, 1))
    >>> fitted = cross_fit({"itself": oracle_curve(quality, cost)}, quality, cost, rng, n_resamples=20)
    >>> fitted.hull_gap_captured("itself")
    Interval(estimate=1.0, low=1.0, high=1.0)
    """
    singles = Curve(float_array("quality", quality, ndim=2), float_array("cost", cost, ndim=2))
    n = len(singles.quality)
    if singles.quality.shape != singles.cost.shape or n < 2 or n_partitions < 1:
        raise RoutelabError(
            f"quality {singles.quality.shape}, cost {singles.cost.shape}, {n_partitions} partitions; "
            "give two matrices of one shape, ≥ 2 prompts and ≥ 1 partition"
        )
    price = singles.cost.mean(axis=0)
    ends = int(price.argmin()), int(price.argmax())
    if not price[ends[1]] > price[ends[0]]:
        raise RoutelabError(f"every provider costs {price[0]:.6g} USD on average; a cost-quality curve needs two costs")
    cheapest = Curve(*(matrix[:, ends[:1]] for matrix in singles))
    checked = [_checked(name, curve, n) for name, curve in curves.items()]
    matrices = [*singles]
    for curve in (_checked("oracle", oracle_curve(*singles, cost_weights), n), *checked):
        matrices += [np.hstack(pair) for pair in zip(cheapest, curve, strict=True)]
    matrices[1::2] = [matrix / price[ends[1]] for matrix in matrices[1::2]]
    outcomes, bounds = np.hstack(matrices), np.cumsum([matrix.shape[1] for matrix in matrices])[:-1].tolist()
    halves = [rng.permutation(n) < n // 2 for _ in range(n_partitions)]
    blocks = []
    resamples = resample_weights(n, n_resamples, rng) if weights is None else weights
    for drawn in chain([np.ones((1, n))], resamples):
        areas = []
        for half in halves:
            one, other = (_means(outcomes, bounds, drawn, side) for side in (half, ~half))
            areas += [_areas(one, other, ends), _areas(other, one, ends)]
        blocks.append(np.mean(areas, axis=0))
    aiq = np.hstack(blocks)
    if np.isnan(aiq[0, 0]):
        raise RoutelabError(
            "on one half of the prompts the dearest provider is not dearer; give more evaluation prompts"
        )
    return CrossFit(single=aiq[0], oracle=aiq[1], aiq=dict(zip(curves, aiq[2:], strict=True)))


def hull_gap_captured(
    curve_quality: ArrayLike,
    curve_cost: ArrayLike,
    quality: ArrayLike,
    cost: ArrayLike,
    rng: np.random.Generator,
    n_resamples: int = 1000,
    n_partitions: int = 5,
) -> Interval:
    """Share of the oracle's lead over the best fixed mixture that one curve captures; ``cross_fit`` says how.

    >>> quality, cost = np.tile([[0.0, 1.0], [1.0, 0.0]], (50, 1)), np.tile([0.001, 0.01], (100, 1))
    >>> hull_gap_captured(quality, cost, quality, cost, np.random.default_rng(0), n_resamples=20).estimate
    0.0
    """
    fitted = cross_fit({"curve": (curve_quality, curve_cost)}, quality, cost, rng, n_resamples, n_partitions)
    return fitted.hull_gap_captured("curve")
