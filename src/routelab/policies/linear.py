"""LinUCBPolicy and LinTSPolicy: linear estimates of each arm, explored by bounds or by sampling."""

from __future__ import annotations

import numpy as np

from routelab.policies.base import Floats
from routelab.policies.linear_bandit import LinearBandit
from routelab.policies.propensity import normal_argmax_probabilities


class LinUCBPolicy(LinearBandit):
    """LinUCB with disjoint arms (Li et al., *A Contextual-Bandit Approach to Personalized News*, 2010, algorithm 1).

    It chooses the arm of the largest x·θ_a + α·σ_a·√(xᵀA_a⁻¹x) − λ·cost. The noise σ_a is learned, so that α counts
    standard errors and holds for rewards of any spread. Constraints are judged on means. A choice is certain.

    Args:
        alpha: standard errors of optimism, ≥ 0.
        ridge: prior precision > 0; None takes it from the scale of the features.
        wander: variance per decision by which the level of an arm may drift, in units of its noise.
        forgetting: factor per decision by which evidence fades, in (0, 1].
        flip_share: share of rewards that are believed to come flipped, in [0, 0.5).

    >>> from routelab.policies.objective import Objective
    >>> policy, rng = LinUCBPolicy().add_provider("a").add_provider("b"), np.random.default_rng(0)
    >>> for x in rng.normal(size=(200, 2)):
    ...     arm = policy.select(x, Objective(), rng).arm
    ...     policy.update(x, arm, float((x[0] > 0) == (arm == 0)))
    >>> policy.predict(np.array([[1.0, 0.0], [-1.0, 0.0]])).quality.argmax(axis=1)
    array([0, 1])
    """

    def __init__(
        self,
        alpha: float = 1.0,
        ridge: float | None = None,
        wander: float = 1e-4,
        forgetting: float = 1.0,
        flip_share: float = 0.0,
    ) -> None:
        super().__init__(alpha, ridge, wander, forgetting, flip_share)

    def _choose(self, utility: Floats, spread: Floats, rng: np.random.Generator) -> int:
        return int((utility + spread).argmax())

    def _probabilities(self, utility: Floats, spread: Floats) -> Floats:
        chosen = np.zeros(utility.shape)
        chosen[np.arange(len(chosen)), (utility + spread).argmax(axis=1)] = 1.0
        return chosen


class LinTSPolicy(LinearBandit):
    """Linear Thompson sampling with disjoint arms (Agrawal & Goyal, 2013), exact for each choice.

    It chooses the arm of the largest x·θ_a + α·σ_a·√(xᵀA_a⁻¹x)·N(0, 1) − λ·cost: with disjoint arms that is what
    sampling each θ_a would give. Propensities are exact to 1e-4 (``normal_argmax_probabilities``), computed when read.

    Args:
        alpha: standard deviation of the draws in standard errors, ≥ 0; 1 samples the posterior.
        ridge: prior precision > 0; None takes it from the scale of the features.
        wander: variance per decision by which the level of an arm may drift, in units of its noise.
        forgetting: factor per decision by which evidence fades, in (0, 1].
        flip_share: share of rewards that are believed to come flipped, in [0, 0.5).

    >>> from routelab.policies.objective import Objective
    >>> policy = LinTSPolicy().add_provider("a").add_provider("b")
    >>> policy.action_probabilities(np.ones((1, 2)), Objective()).round(6)
    array([[0.5, 0.5]])
    """

    def __init__(
        self,
        alpha: float = 0.5,
        ridge: float | None = None,
        wander: float = 1e-4,
        forgetting: float = 1.0,
        flip_share: float = 0.0,
    ) -> None:
        super().__init__(alpha, ridge, wander, forgetting, flip_share)

    def _choose(self, utility: Floats, spread: Floats, rng: np.random.Generator) -> int:
        return int((utility + spread * rng.standard_normal(len(utility))).argmax())

    def _probabilities(self, utility: Floats, spread: Floats) -> Floats:
        return normal_argmax_probabilities(utility, spread)
