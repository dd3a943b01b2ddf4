"""The asymptotic confidence sequence: an interval that holds at every look at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from routelab.abtest.effect import Effect, Value
from routelab.abtest.normal_mixture import log_normal_mixture, normal_mixture_bound, p_value, z_score
from routelab.arrays import Floats

_NORMAL = 20.0  # variance of the normal half of the mixture, in squared standard errors at the planned size
_BISECTIONS = 40


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """An asymptotic confidence sequence for the difference of two means, narrow around the planned size.

    Over looks, the differences of two arms correlate like a Brownian motion in 1/SE², whatever the arms' sizes, and a
    bound that holds for the motion at all times holds for the differences at all looks from a large enough first one
    on (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, *Time-Uniform Central Limit Theory and Asymptotic Confidence
    Sequences*, 2021; Annals of Statistics 2024). The bound here is where the likelihood ratio of a mixture of effects
    reaches 1/α. They take the normal mixture; this one is half normal, half ±δ with δ = √(2·log(2/α)) standard errors
    at the planned size, the two points whose bound is narrowest there:

        M(z, f) = ½·cosh(δ√f·z)·exp(−δ²f/2) + ½·exp(z²/2 · r/(1+r))/√(1+r),   r = 20·f,

    with f = n_eff / planned n_eff and n_eff = 1/(1/n₀ + 1/n₁), which is proportional to 1/SE² where the arms' shares
    do not change or their spreads are equal. At α = .05 the interval is 2.86 SE at the planned size (3.04 with the
    best normal mixture, 1.96 for a single look), 2.97 at half and at twice, 3.48 at a tenth and 3.57 at ten times.

    Args:
        planned: units of the control and of the treatment at which it is narrowest.
        alpha: probability that any look's interval misses.
        start: units in each arm from which on it holds; before, the interval is infinite.

    >>> sequence = ConfidenceSequence(planned=(2_000, 2_000))
    >>> effect = Effect(0.05, 0.21 / 2_000, 0.2275 / 2_000, 2_000, 2_000)
    >>> round(float(sequence.radius(effect)), 4), round(float(sequence.p_value(effect)), 4)
    (0.0423, 0.0116)
    """

    planned: tuple[float, float]
    alpha: float = 0.05
    start: int = 50

    def _fraction(self, effect: Effect) -> Floats:
        """f; that of one unit an arm where one is empty, of which nothing is claimed."""
        control, treatment = (np.maximum(units, 1) for units in (effect.control_units, effect.treatment_units))
        return _effective(control, treatment) / _effective(*self.planned)

    def _log_ratio(self, z: Floats, f: Floats) -> Floats:
        delta = np.sqrt(2.0 * np.log(2.0 / self.alpha) * f)
        two_points = np.logaddexp(delta * z, -delta * z) - np.log(2.0) - 0.5 * delta**2
        return np.asarray(np.logaddexp(two_points, log_normal_mixture(z, _NORMAL * f)) - np.log(2.0))

    def _bound(self, f: Floats) -> Floats:
        """The z at which the likelihood ratio is 1/α, by bisection: the normal half alone reaches it later."""
        low, high = np.zeros_like(f), normal_mixture_bound(_NORMAL * f, 0.5 * self.alpha)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            inside = self._log_ratio(middle, f) < -np.log(self.alpha)
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return high

    def radius(self, effect: Effect) -> Floats:
        """Half the width of the interval at this look."""
        effect = effect.steadied()
        known = effect.known(self.start)
        return np.where(known, self._bound(self._fraction(effect)) * np.sqrt(effect.variance), np.inf)

    def p_value(self, effect: Effect, null: float = 0.0) -> Floats:
        """Anytime-valid p-value of the difference being ``null``: below α exactly where the interval leaves it out."""
        effect = effect.steadied()
        return p_value(self._log_ratio(z_score(effect, null, self.start), self._fraction(effect)))


def _effective(control: Value, treatment: Value) -> Floats:
    return 1.0 / (1.0 / np.asarray(control) + 1.0 / np.asarray(treatment))
