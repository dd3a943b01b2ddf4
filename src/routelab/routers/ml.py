"""MLRouter: routes by a learned policy, by hand-written rules until it is trained."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Unpack

import numpy as np

from routelab.db_reading import TrainingData
from routelab.errors import RoutelabError
from routelab.features import sample_rows
from routelab.policies import EpsilonGreedyPolicy, ForestClassifierPolicy, ForestPolicy, Policy, RulePolicy
from routelab.providers import Provider, ProviderPool
from routelab.request import LLMRequest
from routelab.routers.base import Router
from routelab.routers.decision import typical_cost
from routelab.routers.settings import Settings
from routelab.routers.training import (
    TrainingReport,
    answered_rows,
    evaluate,
    fit_rows,
    graded_arms,
    heldout_rows,
    read_valid,
)

Prices = dict[str, float]


class MLRouter(Router):
    """Routes each request by ``policy``; while that is not fitted, by ``RulePolicy`` on list prices.

    Args:
        providers: the arms; a pool, or providers that one is made of.
        policy: a ``ForestPolicy`` unless told otherwise. It never tries what it does not expect to be best; give
            ``EpsilonGreedyPolicy(0.1, ForestPolicy())`` to keep exploring, from the first request on. A
            ``ForestClassifierPolicy`` brings its own objective, and learns only from requests that several providers
            answered (``PerformanceDB.record_table``).
        heldout: share of the requests that ``train``, which learns from the ``db``, evaluates on.
        settings: ``featurizer``, ``db``, ``objective``, ``deadline_s`` and whatever else ``Router`` takes by name.

    >>> from routelab.providers import simulated_providers
    >>> router = MLRouter(simulated_providers(seed=0))
    >>> asyncio.run(router.route(LLMRequest("Translate 'cheese' into French."))).name in router.pool.names
    True
    """

    def __init__(
        self,
        providers: ProviderPool | Iterable[Provider],
        policy: Policy | None = None,
        *,
        heldout: float = 0.2,
        **settings: Unpack[Settings],
    ) -> None:
        policy = ForestPolicy() if policy is None else policy
        if isinstance(policy, ForestClassifierPolicy):
            settings["objective"] = policy.objective
        super().__init__(providers, policy, **settings)
        self.heldout = heldout
        self._newest_version = 0
        # what is believed of a provider without outcomes: the means of the last training data
        self._quality = 0.5
        self._latency: float | None = None

    def acting_policy(self) -> Policy:
        """The trained policy; while there is none the rules, explored around where the policy would explore."""
        if self.policy.providers_:
            return self.policy
        costs = np.array([[typical_cost(provider.price) for provider in self.pool]])
        # nothing is known of quality and latency, so that they must count alike
        alike = np.full(costs.shape, 0.5)
        scaling = self.featurizer.scaling_
        rules = RulePolicy(None if scaling is None else scaling.tolist())
        rules.fit(np.zeros((1, 1)), alike, costs, alike, providers=self.pool.names)
        if isinstance(self.policy, EpsilonGreedyPolicy):
            return EpsilonGreedyPolicy(self.policy.epsilon, rules)
        return rules

    async def route(self, request: LLMRequest) -> Provider:
        """The provider that should answer ``request``; the decision is recorded, its id is in ``last_decision``."""
        return self.decide(request).provider

    async def train(self) -> TrainingReport:
        """Fit on what the log holds, evaluate on held-out requests, then serve a fit on all of them.

        The fit runs in a thread, so that routing goes on; the new policy replaces the old one in one step.

        Raises:
            RoutelabError: there is no log, or it holds fewer than 20 answered requests.
        """
        data, prices = await self._read()
        report, policy = await asyncio.to_thread(self._fit, data)
        await self._install(policy, data, prices)
        return report

    async def _install(self, policy: Policy, data: TrainingData, prices: Prices) -> None:
        """Let a new fit serve, once nothing stands against it."""
        self._serve(policy, data, prices)

    def add_provider(self, provider: Provider, *, quality: float = 0.5, latency: float | None = None) -> None:
        """Add a provider at run time; its ``latency`` is believed to be the mean of the last training data."""
        super().add_provider(provider, quality=quality, latency=self._latency if latency is None else latency)

    def _prices(self) -> Prices:
        """Typical cost in USD of each provider now."""
        return {provider.name: typical_cost(provider.price) for provider in self.pool}

    async def _read(self) -> tuple[TrainingData, Prices]:
        """What the log teaches now, read in a thread, and the prices that its costs are at."""
        if self.db is None:
            raise RoutelabError("there is no db to train on; give db=PerformanceDB(…), or fit the policy yourself")
        changes, prices = tuple(self.price_changes), self._prices()
        return await asyncio.to_thread(read_valid, self.db, self.featurizer.feature_set_, changes), prices

    def _fit(self, data: TrainingData) -> tuple[TrainingReport, Policy]:
        names = self.pool.names
        rows = answered_rows(data, names)
        held = heldout_rows(data, rows, self.heldout, np.random.default_rng(self.seed))
        arms = graded_arms(data, names, rows[~held])
        policy = fit_rows(self.policy, data, arms, rows[~held])
        report = evaluate(policy, data, arms, rows[~held], rows[held], self.objective)
        return report, fit_rows(self.policy, data, arms, rows)

    def _serve(self, policy: Policy, data: TrainingData, prices: Prices) -> None:
        """Let a new fit, which learned costs at ``prices``, replace the policy in one step."""
        self._quality = float(np.nanmean(data.quality))
        self._latency = None if np.isnan(data.latency).all() else float(np.nanmean(data.latency))
        self._match_pool(policy, prices)
        self._newest_version += 1
        self.policy, self.policy_version = policy, self._newest_version
        self.background = data.X[sample_rows(len(data.X), self.seed)]

    def _match_pool(self, policy: Policy, prices: Prices) -> None:
        """Bring a policy, about to serve, that learned costs at ``prices`` up to the providers and prices of now.

        Those that left the pool go; those without outcomes are believed to be as the others.
        """
        for name, now in self._prices().items():
            if name in policy.providers_ and prices.get(name, 0.0) not in (0.0, now):
                policy.reprice_provider(name, now / prices[name])
        for provider in self.pool:
            if provider.name not in policy.providers_:
                cost = typical_cost(provider.price)
                policy.add_provider(provider.name, quality=self._quality, cost=cost, latency=self._latency)
        for name in set(policy.providers_) - set(self.pool.names):
            policy.remove_provider(name)
        self.typical_costs = self._prices()
