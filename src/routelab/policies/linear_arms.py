"""Online ridge regressions of quality and cost, one pair per arm, in arrays over arms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routelab.policies.recent import RECENT, average
from routelab.policies.symmetric import add_outer, inverse, inverse_error

Floats = NDArray[np.float64]

LEVEL_PRECISION = 0.01  # of the intercept a priori: one outcome outweighs it a hundredfold
NOISE, _NOISE_WEIGHT = 0.05, 5.0  # variance of a reward around its estimate a priori, and for how many it counts
_CALM = 500  # decisions until what has jumped once is expected to jump again
COST_FLOOR = 0.2  # of what an arm costs on average: a line may fall to 0 and below, but no request is that cheap
CHECKED_EVERY = 256  # outcomes of an arm
_TOLERANCE = 1e-8
_LEAST = 1e-100  # weight of what is long forgotten
_AXIS_OF_ARMS = {
    **dict.fromkeys(("stamps", "mass", "unrest", "latency", "precision", "covariance"), 0),
    **dict.fromkeys(("noise", "costs", "coef"), 1),
}


class LinearArms:
    """State of k arms over d = p + 1 inputs, the first of them constant.

    Arm a believes quality = z·θ_a + noise with θ_a ~ N(coef, σ_a²·covariance), and cost likewise on the same
    covariance (both are seen together). An outcome is a Kalman step: gain g/(1 + z·g) with g = covariance·z
    (Sherman & Morrison, 1950). The intercept walks at random with variance ``wander``·σ_a² per decision (West &
    Harrison, *Bayesian Forecasting and Dynamic Models*, 1997, ch. 2): an arm that was not tried for long becomes
    uncertain, and a change of level is learned. ``forgetting`` γ lets all evidence fade by γ per decision, down to the
    prior. What has jumped once (``keep``) may jump back: the level of that arm walks faster, by the square of the
    jump in 500 decisions, until it is settled. Precision is kept beside its inverse, to measure and mend its drift.

    Args:
        ridge: prior precision of the coefficients in units of 1/σ²; None takes the mean squared norm of the
            features, so that features explain a priori as much variance as there is noise.
        wander: ≥ 0, variance of the level per decision in units of σ².
        forgetting: γ in (0, 1].

    Attributes:
        precision, covariance: (k, d, d), inverse to each other. coef: (2, k, d) of quality and cost.
        stamps: (k,) decisions at which an arm was last brought up to date. mass: (k,) share of its prior left.
        noise: (2, k) recent mean squared error and outcomes seen. costs: (2, k) the same of cost.
        unrest: (k,) what is added to ``wander``. latency: (k,) seconds, NaN = unknown.
        scale: (2,) ridge in use, outcomes that it was taken from.
    """

    def __init__(self, ridge: float | None, wander: float, forgetting: float) -> None:
        self.ridge, self.wander, self.forgetting = ridge, wander, forgetting
        self.scale, self.norm = np.array([0.0 if ridge is None else ridge, 0.0]), 0.0
        self.costs, self.noise = np.zeros((2, 2, 0))
        self.latency, self.stamps, self.mass, self.unrest = np.zeros((4, 0))
        self.coef = np.zeros((2, 0, 0))
        self.precision = self.covariance = np.zeros((0, 0, 0))
        self.levels: list[tuple[float, float]] = []  # what was believed of arms before the width is known

    @property
    def width(self) -> int:
        """d, or 0 while no features were seen."""
        return self.coef.shape[2]

    def prior(self) -> Floats:
        """Diagonal (d,) of the prior precision."""
        return np.concatenate([[LEVEL_PRECISION], np.full(self.width - 1, self.scale[0])])

    def open(self, z: Floats) -> None:
        """Take the width, and where it is free the ridge, from the first input (d,)."""
        if self.ridge is None and self.scale[0] == 0.0:
            self.scale[0] = float(z[1:] @ z[1:]) or 1.0
        k, d = len(self.stamps), len(z)
        self.coef = np.zeros((2, k, d))
        self.coef[:, :, 0] = np.array(self.levels).T
        self.precision = np.tile(np.diag(self.prior()), (k, 1, 1))
        self.covariance = np.tile(np.diag(1.0 / self.prior()), (k, 1, 1))
        self.ready()

    def ready(self) -> None:
        """Views and numbers that choosing needs at hand."""
        k, d = len(self.stamps), self.width
        # the rows of an arm's covariance, then its coefficients: one product with an input answers all that is asked
        self._table = np.concatenate([self.covariance, self.coef.transpose(1, 0, 2)], axis=1)
        self._rows = self._table.reshape(k * (d + 2), d)
        self.covariance, self.coef = self._table[:, :d], self._table[:, d:].transpose(1, 0, 2)
        self._walk = self.wander + self.unrest
        self.sigma = np.array([self._deviation(arm) for arm in range(k)])
        self.floor = COST_FLOOR * self.costs[0]

    def _deviation(self, arm: int) -> float:
        """σ of one arm, drawn towards what is believed of any."""
        seen = min(self.noise.item(1, arm), RECENT)
        return math.sqrt((self.noise.item(0, arm) * seen + NOISE * _NOISE_WEIGHT) / (seen + _NOISE_WEIGHT))

    def add(self, quality: float, cost: float, latency: float | None, clock: int) -> None:
        """One more arm with what is believed of it."""
        self.levels.append((quality, cost))
        self.stamps, self.mass = np.append(self.stamps, clock), np.append(self.mass, 1.0)
        self.unrest = np.append(self.unrest, 0.0)
        self.latency = np.append(self.latency, np.nan if latency is None else latency)
        self.noise = np.column_stack([self.noise, np.zeros(2)])
        self.costs = np.column_stack([self.costs, [cost, 0.0]])
        if self.width:
            level = np.zeros((2, 1, self.width))
            level[:, 0, 0] = quality, cost
            self.coef = np.concatenate([self.coef, level], axis=1)
            self.precision = np.append(self.precision, np.diag(self.prior())[None], axis=0)
            self.covariance = np.append(self.covariance, np.diag(1.0 / self.prior())[None], axis=0)
            self.ready()

    def drop(self, arm: int) -> None:
        """Take out one arm."""
        del self.levels[arm]
        for name, axis in _AXIS_OF_ARMS.items():
            if name not in ("precision", "covariance", "coef") or self.width:
                setattr(self, name, np.ascontiguousarray(np.delete(getattr(self, name), arm, axis=axis)))
        if self.width:
            self.ready()

    def believed(self, z: Floats, clock: int) -> tuple[Floats, Floats, Floats]:
        """Expected quality, expected cost, and the variance of quality in units of σ², each (k,), for an input (d,)."""
        d = len(z)
        products = self._rows.dot(z).reshape(-1, d + 2)
        return products[:, d], products[:, d + 1], self._aged(products[:, :d].dot(z), z, clock)

    def spreads(self, Z: Floats, clock: int) -> Floats:
        """Variance (n, k) of quality in units of σ² for inputs (n, d)."""
        return self._aged(np.einsum("nd,kde,ne->nk", Z, self.covariance, Z, optimize=True), Z, clock)

    def _aged(self, variance: Floats, inputs: Floats, clock: int) -> Floats:
        """With what the time since an arm's last outcome adds."""
        gap = clock - self.stamps
        if self.forgetting < 1.0:
            most = (inputs * inputs / self.prior()).sum(axis=-1)[..., None]
            variance = np.minimum(variance / np.maximum(self.forgetting**gap, _LEAST), most)
        return np.asarray(variance + np.minimum(self._walk * gap, 1.0 / LEVEL_PRECISION))

    def learn(self, z: Floats, arm: int, reward: float, cost: float | None, age: int, clock: int, blur: float) -> None:
        """One outcome of ``arm`` for the input (d,), ``age`` decisions ago; ``blur``: standard error of the reward."""
        self._advance(arm, clock)
        block, d = self._table[arm], len(z)
        noise = 1.0 if not age else 1.0 / max(self.forgetting**age, _LEAST) + self.wander * age
        if blur:  # of the cost, too, though it is certain: both share the covariance
            noise += (blur / self.sigma.item(arm)) ** 2
        products = block.dot(z)
        g = products[:d]
        total = noise + g.dot(z)
        change = -products
        change[d] = error = reward - products.item(d)
        change[d + 1] = 0.0
        if cost is not None:
            change[d + 1] = cost - products.item(d + 1)
            average(self.costs, arm, cost)
            self.floor[arm] = COST_FLOOR * self.costs.item(0, arm)
        add_outer(block, 1.0 / total, change, g)
        add_outer(self.precision[arm], 1.0 / noise, z, z)
        average(self.noise, arm, error * error / total)
        self.sigma[arm] = self._deviation(arm)
        seen = int(self.noise.item(1, arm))
        if self.ridge is None and self.scale.item(1) < CHECKED_EVERY:
            self._rescale(z)
        elif seen % CHECKED_EVERY == 0:
            self.unrest[arm], self._walk[arm] = 0.0, self.wander
            self.mend(arm, z)

    def _advance(self, arm: int, clock: int) -> None:
        """Let the evidence of one arm fade, and its level walk, up to now."""
        if not (gap := clock - self.stamps.item(arm)):
            return
        self.stamps[arm] = clock
        P, A = self.covariance[arm], self.precision[arm]
        if self.forgetting < 1.0:
            kept = max(self.forgetting**gap, _LEAST)
            P /= kept
            A *= kept
            self.mass[arm] *= kept
            if self.mass[arm] < 0.5:
                self._refill(arm)
        step = min(self._walk.item(arm) * gap, max(1.0 / LEVEL_PRECISION - P.item(0, 0), 0.0))
        if step:
            row = A[0].copy()
            add_outer(A, -1.0 / (1.0 / step + A.item(0, 0)), row, row)
            P[0, 0] += step

    def _add_prior(self, arm: int, diagonal: Floats) -> None:
        """Add a belief in the prior means of precision ``diagonal`` (d,)."""
        towards = self.coef[:, arm] @ self.precision[arm]
        towards[:, 0] += diagonal[0] * np.array(self.levels[arm])
        self.precision[arm] += np.diag(diagonal)
        self.covariance[arm] = inverse(self.precision[arm])
        self.coef[:, arm] = towards @ self.covariance[arm]

    def _refill(self, arm: int) -> None:
        """Give back the part of the prior that faded."""
        self._add_prior(arm, (1.0 - self.mass[arm]) * self.prior())
        self.mass[arm] = 1.0

    def _rescale(self, z: Floats) -> None:
        """Follow the mean squared norm of the features; the ridge changes after 1, 2, 4, 8, … outcomes."""
        self.scale[1] = seen = int(self.scale[1]) + 1
        norm = float(z[1:] @ z[1:])
        self.norm += (min(norm, 10.0 * self.norm or norm) - self.norm) / seen  # one odd request does not set the scale
        if seen & (seen - 1) or not self.norm:
            return
        change = np.append(0.0, np.full(self.width - 1, self.norm - self.scale[0]))
        self.scale[0] = self.norm
        for arm, mass in enumerate(self.mass):
            self._add_prior(arm, mass * change)

    def mend(self, arm: int, z: Floats) -> None:
        """Invert anew where the inverse has drifted."""
        if not inverse_error(self.precision[arm], self.covariance[arm], z) < _TOLERANCE:
            self.covariance[arm] = inverse(self.precision[arm])

    def keep(self, arm: int, share: float, shift: float) -> None:
        """Believe ``share`` of the evidence of one arm, whose quality has moved by ``shift``."""
        if not self.width:
            return
        self.coef[0, arm, 0] += shift
        self.precision[arm] *= share
        self.covariance[arm] /= share
        self.mass[arm] *= share
        self.unrest[arm] = shift * shift / (_CALM * self.sigma[arm] ** 2)
        self._walk[arm] = self.wander + self.unrest[arm]
        self._refill(arm)

    def reprice(self, arm: int, factor: float) -> None:
        """Costs of one arm from now on are ``factor`` times what they were."""
        self.levels[arm] = self.levels[arm][0], self.levels[arm][1] * factor
        self.coef[1, arm] *= factor
        self.costs[0, arm] *= factor
        self.floor = COST_FLOOR * self.costs[0]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, as ``restore`` takes it."""
        own = {name: getattr(self, name) for name in (*_AXIS_OF_ARMS, "scale")}
        return own | {"levels": np.array(self.levels).reshape(-1, 2), "norm": np.array(self.norm)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Inverse of ``arrays``."""
        for name in (*_AXIS_OF_ARMS, "scale"):
            setattr(self, name, np.ascontiguousarray(arrays[name]))
        self.levels = [(quality, cost) for quality, cost in arrays["levels"].tolist()]
        self.norm = float(arrays["norm"])
        self.ready()
