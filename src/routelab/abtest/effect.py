"""Effect: the difference of a treatment from the control, for means, rates and ratios, with or without a covariate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routelab.abtest.moments import Moments
from routelab.arrays import Floats

Value = float | np.float64 | Floats


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """A difference of two independent means; every field a number, or an array over looks.

    Args:
        difference: treatment − control.
        control_variance: squared standard error of the control's mean.
        treatment_variance: of the treatment's.
        control_units: units that it rests on.
        treatment_units: of the treatment.
    """

    difference: Value
    control_variance: Value
    treatment_variance: Value
    control_units: Value
    treatment_units: Value

    @property
    def variance(self) -> Value:
        """Squared standard error of the difference."""
        return self.control_variance + self.treatment_variance

    def known(self, start: int) -> NDArray[np.bool_]:
        """Where both arms have ``start`` units and the difference has a spread; elsewhere nothing can be claimed."""
        enough = np.minimum(self.control_units, self.treatment_units) >= start
        return np.asarray(enough & (np.asarray(self.variance) > 0.0))


def effect_of(control: Moments, treatment: Moments, columns: tuple[int, ...]) -> Effect:
    """The difference of the ratios Σy/Σx in two arms, the unit being the sampling unit.

    The delta method linearises a ratio R to the mean of (y − R·x)/x̄ over units (Deng, Knoblich & Lu, *Applying the
    Delta Method in Metric Analytics*, 2018); where x = 1 that is the plain mean. A covariate c is regressed out with
    one θ for both arms, R − θ·c̄ with θ = Σcov(c, (y − R·x)/x̄) / Σvar(c) (CUPED; Deng, Xu, Kohavi & Walker, *Improving
    the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data*, 2013). It leaves the expected
    difference as it is and, at correlation ρ, 1 − ρ² of its variance.

    Args:
        control: moments of its units.
        treatment: alike.
        columns: of y and x among the moments, and, where there is one, of c.

    >>> rows = np.array([[2.0, 1.0], [4.0, 1.0], [9.0, 3.0]])
    >>> effect = effect_of(Moments.of(rows), Moments.of(rows + [3.0, 0.0]), (0, 1))
    >>> round(float(effect.difference), 9), effect.treatment_units
    (1.8, 3)
    """
    arms = (control, treatment)
    weights = [_linear_weights(arm, columns) for arm in arms]
    if len(columns) == 3:
        covariances = [arm.scatter[columns[2]] @ weight for arm, weight in zip(arms, weights, strict=True)]
        spread = sum(float(arm.scatter[columns[2], columns[2]]) for arm in arms)
        for weight in weights:
            weight[columns[2]] = -float(sum(covariances)) / spread if spread > 0.0 else 0.0
    values = [ratio(arm, columns) for arm in arms]
    if len(columns) == 3:
        values = [v + w[columns[2]] * arm.mean[columns[2]] for v, w, arm in zip(values, weights, arms, strict=True)]
    variances = [float(w @ arm.covariance @ w) / max(arm.count, 1) for w, arm in zip(weights, arms, strict=True)]
    return Effect(values[1] - values[0], *variances, *(arm.count for arm in arms))


def ratio(arm: Moments, columns: tuple[int, ...]) -> float:
    """Σy/Σx of an arm; NaN where Σx is 0."""
    y, x = arm.mean[columns[0]], arm.mean[columns[1]]
    return float(y / x) if x else float("nan")


def _linear_weights(arm: Moments, columns: tuple[int, ...]) -> Floats:
    """(d,) weights of the columns in a unit's linearised ratio, (y − R·x)/x̄."""
    weights = np.zeros_like(arm.mean)
    weights[columns[0]] = 1.0
    weights[columns[1]] = -ratio(arm, columns)
    return weights / arm.mean[columns[1]]
