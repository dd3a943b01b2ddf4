"""BanditRouter: explores a little, exploits by Thompson sampling, learns from every outcome at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from routelab.errors import RoutelabError
from routelab.policies import EpsilonGreedyPolicy, Policy
from routelab.providers import Provider, ProviderPool
from routelab.request import LLMRequest, is_finite
from routelab.routers.base import Router, introduce
from routelab.routers.pending import Pending
from routelab.routers.settings import Settings


class BanditRouter(Router):
    """ε-greedy over Thompson sampling: with probability ε any provider, otherwise the sampled best.

    Args:
        providers: the arms; a pool, or providers that one is made of.
        epsilon: exploration share in [0, 1].
        policy: another bandit, which then explores by itself; None means ``EpsilonGreedyPolicy(epsilon)``.
        settings: ``featurizer``, ``db``, ``objective``, ``deadline_s`` and whatever else ``Router`` takes by name.

    Raises:
        RoutelabError: ``epsilon`` is no share; a policy, which goes by name, is none.

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
        **settings: Unpack[Settings],
    ) -> None:
        if not (is_finite(epsilon) and 0.0 <= epsilon <= 1.0):
            raise RoutelabError(
                f"BanditRouter's epsilon is {epsilon!r}; give a share in [0, 1], and a policy by name: policy=…"
            )
        pool = providers if isinstance(providers, ProviderPool) else ProviderPool(providers)
        policy = EpsilonGreedyPolicy(epsilon) if policy is None else policy
        introduce(policy, pool)
        super().__init__(pool, policy, **settings)

    def select_provider(self, request: LLMRequest) -> Provider:
        """The provider that should answer ``request``; the decision is recorded, its id is in ``last_decision``."""
        return self.decide(request).provider

    def _learn(self, decided: Pending, quality: float, cost: float, se: float | None) -> None:
        self._update_policy(decided, quality, cost, se)
