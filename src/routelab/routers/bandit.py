"""BanditRouter: explores a little, exploits by Thompson sampling, learns from every outcome at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from routelab.features import RequestFeaturizer
from routelab.performance_db import PerformanceDB
from routelab.policies import BudgetPacer, EpsilonGreedyPolicy, Objective, Policy
from routelab.providers import Provider, ProviderPool
from routelab.request import LLMRequest
from routelab.routers.base import Router, introduce
from routelab.routers.pending import Pending


class BanditRouter(Router):
    """ε-greedy over Thompson sampling: with probability ε any provider, otherwise the sampled best.

    Args:
        providers: the arms; a pool, or providers that one is made of.
        epsilon: exploration share in [0, 1].
        policy: another bandit; None means ``EpsilonGreedyPolicy(epsilon)``.
        featurizer: fitted; None makes one that needs no training data.
        db: log of decisions and outcomes; None keeps no log.
        objective: the trade-off.
        pacer: gives the trade-off of each decision instead, so that mean cost keeps to its budget.
        horizon: decisions that are remembered: a later outcome is recorded in the log, not learned.
        seed: of the policy's draws.
        clock: unix seconds.

    >>> from routelab.providers import simulated_providers
    >>> router = BanditRouter(simulated_providers(seed=0), epsilon=0.1)
    >>> provider = router.select_provider(LLMRequest("What is a monad?"))
    >>> router.record_outcome(router.last_decision.decision_id, quality=0.8, cost_usd=0.001)
    >>> float(router.policy.base_.counts_[0].sum())
    0.8
    """

    def __init__(
        self,
        providers: ProviderPool | Iterable[Provider],
        epsilon: float = 0.1,
        *,
        policy: Policy | None = None,
        featurizer: RequestFeaturizer | None = None,
        db: PerformanceDB | None = None,
        objective: Objective = Objective(),
        pacer: BudgetPacer | None = None,
        horizon: int = 100_000,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        pool = providers if isinstance(providers, ProviderPool) else ProviderPool(providers)
        policy = EpsilonGreedyPolicy(epsilon) if policy is None else policy
        introduce(policy, pool)
        super().__init__(
            pool,
            policy,
            featurizer=featurizer,
            db=db,
            objective=objective,
            pacer=pacer,
            horizon=horizon,
            seed=seed,
            clock=clock,
        )

    def select_provider(self, request: LLMRequest) -> Provider:
        """The provider that should answer ``request``; the decision is recorded, its id is in ``last_decision``."""
        return self.decide(request).provider

    def _learn(self, decided: Pending, quality: float, cost: float) -> None:
        self._update_policy(decided, quality, cost)
