"""Simulated A/B tests: two arms of outcomes, read at many looks."""

from __future__ import annotations

import numpy as np

from routelab.abtest.effect import Effect
from routelab.abtest.inference import Inference
from routelab.abtest.simulation import Draw, effects
from routelab.arrays import Floats

__all__ = ["LOOKS", "WORLDS", "Draw", "bernoulli", "effects", "log_normal", "misses", "normal", "splits"]
LOOKS = np.arange(50, 2_001, 50)  # 40 equal ones, per arm: from 100 in all to 4,000 in all


def bernoulli(p: float) -> Draw:
    return lambda rng, shape: (rng.random(shape) < p).astype(float)


def normal(mean: float) -> Draw:
    return lambda rng, shape: rng.normal(mean, size=shape)


def log_normal(scale: float) -> Draw:
    """sigma = 1; the mean is in proportion to ``scale``."""
    return lambda rng, shape: scale * rng.lognormal(size=shape)


# no effect, and the effects whose power the issue asks for
WORLDS: dict[str, tuple[Draw, Draw]] = {
    "Bernoulli .30 → .35": (bernoulli(0.30), bernoulli(0.35)),
    "normal +.1 sd": (normal(0.0), normal(0.1)),
    "log-normal +10 %": (log_normal(1.0), log_normal(1.1)),
}


def misses(method: Inference, effect: Effect, truth: float = 0.0) -> float:
    """Share of the experiments in which the interval leaves ``truth`` out at some look."""
    outside = np.abs(np.asarray(effect.difference) - truth) > method.radius(effect)
    return float(outside.any(axis=1).mean())


def splits(share: float, looks: Floats, runs: int, seed: int) -> Floats:
    """Units of two variants, the first with ``share``, at looks of so many in all: (runs, looks, 2)."""
    fresh = np.random.default_rng(seed).binomial(np.diff(looks, prepend=0), share, size=(runs, len(looks)))
    first = fresh.cumsum(axis=1)
    return np.stack([first, looks - first], axis=-1).astype(float)
