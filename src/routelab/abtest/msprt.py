"""The mixture sequential probability ratio test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from routelab.abtest.effect import Effect, Value
from routelab.abtest.normal_mixture import log_normal_mixture, normal_mixture_bound, p_value, z_score
from routelab.arrays import Floats


@dataclass(frozen=True, slots=True)
class MSPRT:
    """Johari, Koomen, Pekelis & Walsh, *Always Valid Inference: Continuous Monitoring of A/B Tests*, 2022 (2017), with
    the normal mixture N(0, τ²) over the effect, and both variances estimated.

    Its mixture is stated as a spread of effects instead of a planned size; a τ far from the effect costs power, never
    validity.

    Args:
        tau: standard deviation of the effects expected, in units of the metric.
        alpha: probability that any look's interval misses.
        start: units in each arm from which on it holds.

    >>> test = MSPRT(tau=0.05)
    >>> effect = Effect(0.05, 0.21 / 2_000, 0.2275 / 2_000, 2_000, 2_000)
    >>> round(float(test.radius(effect)), 4), round(float(test.p_value(effect)), 4)
    (0.045, 0.0184)
    """

    tau: float
    alpha: float = 0.05
    start: int = 50

    def _r(self, effect: Effect) -> Value:
        variance = np.asarray(effect.variance)
        return self.tau**2 / np.where(variance > 0.0, variance, 1.0)

    def radius(self, effect: Effect) -> Floats:
        """Half the width of the interval at this look."""
        effect = effect.steadied()
        known = effect.known(self.start)
        bound = normal_mixture_bound(self._r(effect), self.alpha)
        return np.where(known, bound * np.sqrt(effect.variance), np.inf)

    def p_value(self, effect: Effect, null: float = 0.0) -> Floats:
        """Anytime-valid p-value of the difference being ``null``."""
        effect = effect.steadied()
        return p_value(log_normal_mixture(z_score(effect, null, self.start), self._r(effect)))
