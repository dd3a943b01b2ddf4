"""EpsilonGreedyPolicy: an exploration share on top of any policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from routelab.bundle import Bundle
from routelab.errors import PolicyError
from routelab.policies.base import Choice, Estimates, Features, Floats, Policy
from routelab.policies.objective import Objective
from routelab.policies.outcomes import Outcomes
from routelab.policies.thompson import ThompsonPolicy
from routelab.request import is_finite


class EpsilonGreedyPolicy(Policy):
    """With probability ε an arm drawn uniformly, otherwise the choice of ``base`` (Sutton & Barto, 2018, §2.2).

    The base is Thompson sampling unless told otherwise; a ``ForestPolicy`` inside gives a forest whose log supports
    the evaluation of other policies. Exploration keeps to the arms that meet the objective's constraints.
    Propensity of arm j: ε·[j feasible]/#feasible + (1 − ε)·base(j).

    Args:
        epsilon: exploration share in [0, 1].
        base: policy that exploits, fitted or not; it is used as it is. None means ``ThompsonPolicy()``.

    >>> policy = EpsilonGreedyPolicy(epsilon=0.2).add_provider("a").add_provider("b")
    >>> policy.action_probabilities(np.zeros((1, 1)), Objective()).round(6)
    array([[0.5, 0.5]])
    """

    def __init__(self, epsilon: float = 0.1, base: Policy | None = None) -> None:
        self.epsilon = epsilon
        self.base = base

    @property
    def base_(self) -> Policy:
        """The policy that exploits and learns: the object given as ``base``, or a ``ThompsonPolicy`` of its own."""
        if self.base is not None:
            return self.base
        if not hasattr(self, "_own"):
            self._own: Policy = ThompsonPolicy()
        return self._own

    @property
    def providers_(self) -> tuple[str, ...]:
        """Names of the arms, those of the base policy."""
        return self.base_.providers_

    @property
    def online(self) -> bool:
        """Whether the base policy learns by ``update``."""
        return self.base_.online

    def _check_epsilon(self) -> None:
        if not (is_finite(self.epsilon) and 0.0 <= self.epsilon <= 1.0):
            raise PolicyError(f"EpsilonGreedyPolicy.epsilon is {self.epsilon!r}; give a share in [0, 1]")

    def _fit(self, data: Outcomes) -> None:
        """Fit the base policy."""
        self._check_epsilon()
        outcomes = data.X, data.quality, data.cost, data.latency
        self.base_.fit(*outcomes, providers=data.providers, quality_se=data.quality_se)

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
        """Let the base policy learn one outcome."""
        self.base_.update(x, arm, reward, cost, age=age, se=se)

    def add_provider(self, name: str, *, quality: float = 0.5, cost: float = 0.0, latency: float | None = None) -> Self:
        """Add an arm to the base policy."""
        self._check_epsilon()
        self.base_.add_provider(name, quality=quality, cost=cost, latency=latency)
        return self

    def remove_provider(self, name: str) -> Self:
        """Remove an arm from the base policy."""
        self.base_.remove_provider(name)
        return self

    def reprice_provider(self, name: str, factor: float) -> Self:
        """Reprice an arm of the base policy."""
        self.base_.reprice_provider(name, factor)
        return self

    def forget_provider(self, name: str, keep: float = 0.1, shift: float = 0.0) -> Self:
        """Let the base policy forget an arm."""
        self.base_.forget_provider(name, keep, shift)
        return self

    def predict(self, X: Features) -> Estimates:
        """Estimates of the base policy."""
        return self.base_.predict(X)

    def _explored(self, X: Features, objective: Objective) -> Floats:
        """Uniform probabilities (n, k) over the arms that meet the constraints."""
        if not objective.constrained:
            return np.full((len(X), len(self.providers_)), 1.0 / len(self.providers_))
        estimates = self.predict(X)
        feasible = objective.feasible(estimates.quality, estimates.cost, estimates.latency)
        uniform: Floats = feasible / feasible.sum(axis=1, keepdims=True)
        return uniform

    def action_probabilities(self, X: Features, objective: Objective) -> Floats:
        """Probabilities (n, k): the exploration share and the base policy's own."""
        self._check_epsilon()
        exploit = self.base_.action_probabilities(X, objective)
        return self.epsilon * self._explored(X, objective) + (1.0 - self.epsilon) * exploit

    def propensities(self, x: Features, objective: Objective) -> Callable[[], Floats]:
        """A function that gives the (k,) probabilities of the present state, even after later updates."""
        epsilon, exploit = self.epsilon, self.base_.propensities(x, objective)
        explored = self._explored(x[None, :], objective)[0]
        return lambda: epsilon * explored + (1.0 - epsilon) * exploit()

    def select(self, x: Features, objective: Objective, rng: np.random.Generator) -> Choice:
        """Explore with probability ε, otherwise let the base policy choose."""
        self._check_epsilon()
        self.check_fitted()
        epsilon, explored = self.epsilon, self._explored(x[None, :], objective)[0]
        choice = self.base_.select(x, objective, rng)
        if not choice.complete:
            choice = Choice(choice.arm, self.base_.propensities(x, objective), choice.estimates)
        arm = choice.arm
        if rng.random() < epsilon:
            arm = int(rng.choice(np.flatnonzero(explored)))
        return Choice(
            arm, lambda: epsilon * explored + (1.0 - epsilon) * choice.probabilities, lambda: choice.estimates
        )

    def _state(self) -> Bundle:
        base = self.base_.to_bundle()
        return Bundle("", {"kind": base.kind, "meta": base.meta}, base.arrays, base.onnx)

    def _restore(self, bundle: Bundle) -> None:
        from routelab.policies import policy_from_bundle

        base = policy_from_bundle(Bundle(bundle.meta["kind"], bundle.meta["meta"], bundle.arrays, bundle.onnx))
        if self.base is not None:
            self.base = base
        else:
            self._own = base
