"""LinearBandit: what LinUCB and LinTS share, linear estimates of each arm that are learned online."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.bandit import Bandit
from routelab.policies.base import Choice, Estimates, Features, Floats
from routelab.policies.linear_arms import LinearArms
from routelab.policies.linear_warm import warm_start
from routelab.policies.objective import Objective
from routelab.policies.outcomes import Outcomes, check_belief, check_factor, checked

_LARGEST = 1e6  # norm of an input: beyond it one request would outweigh all others


class LinearBandit(Bandit):
    """What LinUCB and LinTS share: quality and cost of each arm linear in the features, learned online.

    Features should be centred and about of one scale (``RequestFeaturizer(n_components=25, standardize=True)``); an
    intercept is added. See ``LinearArms`` for the model. A reward of standard error s weighs σ²/(σ² + s²).
    """

    def __init__(self, alpha: float, ridge: float | None, wander: float, forgetting: float, flip_share: float) -> None:
        self.alpha = alpha
        self.ridge = ridge
        self.wander = wander
        self.forgetting = forgetting
        self.flip_share = flip_share

    _arms: LinearArms

    @property
    def arms_(self) -> LinearArms:
        """State of the arms."""
        try:
            return self._arms
        except AttributeError:
            self._arms = self._new_arms()
            return self._arms

    def _new_arms(self) -> LinearArms:
        self._check_settings()
        for name, least in (("alpha", 0.0), ("wander", 0.0), ("ridge", np.nextafter(0.0, 1.0))):
            value = getattr(self, name)
            if value is not None and not least <= value < np.inf:
                raise PolicyError(f"{type(self).__name__}.{name} is {value!r}; give a finite number ≥ {least:g}")
        return LinearArms(self.ridge, self.wander, self.forgetting)

    def _components(self, X: Features) -> Features:
        """What the regressions see of features (…, p)."""
        return X

    def _input(self, x: Features) -> Floats:
        """The input (d,) of one request, after a constant."""
        seen = self._components(x)
        z = np.empty(len(seen) + 1)
        z[0] = 1.0
        z[1:] = seen
        if not z.dot(z) < _LARGEST**2:
            worst = int(np.argmax(~(np.abs(x) < _LARGEST)))
            raise PolicyError(
                f"feature {worst} is {x[worst]}, not finite or huge; impute it, or standardise the features"
            )
        if self.arms_.width != len(z):
            self._open(z)
        return z

    def _inputs(self, X: Features) -> Floats:
        """The same (n, d) of n requests."""
        seen = self._components(X)
        if len(seen) and not self.arms_.width:
            self._input(X[0])
        return np.column_stack([np.ones(len(seen)), checked(seen, self.arms_.width - 1)])

    def _open(self, z: Floats) -> None:
        """Take the width of the first input; refuse another one later."""
        self.check_fitted()
        if self.arms_.width:
            raise PolicyError(f"the policy has learned on {self.arms_.width - 1} features, got {len(z) - 1}")
        self.arms_.open(z)

    def _fit(self, data: Outcomes) -> None:
        """Warm start: as if every observed cell had been an outcome, all at once."""
        self._warm_up(data, data.quality, data.cost)

    def _warm_up(self, data: Outcomes, quality: Floats, cost: Floats) -> None:
        """Start anew from outcomes (n, k), NaN = not observed."""
        self._arms = self._new_arms()
        latency = np.full(len(data.providers), np.nan) if data.latency is None else np.nanmean(data.latency, axis=0)
        for seconds in latency:
            self.arms_.add(0.0, 0.0, None if np.isnan(seconds) else float(seconds), self.clock_)
        Z = np.column_stack([np.ones(len(data.X)), self._components(data.X)])
        warm_start(self.arms_, Z, quality, cost, data.quality_se)

    def update(
        self,
        x: Features,
        arm: int,
        reward: float,
        cost: float | None = None,
        *,
        age: int | None = None,
        se: float | None = None,
    ) -> None:
        """Learn one outcome of ``arm``: a reward in [0, 1], its standard error and, where known, a cost in USD.

        Raises:
            PolicyError: the arm is unknown, a value out of range, or the features (p,) are of another width or not
                finite; nothing is learned then.
        """
        self._check(arm, reward, cost, age, se)
        z = self._input(x)
        self._arrived(age)
        blur = se / (1.0 - 2.0 * self.flip_share) if se else 0.0
        self._learn(x, z, arm, self._unflipped(reward), cost, age or 0, blur)

    def _learn(
        self, x: Features, z: Floats, arm: int, reward: float, cost: float | None, age: int, blur: float
    ) -> None:
        self.arms_.learn(z, arm, reward, cost, age, self.clock_, blur)

    def predict(self, X: Features) -> Estimates:
        """Expected quality within [0, 1], cost, and the standard error of quality of each arm, each (n, k)."""
        return self._estimates(*self._believed(X))

    def _believed(self, X: Features) -> tuple[Floats, Floats, Floats]:
        """Expected quality, cost and the standard error of quality, each (n, k)."""
        quality, cost, deviation = self._linear(X)
        return quality, np.maximum(cost, self.arms_.floor), deviation

    def _believed_one(self, x: Features) -> tuple[Floats, Floats, Floats]:
        """The same (k,) for one request (p,): the decision path."""
        quality, cost, deviation = self._linear_one(x)
        return quality, np.maximum(cost, self.arms_.floor), deviation

    def _linear(self, X: Features) -> tuple[Floats, Floats, Floats]:
        """What the regressions say of n requests, each (n, k)."""
        self.check_fitted()
        Z, arms = self._inputs(X), self.arms_
        deviation = np.sqrt(arms.spreads(Z, self.clock_)) * arms.sigma
        return Z @ arms.coef[0].T, Z @ arms.coef[1].T, deviation

    def _linear_one(self, x: Features) -> tuple[Floats, Floats, Floats]:
        """The same (k,) for one request (p,)."""
        z, arms = self._input(x), self.arms_
        quality, cost, variance = arms.believed(z, self.clock_)
        return quality, cost, np.sqrt(variance) * arms.sigma

    def _estimates(self, quality: Floats, cost: Floats, deviation: Floats) -> Estimates:
        """Of n requests, all (n, k)."""
        latency = self.arms_.latency
        known = None if np.isnan(latency).any() else latency[None].repeat(len(quality), axis=0)
        return Estimates(quality.clip(0.0, 1.0), cost, known, deviation)

    def _utility(self, quality: Floats, cost: Floats, objective: Objective) -> Floats:
        """Expected utility (…, k), −inf for arms that break a constraint."""
        if not (objective.latency_weight or objective.constrained):
            return quality - objective.cost_weight * objective.net(cost)
        latency = None if np.isnan(self.arms_.latency).any() else np.broadcast_to(self.arms_.latency, quality.shape)
        utility = objective.utility(quality, cost, latency)
        if not objective.constrained:
            return utility
        return np.where(objective.feasible(quality.clip(0.0, 1.0), cost, latency), utility, -np.inf)

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Choose an arm for the features (p,) of one request.

        Raises:
            PolicyError: the features are of another width or not finite, or there are no arms.
        """
        quality, cost, deviation = self._believed_one(x)
        utility = self._utility(quality, cost, objective)
        spread = self.alpha * deviation
        self._decided()
        return Choice(
            self._choose(utility, spread, rng),
            lambda: self._probabilities(utility[None], spread[None])[0],
            lambda: self._estimates(quality[None], cost[None], deviation[None]),
        )

    def propensities(self, x: Features, objective: Objective) -> Callable[[], Floats]:
        """A function that gives the (k,) probabilities of the present state, even after later updates."""
        quality, cost, deviation = self._believed_one(x)
        utility = self._utility(quality, cost, objective)
        spread = self.alpha * deviation
        return lambda: self._probabilities(utility[None], spread[None])[0]

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """Probability (n, k) of each arm for each row of (n, p) features."""
        quality, cost, deviation = self._believed(X)
        return self._probabilities(self._utility(quality, cost, objective), self.alpha * deviation)

    @abstractmethod
    def _choose(self, utility: Floats, spread: Floats, rng: np.random.Generator) -> int:
        """The arm, given expected utilities and α times their standard errors (k,)."""

    @abstractmethod
    def _probabilities(self, utility: Floats, spread: Floats) -> Floats:
        """With what probability ``_choose`` takes each arm, each row of (n, k) by itself."""

    def add_provider(self, name: str, *, quality: float = 0.5, cost: float = 0.0, latency: float | None = None) -> Self:
        """Add an arm, believed to have these means until it is observed; one outcome outweighs that belief.

        Raises:
            PolicyError: the name is taken, or a belief is out of its range.
        """
        if name in self.providers_:
            raise PolicyError(f"provider {name!r} is there already; remove it first")
        check_belief(name, quality, cost, latency)
        self.arms_.add(quality, cost, latency, self.clock_)
        self._names = (*self.providers_, name)
        return self

    def remove_provider(self, name: str) -> Self:
        """Remove an arm and what it learned; PolicyError where it is unknown or the last."""
        self.arms_.drop(self._drop_name(name))
        return self

    def reprice_provider(self, name: str, factor: float) -> Self:
        """From now on expect ``factor`` (> 0) times the cost of one arm; PolicyError for an unknown name or factor."""
        check_factor(f"the factor of the price of {name!r}", factor)
        self.arms_.reprice(self._position(name), factor)
        return self

    def forget_provider(self, name: str, keep: float = 0.1, shift: float = 0.0) -> Self:
        """Keep the share ``keep`` of the evidence of one arm, its level moved by ``shift``: it becomes uncertain."""
        check_factor("keep", keep, highest=1.0)
        self.arms_.keep(self._position(name), keep, shift)
        return self

    def _state(self) -> Bundle:
        return Bundle("", {"clock": self.clock_, "open": self.open_}, self.arms_.arrays())

    def _restore(self, bundle: Bundle) -> None:
        self.clock_, self.open_ = bundle.meta["clock"], bundle.meta["open"]
        self.arms_.restore(bundle.arrays)
