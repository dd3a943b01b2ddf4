"""DecidingRouter: featurizer, policy and log, joined so that every decision is known before it is executed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Never

import numpy as np

from routelab.db_records import Outcome, new_decision_id
from routelab.errors import RoutelabError
from routelab.features import RequestFeaturizer
from routelab.performance_db import PerformanceDB
from routelab.policies import BudgetPacer, Choice, Objective, Policy
from routelab.policies.base import Floats
from routelab.providers import Provider, ProviderPool
from routelab.reduction import Matrix
from routelab.request import LLMRequest
from routelab.routers.decision import PriceChange, RoutingDecision, typical_cost
from routelab.routers.explanation import Explanation, explain
from routelab.routers.pending import Pending, PendingDecisions, check_same


class DecidingRouter:
    """Decides, records, and joins outcomes to decisions; ``Router`` says what the arguments are."""

    def __init__(
        self,
        providers: ProviderPool | Iterable[Provider],
        policy: Policy,
        *,
        featurizer: RequestFeaturizer | None = None,
        db: PerformanceDB | None = None,
        objective: Objective = Objective(),
        pacer: BudgetPacer | None = None,
        horizon: int = 100_000,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        **unknown: Never,
    ) -> None:
        for name in unknown:  # Python would name this class, not the one that the caller uses
            raise TypeError(f"{type(self).__name__}() has no argument {name!r}")
        self.pool = providers if isinstance(providers, ProviderPool) else ProviderPool(providers)
        self.policy = policy
        self.featurizer = featurizer or RequestFeaturizer(providers=self.pool.names).fit([LLMRequest("?")])
        self.background = self.featurizer.background_
        self.db = db
        self.objective = objective
        self.pacer = pacer
        self._joined: dict[str, int] = {}  # decisions before a provider was added at run time
        self.pending = PendingDecisions(horizon)
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.clock = clock
        self.price_changes: list[PriceChange] = []
        self.typical_costs = {provider.name: typical_cost(provider.price) for provider in self.pool}
        self.policy_version = 0
        self.last_decision: RoutingDecision | None = None
        if policy.providers_:
            self._check_arms(policy)

    def _check_arms(self, policy: Policy) -> None:
        if set(policy.providers_) != set(self.pool.names):
            raise RoutelabError(
                f"the policy was fitted for {', '.join(policy.providers_)}, the pool holds "
                f"{', '.join(self.pool.names)}; give both the same providers"
            )

    @property
    def expired(self) -> int:
        """Decisions that were forgotten before their outcome came."""
        return self.pending.expired

    def acting_policy(self) -> Policy:
        """The policy that decides now."""
        return self.policy

    def present_objective(self) -> Objective:
        """The trade-off of the next decision: the pacer's, where there is one."""
        return self.objective if self.pacer is None else self.pacer.objective()

    def features(self, request: LLMRequest) -> Matrix:
        """Features (p,) of ``request`` under the present load.

        Raises:
            RoutelabError: one of them is not finite.
        """
        with np.errstate(over="ignore"):  # it is refused right below
            x = self.featurizer.transform_one(request, self.pool.load())
        if not np.isfinite(x).all():
            name = self.featurizer.feature_names_[int(np.flatnonzero(~np.isfinite(x))[0])]
            raise RoutelabError(f"feature {name!r} of the request is not finite as float32; give a smaller number")
        return x

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
        return explain(policy, x, self.present_objective(), names, self.background, known=policy is self.policy)

    def decide(self, request: LLMRequest) -> RoutingDecision:
        """Choose a provider and record the decision; nothing is executed."""
        policy, x, objective = self.acting_policy(), self.features(request), self.present_objective()
        # for the log, and of the state that chooses: choosing may change it
        probabilities = None if self.db is None else policy.propensities(x, objective)
        choice = policy.select(x, objective, self.rng)
        return self._commit(request, x, policy, objective, choice, probabilities, type(policy).__name__)

    def _commit(
        self,
        request: LLMRequest,
        x: Matrix,
        policy: Policy,
        objective: Objective,
        choice: Choice,
        probabilities: Callable[[], Floats] | None,
        label: str,
        owed: float = 0.0,
    ) -> RoutingDecision:
        """Record ``choice`` and remember it until its outcome comes; ``owed`` (USD) is what failed providers cost."""
        name = policy.providers_[choice.arm]
        decision = RoutingDecision(
            decision_id=new_decision_id(),
            provider=self.pool[name],
            providers=policy.providers_,
            propensity=choice.propensity,
            estimates=choice.estimates,
            objective=objective,
            policy=label,
        )
        if self.db is not None and probabilities is not None:
            record = decision.record(
                request,
                x,
                probabilities(),
                decided_at=self.clock(),
                feature_set=self.featurizer.feature_set_,
                policy_version=self.policy_version,
            )
            self.db.record_decision(record)
        expected = float(choice.estimates.quality[0, choice.arm]), float(choice.estimates.cost[0, choice.arm])
        self._reserve(expected[1], 1)
        self.pending.add(
            decision.decision_id,
            Pending(
                x=x,
                provider=name,
                request_id=request.request_id or decision.decision_id,
                number=self.pending.count + 1,
                version=self.policy_version if policy is self.policy else None,
                expected=expected,
                typical=typical_cost(decision.provider.price),
                owed=owed,
            ),
        )
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

        The same outcome again changes nothing. That of a decision which the router no longer remembers (older than
        its ``horizon``, or made before a restart) goes to the log and is not learned.

        Raises:
            RoutelabError: the decision is unknown to router and log, it has another outcome already, or a value is
                out of range; nothing is recorded or learned then.
        """
        self._record(
            Outcome(decision_id, quality, cost_usd, self.clock(), latency_s, input_tokens, output_tokens, error)
        )

    def _record(self, outcome: Outcome, *, final: bool = True) -> None:
        """Record and learn; not ``final`` is the outcome of a provider that failed, while others are still asked."""
        decided = self.pending.get(outcome.decision_id)
        if isinstance(decided, Outcome):
            check_same(decided, outcome)
            return
        if decided is None:
            self._record_forgotten(outcome)
            return
        if self.db is not None:
            self.db.record_outcome(outcome)
        self.pending.settle(outcome)
        if decided.owed is not None:
            self._reserve(-decided.expected[1], -1)
            if final:
                self._pay(decided.owed, outcome.cost_usd, outcome.quality, outcome.latency_s)
            else:
                self._reserve(outcome.cost_usd, 0)
        joined = self._joined.get(decided.provider, 0)  # another of the same name may have left before
        if outcome.quality is not None and decided.provider in self.pool and decided.number > joined:
            self._learn(decided, outcome.quality, outcome.cost_usd)

    def _record_forgotten(self, outcome: Outcome) -> None:
        if self.db is None:
            raise RoutelabError(
                f"decision {outcome.decision_id!r} is unknown: the router remembers its last {self.pending.horizon} "
                "decisions; give it a db to keep them all"
            )
        self.db.record_outcome(outcome)
        self.db.flush()  # which refuses what the log does not know, or knows otherwise

    def _reserve(self, cost: float, requests: int) -> None:
        """Tell the pacer of requests in flight."""
        if self.pacer is not None:
            self.pacer.reserve(cost, requests)

    def _pay(self, owed: float, cost: float, quality: float | None, latency: float | None) -> None:
        """Tell the pacer what one request came to, with what is ``owed`` (USD, reserved) to providers that failed."""
        if self.pacer is not None:
            self.pacer.reserve(-owed, 0)
            self.pacer.update(owed + cost, quality=quality, latency=latency)

    def _learn(self, decided: Pending, quality: float, cost: float) -> None:
        """Learn from one graded outcome; routers that learn in batches do nothing here."""

    def _update_policy(self, decided: Pending, quality: float, cost: float) -> None:
        """Let the policy, a bandit, learn one outcome, at the present price of its provider."""
        arm, factor = self.policy.providers_.index(decided.provider), self._price_factor(decided)
        now = None if factor is None else factor * cost
        self.policy.update(decided.x.astype(np.float64), arm, quality, now, age=self.pending.age(decided))

    def _price_factor(self, decided: Pending) -> float | None:
        """Typical cost of the provider now over that of then; None where it was free then and is not now."""
        now = typical_cost(self.pool[decided.provider].price)
        if now == decided.typical:
            return 1.0
        return now / decided.typical if decided.typical else None
