"""Simulated A/B tests of which the truth is known: how often a method errs, and how soon it finds a difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.abtest.effect import Effect, events_of
from routelab.abtest.inference import Inference
from routelab.arrays import Floats

Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
_BATCH = 2_000_000  # outcomes of an arm that are held at once


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of many tests.

    Args:
        runs: their number.
        found: share of them in which some look's interval leaves 0 out.
        missed: share in which some look's interval leaves the true difference out.
        units: median of the units in both arms at the look that found a difference; NaN where half never did.
    """

    runs: int
    found: float
    missed: float
    units: float


def drawn_from(values: Floats, weights: Floats) -> Draw:
    """Draws from ``values`` (c,), each with a probability in proportion to its weight (c,)."""
    cumulative = np.cumsum(weights)
    last = len(values) - 1
    return lambda rng, shape: values[np.searchsorted(cumulative, rng.random(shape) * cumulative[-1]).clip(0, last)]


def effects(
    control: Draw, treatment: Draw, runs: int, looks: NDArray[np.intp], seed: int, share: float = 0.5
) -> Effect:
    """The effects (runs, looks) of many tests.

    Args:
        control: draws outcomes of its units.
        treatment: likewise.
        runs: number of tests.
        looks: (l,) units per arm at each look where both arms get the same share.
        seed: of the draws.
        share: of the units that the treatment gets.
    """
    rng = np.random.default_rng(seed)
    units = np.round(2 * looks * (1.0 - share)).astype(int), np.round(2 * looks * share).astype(int)
    values = [draw(rng, (runs, n[-1])) for draw, n in zip((control, treatment), units, strict=True)]
    (mean, variance), (mean_treated, variance_treated) = map(_running, values, units)
    return Effect(mean_treated - mean, variance, variance_treated, *units, _events(values, units))


def _events(values: list[Floats], units: tuple[NDArray[np.intp], ...]) -> Floats:
    """Expected events of the smaller arm at each look; the fewer of events and non-events where all lies in [0, 1]."""
    total, squares = (
        np.asarray(sum(np.cumsum(arm**power, axis=1)[:, n - 1] for arm, n in zip(values, units, strict=True)))
        for power in (1, 2)
    )
    count, smaller = (units[0] + units[1]).astype(float), np.minimum(*units).astype(float)
    least, most = min(arm.min() for arm in values), max(arm.max() for arm in values)
    events = events_of(total, squares, count, smaller) if least >= 0.0 else np.full_like(total, np.inf)
    if most <= 1.0:
        events = np.minimum(events, events_of(count - total, count - 2.0 * total + squares, count, smaller))
    return np.asarray(events)


def _running(values: Floats, looks: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Mean and its squared standard error at each look."""
    first = values[:, :1]  # shifted, so that the squares do not cancel
    total, squares = (np.cumsum((values - first) ** power, axis=1)[:, looks - 1] for power in (1, 2))
    mean = total / looks
    return mean + first, np.maximum(squares / looks - mean**2, 0.0) / (looks - 1)


def simulate(
    method: Inference,
    control: Draw,
    treatment: Draw,
    truth: float,
    *,
    looks: NDArray[np.intp],
    runs: int = 1000,
    seed: int = 0,
) -> Simulated:
    """Run many tests of two arms of equal shares, each read at all looks.

    Args:
        method: that gives the intervals.
        control: draws outcomes of its units.
        treatment: likewise.
        truth: mean of the treatment less that of the control.
        looks: (l,) units per arm at each look.
        runs: number of tests.
        seed: of the draws.

    >>> from routelab.abtest.confidence_sequence import ConfidenceSequence
    >>> coin = drawn_from(np.array([0.0, 1.0]), np.array([0.7, 0.3]))
    >>> same = simulate(ConfidenceSequence((1000, 1000)), coin, coin, 0.0, looks=np.arange(50, 1001, 50), runs=400)
    >>> same.found == same.missed <= 0.05
    True
    """
    size = max(1, min(runs, _BATCH // int(looks[-1])))
    sizes = [size] * (runs // size) + [runs % size] * bool(runs % size)
    seeds = np.random.SeedSequence(seed).generate_state(len(sizes))
    found, missed = [], []
    for count, each in zip(sizes, seeds, strict=True):
        effect = effects(control, treatment, count, looks, int(each))
        difference, radius = np.asarray(effect.difference), method.radius(effect)
        found.append(np.abs(difference) > radius)
        missed.append((np.abs(difference - truth) > radius).any(axis=1))
    seen = np.concatenate(found)
    ever = seen.any(axis=1)
    at = np.where(ever, 2.0 * looks[seen.argmax(axis=1)], np.inf)
    middle = float(np.quantile(at, 0.5, method="higher"))
    wrong = np.concatenate(missed)
    return Simulated(runs, float(ever.mean()), float(wrong.mean()), middle if np.isfinite(middle) else np.nan)
