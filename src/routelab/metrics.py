"""What is reported about a router: METRICS of routing, each written once, each with a worked example.

Qualities lie in [0, 1], costs are USD. A curve is one point (mean cost, mean quality) for each setting of a knob.
The cross-fitted figures (hull gap captured) live in ``evaluation.crossfit`` and are offered here too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from routelab.arrays import Floats, float_array
from routelab.errors import RoutelabError
from routelab.evaluation.crossfit import CrossFit, Curve, cross_fit, hull_gap_captured, oracle_curve
from routelab.evaluation.two_providers import apgr, cpt, strong_share_curve
from routelab.hull import mean_heights, upper_hull
from routelab.pareto import pareto_mask

__all__ = [
    "CrossFit",
    "Curve",
    "aiq",
    "apgr",
    "arena_score",
    "brier_score",
    "cost_save",
    "cpt",
    "cross_fit",
    "expected_calibration_error",
    "gain",
    "hull_gap_captured",
    "oracle_curve",
    "pareto_distance",
    "perf_gain",
    "regret",
    "regret_to_best_fixed",
    "strong_share_curve",
    "task_gain",
    "upper_hull",
]


def _pair(first: str, a: ArrayLike, second: str, b: ArrayLike) -> tuple[Floats, Floats]:
    """Two float arrays of one length ≥ 1."""
    x, y = float_array(first, a, ndim=1), float_array(second, b, ndim=1)
    if x.size != y.size or not x.size:
        raise RoutelabError(f"{first} has {x.size} entries, {second} {y.size}; give as many of both, at least one")
    return x, y


def _relative(value: float, base: float, name: str) -> float:
    """``value`` / ``base`` − 1."""
    if not base > 0.0:
        raise RoutelabError(f"{name} is {base!r}; a relative figure needs a base above 0")
    return value / base - 1.0


def aiq(cost: ArrayLike, quality: ArrayLike, c_min: float, c_max: float) -> float:
    """Average improvement in quality: mean height of the upper hull of points over [c_min, c_max], in hindsight.

    Held flat past the last point (RouterBench, arXiv 2403.12031, on one interval shared by all curves). For figures
    to compare policies by, use ``cross_fit``: hindsight flatters curves with many settings.

    Args:
        cost: (s,) mean cost of each setting, the cheapest single provider's among them.
        quality: (s,) mean quality of each setting.
        c_min: mean cost of the cheapest single provider.
        c_max: mean cost of the dearest one.

    Raises:
        RoutelabError: c_max ≤ c_min, or no point at c_min or below.

    >>> round(aiq(cost=[1.0, 2.0, 3.0], quality=[0.5, 0.9, 0.8], c_min=1.0, c_max=5.0), 9)
    0.85
    """
    c, q = _pair("cost", cost, "quality", quality)
    if not c_max > c_min:
        raise RoutelabError(f"c_min {c_min:.6g} is not below c_max {c_max:.6g}; a curve needs providers of two costs")
    if c.min() > c_min:
        raise RoutelabError(
            f"the curve starts at cost {c.min():.6g}, after c_min {c_min:.6g}; "
            "add the point of the cheapest single provider"
        )
    hull = upper_hull(c, q)
    return float(mean_heights(c[None, hull], q[None, hull], np.array([c_min]), np.array([c_max]))[0])


def _utilities(utility: ArrayLike, chosen: ArrayLike) -> tuple[Floats, Floats]:
    """Utilities of all arms (n, k) and of the chosen one (n,)."""
    u, taken = float_array("utility", utility, ndim=2), float_array("chosen", chosen, ndim=1)
    if len(u) != taken.size or not u.size:
        raise RoutelabError(f"utility has {len(u)} rows, chosen {taken.size}; give one of each per prompt")
    return u, taken


def regret(utility: ArrayLike, chosen: ArrayLike) -> Floats:
    """Cumulative regret (n,) against the best arm in hindsight for each prompt; the last entry is the total.

    Args:
        utility: (n, k) of every arm.
        chosen: (n,) utility of the arm that was chosen, or its expectation under the policy.

    >>> regret(utility=[[1.0, 0.5], [0.0, 0.5]], chosen=[0.5, 0.5])
    array([0.5, 0.5])
    """
    u, taken = _utilities(utility, chosen)
    return np.cumsum(u.max(axis=1) - taken)


def regret_to_best_fixed(utility: ArrayLike, chosen: ArrayLike) -> Floats:
    """Cumulative regret (n,) against the one arm with the best mean utility; negative where the policy beats it.

    >>> regret_to_best_fixed(utility=[[1.0, 0.5], [0.0, 0.25]], chosen=[1.0, 0.25])
    array([ 0.  , -0.25])
    """
    u, taken = _utilities(utility, chosen)
    return np.cumsum(u[:, u.mean(axis=0).argmax()] - taken)


def expected_calibration_error(predicted: ArrayLike, observed: ArrayLike, bins: int = 10) -> float:
    """Σ over equal-width bins of [0, 1] of (share of prompts) · |mean predicted − mean observed|, for one provider.

    Even a perfect model shows about .03 at 440 prompts. A prediction outside [0, 1] counts in the nearest bin.

    >>> round(expected_calibration_error(predicted=[0.12, 0.18, 0.95], observed=[0.0, 1.0, 1.0]), 9)
    0.25
    """
    p, o = _pair("predicted", predicted, "observed", observed)
    place = np.clip((p * bins).astype(int), 0, bins - 1)
    return float(np.abs(np.bincount(place, weights=p - o, minlength=bins)).sum() / p.size)


def brier_score(predicted: ArrayLike, observed: ArrayLike) -> float:
    """Mean squared difference of predicted and observed quality, for one provider.

    >>> brier_score(predicted=[0.5, 1.0], observed=[1.0, 1.0])
    0.125
    """
    p, o = _pair("predicted", predicted, "observed", observed)
    return float(np.mean((p - o) ** 2))


def perf_gain(quality: ArrayLike, best_single: float) -> float:
    """Largest relative gain in quality over Best Single, over all settings (LLMRouterBench, arXiv 2601.07206).

    Args:
        quality: (s,) mean quality of each setting.
        best_single: mean quality of the provider that was best on the *training* split.

    >>> round(perf_gain(quality=[0.7, 0.88], best_single=0.8), 9)
    0.1
    """
    return float(_relative(float_array("quality", quality, ndim=1).max(), best_single, "best_single"))


def cost_save(cost: ArrayLike, quality: ArrayLike, best_cost: float, best_quality: float) -> float:
    """Largest relative saving among settings of at least Best Single's quality (LLMRouterBench); NaN if none is.

    Args:
        cost: (s,) mean cost of each setting.
        quality: (s,) mean quality of each setting.
        best_cost: mean cost of the provider that was best on the *training* split.
        best_quality: its mean quality, less whatever loss is accepted.

    >>> cost_save(cost=[0.1, 0.5, 1.5], quality=[0.6, 0.8, 0.9], best_cost=2.0, best_quality=0.8)
    0.75
    """
    c, q = _pair("cost", cost, "quality", quality)
    enough = q >= best_quality
    return float(-_relative(c[enough].min(), best_cost, "best_cost")) if enough.any() else float("nan")


def pareto_distance(points: ArrayLike, rivals: ArrayLike) -> float:
    """Mean distance of a router's points to the nearest point of the joint frontier; 0 where all lie on it.

    The frontier holds the non-dominated of all points. Both axes are scaled so that all points together span [0, 1].

    Args:
        points: (s, 2) mean cost and mean quality of each setting.
        rivals: (r, 2) those of the other routers and of the single providers.

    >>> pareto_distance(points=[[0.0, 0.0], [10.0, 0.5]], rivals=[[10.0, 1.0]])
    0.25
    """
    own, others = float_array("points", points, ndim=2), float_array("rivals", rivals, ndim=2)
    if own.shape[1] != 2 or others.shape[1] != 2 or not len(own):
        raise RoutelabError(f"points has {own.shape[1]} columns, rivals {others.shape[1]}; give (cost, quality) rows")
    joint = np.concatenate([own, others])
    span = np.ptp(joint, axis=0)
    scale = np.where(span > 0.0, span, 1.0)
    steps = (own[:, None] - joint[pareto_mask(joint)]) / scale
    return float(np.sqrt((steps**2).sum(axis=2)).min(axis=1).mean())


def arena_score(quality: float, cost: float, beta: float = 0.1) -> float:
    """RouterArena's S = (1 + β)·A·K / (β·A + K), with K = (log₂ 200 − log₂ c) / (log₂ 200 − log₂ 0.0044).

    Args:
        quality: A, mean accuracy in [0, 1].
        cost: mean cost in USD per query; c is a thousand times that. K is cut to [0, 1].
        beta: weight of cost (arXiv 2510.00202).

    >>> round(arena_score(quality=0.5, cost=0.0044e-3), 9)
    0.523809524
    """
    if not cost > 0.0 or not 0.0 <= quality <= 1.0:
        raise RoutelabError(f"quality is {quality!r}, cost {cost!r}; give a quality in [0, 1] and a cost above 0")
    cheapness = float(np.clip(np.log(200.0 / (1000.0 * cost)) / np.log(200.0 / 0.0044), 0.0, 1.0))
    weight = beta * quality + cheapness
    return (1.0 + beta) * quality * cheapness / weight if weight > 0.0 else 0.0


def gain(quality: ArrayLike, baseline: ArrayLike) -> float:
    """Relative gain as a ratio of means: gain@R against random (a row mean), gain@B against Best Single's column.

    >>> gain(quality=[1.0, 0.5], baseline=[0.5, 0.5])
    0.5
    """
    q, b = _pair("quality", quality, "baseline", baseline)
    return float(_relative(q.mean(), b.mean(), "mean of baseline"))


def task_gain(quality: ArrayLike, baseline: ArrayLike, task: ArrayLike) -> float:
    """The same gain as the mean of per-task ratios, where each of the ``task`` (n,) labels weighs alike.

    >>> task_gain(quality=[1.0, 0.5, 0.5], baseline=[0.5, 0.5, 0.5], task=["a", "b", "b"])
    0.5
    """
    q, b = _pair("quality", quality, "baseline", baseline)
    labels = np.asarray(task)
    if labels.shape != q.shape:
        raise RoutelabError(f"task has {labels.size} labels, quality {q.size} entries; give one label per prompt")
    return float(np.mean([gain(q[labels == label], b[labels == label]) for label in np.unique(labels)]))
