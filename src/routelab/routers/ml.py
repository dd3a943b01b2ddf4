"""MLRouter: routes by a learned policy, by hand-written rules until it is trained."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from routelab.db_reading import TrainingData
from routelab.errors import RoutelabError
from routelab.features import RequestFeaturizer, sample_rows
from routelab.performance_db import PerformanceDB
from routelab.policies import EpsilonGreedyPolicy, ForestClassifierPolicy, ForestPolicy, Objective, Policy, RulePolicy
from routelab.policies.forest_classifier import best_labels
from routelab.providers import Provider, ProviderPool
from routelab.request import LLMRequest
from routelab.routers.base import Router, typical_cost

_LEAST_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a fit reached on requests that it did not see.

    Args:
        n_train: requests the evaluated policy was fitted on.
        n_heldout: requests it was evaluated on; the router then serves a fit on all of them.
        quality_mae: mean absolute error of estimated quality over the observed cells.
        cost_mae_usd: the same of cost, in USD.
        accuracy: share of held-out requests with two or more observed providers for which the policy chose the best
            observed one; None where there is no such request.
        utility: mean utility of the policy on the held-out requests that every provider answered; None without any.
        best_single_utility: the same of the provider with the best mean training utility.
    """

    n_train: int
    n_heldout: int
    quality_mae: float
    cost_mae_usd: float
    accuracy: float | None
    utility: float | None
    best_single_utility: float | None


class MLRouter(Router):
    """Routes each request by ``policy``; while that is not fitted, by ``RulePolicy`` on list prices.

    Args:
        providers: the arms; a pool, or providers that one is made of.
        policy: a ``ForestPolicy`` unless told otherwise. It never tries what it does not expect to be best; give
            ``EpsilonGreedyPolicy(0.1, ForestPolicy())`` to keep exploring, from the first request on. A
            ``ForestClassifierPolicy`` brings its own objective, and learns only from requests that several providers
            answered (``PerformanceDB.record_table``).
        featurizer: fitted; None makes one that needs no training data.
        db: log of decisions and outcomes, what ``train`` learns from.
        objective: the trade-off.
        heldout: share of the requests that ``train`` evaluates on.
        seed: of the policy's draws and of the held-out split.
        clock: unix seconds.

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
        featurizer: RequestFeaturizer | None = None,
        db: PerformanceDB | None = None,
        objective: Objective = Objective(),
        heldout: float = 0.2,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        policy = ForestPolicy() if policy is None else policy
        if isinstance(policy, ForestClassifierPolicy):
            objective = policy.objective
        super().__init__(providers, policy, featurizer=featurizer, db=db, objective=objective, seed=seed, clock=clock)
        self.heldout = heldout
        self.seed = seed
        self._latency: float | None = None

    def acting_policy(self) -> Policy:
        """The trained policy; while there is none the rules, explored around where the policy would explore."""
        if self.policy.providers_:
            return self.policy
        costs = np.array([[typical_cost(provider) for provider in self.pool]])
        # nothing is known of quality and latency, so that they must count alike
        alike = np.full(costs.shape, 0.5)
        rules = RulePolicy().fit(np.zeros((1, 1)), alike, costs, alike, providers=self.pool.names)
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
        if self.db is None:
            raise RoutelabError("MLRouter has no db to train on; give db=PerformanceDB(…), or fit the policy yourself")
        report, policy, data = await asyncio.to_thread(self._fit, self.db)
        self._match_pool(policy, data)
        self.policy = policy
        self.background = data.X[sample_rows(len(data.X), self.seed)]
        self.policy_version += 1
        return report

    def add_provider(self, provider: Provider, *, quality: float = 0.5, latency: float | None = None) -> None:
        """Add a provider at run time; its ``latency`` is believed to be the mean of the last training data."""
        super().add_provider(provider, quality=quality, latency=self._latency if latency is None else latency)

    def _fit(self, db: PerformanceDB) -> tuple[TrainingReport, Policy, TrainingData]:
        data = db.get_training_data(self.featurizer.feature_set_)
        graded = ~np.isnan(data.quality) & np.array([name in self.pool for name in data.providers])
        rows = np.flatnonzero(graded.any(axis=1))
        if len(rows) < _LEAST_REQUESTS:
            raise RoutelabError(f"{len(rows)} answered requests are too few; record at least {_LEAST_REQUESTS}")
        held = _heldout_rows(data, rows, self.heldout, np.random.default_rng(self.seed))
        arms = np.flatnonzero(graded[rows[~held]].any(axis=0))
        if len(arms) < 2:
            raise RoutelabError("fewer than two providers have graded outcomes; route and grade more requests")
        policy = self._fit_rows(data, arms, rows[~held])
        report = self._evaluate(policy, data, arms, rows[~held], rows[held])
        return report, self._fit_rows(data, arms, rows), data

    def _fit_rows(self, data: TrainingData, arms: NDArray[np.intp], rows: NDArray[np.intp]) -> Policy:
        names = [data.providers[j] for j in arms]
        quality, cost, latency = (values[np.ix_(rows, arms)] for values in (data.quality, data.cost, data.latency))
        policy: Policy = clone(self.policy)
        return policy.fit(data.X[rows], quality, cost, latency, providers=names)

    def _match_pool(self, policy: Policy, data: TrainingData) -> None:
        """Let go of providers that left the pool during the fit; believe those without outcomes to be as the others."""
        for name in set(policy.providers_) - set(self.pool.names):
            policy.remove_provider(name)
        self._latency = None if np.isnan(data.latency).all() else float(np.nanmean(data.latency))
        for provider in self.pool:
            if provider.name not in policy.providers_:
                quality = float(np.nanmean(data.quality))
                policy.add_provider(provider.name, quality=quality, cost=typical_cost(provider), latency=self._latency)

    def _evaluate(
        self,
        policy: Policy,
        data: TrainingData,
        arms: NDArray[np.intp],
        train: NDArray[np.intp],
        held: NDArray[np.intp],
    ) -> TrainingReport:
        quality, cost, latency = (values[:, arms] for values in (data.quality, data.cost, data.latency))
        expected = policy.predict(data.X[held])
        chosen = policy.action_probabilities(data.X[held], self.objective)
        labels = best_labels(quality[held], cost[held], _known(latency[held]), self.objective)
        labelled = labels >= 0
        utility = self.objective.utility(quality, cost, latency)
        complete = ~np.isnan(utility[held]).any(axis=1)
        best = int(np.nanmean(utility[train], axis=0).argmax())
        return TrainingReport(
            n_train=len(train),
            n_heldout=len(held),
            quality_mae=float(np.nanmean(np.abs(expected.quality - quality[held]))),
            cost_mae_usd=float(np.nanmean(np.abs(expected.cost - cost[held]))),
            accuracy=float(chosen[labelled, labels[labelled]].mean()) if labelled.any() else None,
            utility=float((chosen * utility[held])[complete].sum(axis=1).mean()) if complete.any() else None,
            best_single_utility=float(utility[held][complete, best].mean()) if complete.any() else None,
        )


def _known(latency: NDArray[np.float64]) -> NDArray[np.float64] | None:
    return None if np.isnan(latency).all(axis=0).any() else latency


def _heldout_rows(
    data: TrainingData, rows: NDArray[np.intp], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """About ``share`` of ``rows``; the same prompt (without its hash: the same features) stays on one side."""
    keys = [data.prompt_sha256[row] or data.X[row].tobytes().hex() for row in rows]
    _, group = np.unique(keys, return_inverse=True)
    held: NDArray[np.bool_] = (rng.random(group.max() + 1) < share)[group]
    if held.all() or not held.any():
        raise RoutelabError(f"a held-out share of {share} leaves one side empty; record more different requests")
    return held
