"""Router: featurizer, policy, providers and log, joined so that every decision is known before it is executed."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from routelab.db_records import Outcome, new_decision_id
from routelab.errors import RoutelabError
from routelab.features import RequestFeaturizer
from routelab.performance_db import PerformanceDB
from routelab.policies import Choice, Objective, Policy
from routelab.providers import Completion, Provider, ProviderError, ProviderPool
from routelab.reduction import Matrix
from routelab.request import LLMRequest
from routelab.routers.decision import Pending, RoutingDecision
from routelab.routers.explanation import Explanation, explain

_MAX_PENDING = 100_000


class Router:
    """What all routers share: decide, record, execute, learn.

    Args:
        providers: the arms; a pool, or providers that one is made of.
        policy: chooses among them.
        featurizer: fitted; None makes one that needs no training data (wordllama, a load slot per provider).
        db: log of decisions and outcomes; None keeps no log.
        objective: the trade-off.
        seed: of the policy's draws.
        clock: unix seconds.

    Raises:
        RoutelabError: the fitted policy knows other providers than the pool holds.
    """

    def __init__(
        self,
        providers: ProviderPool | Iterable[Provider],
        policy: Policy,
        *,
        featurizer: RequestFeaturizer | None = None,
        db: PerformanceDB | None = None,
        objective: Objective = Objective(),
        seed: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.pool = providers if isinstance(providers, ProviderPool) else ProviderPool(providers)
        self.policy = policy
        self.featurizer = featurizer or RequestFeaturizer(providers=self.pool.names).fit([LLMRequest("?")])
        self.background = self.featurizer.background_
        self.db = db
        self.objective = objective
        self.rng = np.random.default_rng(seed)
        self.clock = clock
        self.policy_version = 0
        self.last_decision: RoutingDecision | None = None
        self._pending: OrderedDict[str, Pending] = OrderedDict()
        if policy.providers_:
            self._check_arms(policy)

    def _check_arms(self, policy: Policy) -> None:
        if set(policy.providers_) != set(self.pool.names):
            raise RoutelabError(
                f"the policy was fitted for {', '.join(policy.providers_)}, the pool holds "
                f"{', '.join(self.pool.names)}; give both the same providers"
            )

    def acting_policy(self) -> Policy:
        """The policy that decides now."""
        return self.policy

    def features(self, request: LLMRequest) -> Matrix:
        """Features (p,) of ``request`` under the present load."""
        return self.featurizer.transform_one(request, self.pool.load())

    def estimates(self, request: LLMRequest) -> dict[str, tuple[float, float]]:
        """Expected quality in [0, 1] and cost in USD of each provider for ``request``, by name."""
        policy = self.acting_policy()
        expected = policy.predict(self.features(request)[None, :])
        pairs = zip(expected.quality[0].tolist(), expected.cost[0].tolist(), strict=True)
        return dict(zip(policy.providers_, pairs, strict=True))

    def explain(self, request: LLMRequest) -> Explanation:
        """Why ``request`` would go where it would go now; nothing is drawn, recorded or learned."""
        x, names = self.features(request), self.featurizer.feature_names_
        policy = self.acting_policy()  # another than the router's own stands in for it and has learned nothing
        return explain(policy, x, self.objective, names, self.background, known=policy is self.policy)

    def decide(self, request: LLMRequest) -> RoutingDecision:
        """Choose a provider and record the decision; nothing is executed."""
        policy, x = self.acting_policy(), self.features(request)
        choice = policy.select(x, self.objective, self.rng)
        return self._commit(request, x, policy, choice, type(policy).__name__)

    def _commit(
        self, request: LLMRequest, x: Matrix, policy: Policy, choice: Choice, label: str, forced: bool = False
    ) -> RoutingDecision:
        """Record ``choice`` and remember it until its outcome comes; ``forced`` means that no draw was involved."""
        name = policy.providers_[choice.arm]
        decision = RoutingDecision(
            decision_id=new_decision_id(),
            provider=self.pool[name],
            providers=policy.providers_,
            propensity=choice.propensity,
            estimates=choice.estimates,
            objective=self.objective,
            policy=label,
        )
        if self.db is not None:
            one_hot = np.eye(len(policy.providers_))[choice.arm]
            self.db.record_decision(
                decision.record(
                    request,
                    x,
                    one_hot if forced else policy.propensities(x, self.objective)(),
                    decided_at=self.clock(),
                    feature_set=self.featurizer.feature_set_,
                    policy_version=self.policy_version,
                )
            )
        self._pending[decision.decision_id] = Pending(x, name)
        if len(self._pending) > _MAX_PENDING:
            self._pending.popitem(last=False)
        self.last_decision = decision
        return decision

    def record_outcome(
        self,
        decision_id: str,
        *,
        quality: float | None,
        cost_usd: float,
        latency_s: float | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        error: str | None = None,
    ) -> None:
        """Join the outcome of a decision, however late, and let the policy learn from it.

        Raises:
            RoutelabError: the decision is unknown or has its outcome already, or a value is out of range.
        """
        pending = self._waiting(decision_id)
        outcome = Outcome(decision_id, quality, cost_usd, self.clock(), latency_s, input_tokens, output_tokens, error)
        if self.db is not None:
            self.db.record_outcome(outcome)
        del self._pending[decision_id]
        if outcome.quality is not None and pending.provider in self.policy.providers_:
            self._learn(pending.x, pending.provider, outcome.quality, cost_usd)

    def _waiting(self, decision_id: str) -> Pending:
        if decision_id not in self._pending:
            raise RoutelabError(f"decision {decision_id!r} is unknown to this router, or has its outcome already")
        return self._pending[decision_id]

    def grade(self, decision_id: str, quality: float) -> None:
        """Grade in [0, 1] an answer that ``complete`` brought and its provider did not grade: its outcome is whole now.

        Raises:
            RoutelabError: the decision is unknown, has its outcome already, or was not answered through ``complete``.
        """
        completion = self._waiting(decision_id).completion
        if completion is None:
            raise RoutelabError(f"decision {decision_id!r} has no answer yet; record its cost with record_outcome")
        self._record_completion(decision_id, completion, quality)

    def _learn(self, x: Matrix, name: str, quality: float, cost: float) -> None:
        """Learn from one outcome; routers that learn in batches do nothing here."""

    async def complete(self, request: LLMRequest) -> tuple[RoutingDecision, Completion]:
        """Route ``request`` and have it answered; a provider that fails, in whatever way, falls to the next best.

        A failure is an outcome of quality 0. An answer that its provider did not grade waits for ``grade``.

        Raises:
            ProviderError: every provider failed; the message says what happened at each.
        """
        decision, failures = self.decide(request), dict[str, str]()
        while True:
            name, decision_id = decision.provider.name, decision.decision_id
            try:
                completion = await self.pool.complete(name, request)
                if completion.error is not None:
                    raise ProviderError(completion.error, completion)
            except asyncio.CancelledError:
                self.record_outcome(decision_id, quality=None, cost_usd=0.0, error="cancelled by the caller")
                raise
            except Exception as error:
                told = error if isinstance(error, ProviderError) else ProviderError(f"{type(error).__name__}: {error}")
                failures[name] = str(told)
                self._record_completion(decision_id, told.completion, 0.0, error=failures[name])
                decision = self._next_best(request, failures)
                continue
            if completion.quality is None:
                self._pending[decision_id] = replace(self._waiting(decision_id), completion=completion)
            else:
                self._record_completion(decision_id, completion, completion.quality)
            return decision, completion

    def _record_completion(
        self, decision_id: str, completion: Completion | None, quality: float, error: str | None = None
    ) -> None:
        """Record what a call came to; one that brought nothing cost nothing."""
        self.record_outcome(
            decision_id,
            quality=quality,
            cost_usd=completion.cost_usd if completion else 0.0,
            latency_s=completion.latency_s if completion else None,
            input_tokens=completion.input_tokens if completion else None,
            output_tokens=completion.output_tokens if completion else None,
            error=error,
        )

    def _next_best(self, request: LLMRequest, failures: dict[str, str]) -> RoutingDecision:
        """The arm of the highest utility among those that have not failed yet: a decision of its own."""
        policy, x = self.acting_policy(), self.features(request)
        left = [arm for arm, name in enumerate(policy.providers_) if name not in failures]
        if not left:
            told = "; ".join(f"{name}: {error}" for name, error in failures.items())
            raise ProviderError(f"every provider failed: {told}")
        expected = policy.predict(x[None, :])
        scores = expected.scores(self.objective)[0]
        arm = max(left, key=lambda j: scores[j])
        label = f"{type(policy).__name__} after failure"
        return self._commit(request, x, policy, Choice(arm, 1.0, expected), label, forced=True)

    def add_provider(self, provider: Provider, *, quality: float = 0.5, latency: float | None = None) -> None:
        """Add a provider at run time, believed to have ``quality`` and ``latency`` (seconds) until it is observed."""
        if self.policy.providers_:
            self.policy.add_provider(provider.name, quality=quality, cost=typical_cost(provider), latency=latency)
        self.pool.add(provider)

    def remove_provider(self, name: str) -> None:
        """Remove a provider at run time; outcomes still to come from it are recorded, not learned."""
        if self.policy.providers_:
            self.policy.remove_provider(name)
        self.pool.remove(name)


def typical_cost(provider: Provider) -> float:
    """List price in USD of a request of 500 input and 200 output tokens: what is believed before any outcome."""
    return provider.price.cost_usd(500, 200)
