"""DecidingRouter: featurizer, policy and log, joined so that every decision is known before it is executed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Never

import numpy as np

from routelab.db_records import check_text, new_decision_id
from routelab.errors import DatabaseError, RoutelabError
from routelab.features import RequestFeaturizer
from routelab.performance_db import PerformanceDB
from routelab.policies import BudgetPacer, Choice, Objective, Policy
from routelab.providers import Provider, ProviderPool
from routelab.reduction import Matrix
from routelab.request import LLMRequest
from routelab.routers.course import check_deadline
from routelab.routers.decision import PriceChange, RoutingDecision, typical_cost
from routelab.routers.diverting import divert
from routelab.routers.pending import Pending, PendingDecisions
from routelab.routers.retries import RetryBudget
from routelab.routers.stickiness import Stickiness

_NAMES = ("request_id", "unit_id", "experiment")  # which a caller gives, and the log keeps as text
_log = logging.getLogger(__name__)


class DecidingRouter:
    """Decides and records; ``Router`` says what the arguments are."""

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
        deadline_s: float | None = 120.0,
        retry_share: float = 0.2,
        stickiness: Stickiness | None = None,
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
        check_deadline(deadline_s)
        self.deadline_s = deadline_s
        self.retries, self._jitter = RetryBudget(retry_share), Random(seed)
        self.stickiness = stickiness
        self.seed, self.rng = seed, np.random.default_rng(seed)
        self.clock = clock
        self.price_changes: list[PriceChange] = []
        self.typical_costs = {provider.name: typical_cost(provider.price) for provider in self.pool}
        self.grading_cost_usd = 0.0
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

    def decide(self, request: LLMRequest, *, objective: Objective | None = None) -> RoutingDecision:
        """Choose a provider and record the decision; nothing is executed.

        What the policy would send to a provider that cannot be asked now (limits, circuit) goes to the best of the
        others, and the probabilities with it (``divert``). Where none can be asked the policy is followed. A log that
        does not take the decision costs nobody an answer: the error is logged, the decision stands (``logged`` is
        False) and is learned from, and neither it nor its outcome is recorded.

        Args:
            request: to be routed.
            objective: the trade-off of this request, instead of the router's.
        """
        policy, x = self.acting_policy(), self.features(request)
        objective = self._trade_off(request, policy, objective)
        closed = self._closed(request, policy.providers_)
        choice = policy.select(x, objective, self.rng)
        if not choice.complete:
            choice = Choice(choice.arm, policy.propensities(x, objective), choice.estimates)
        if 0 < len(closed) < len(policy.providers_):
            choice = divert(choice, objective, closed)
        return self._commit(request, x, policy, objective, choice, type(policy).__name__)

    def _trade_off(self, request: LLMRequest, policy: Policy, objective: Objective | None) -> Objective:
        """The trade-off of ``request``: its own or the present one, with what its conversation saves at each arm."""
        objective = self.present_objective() if objective is None else objective
        if self.stickiness is None:
            return objective
        return self.stickiness.applied(objective, request, self.pool, policy.providers_, self.clock())

    def _closed(self, request: LLMRequest, names: Sequence[str]) -> list[int]:
        """The arms that cannot be asked now."""
        tokens = self.pool.tokens(request)
        return [arm for arm, name in enumerate(names) if self.pool.unavailable(name, tokens) is not None]

    def _commit(
        self,
        request: LLMRequest,
        x: Matrix,
        policy: Policy,
        objective: Objective,
        choice: Choice,
        label: str,
        owed: float = 0.0,
    ) -> RoutingDecision:
        """Record ``choice`` and remember it until its outcome comes; ``owed`` (USD) is what failed providers cost."""
        name = policy.providers_[choice.arm]
        decision = RoutingDecision(
            decision_id=new_decision_id(),
            provider=self.pool[name],
            providers=policy.providers_,
            choice=choice,
            objective=objective,
            policy=label,
        )
        if self.db is not None and not self._logged(self.db, decision, request, x):
            decision = replace(decision, logged=False)
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
                logged=decision.logged,
            ),
        )
        self.last_decision = decision
        return decision

    def _logged(self, db: PerformanceDB, decision: RoutingDecision, request: LLMRequest, x: Matrix) -> bool:
        """Whether ``db`` takes a decision; its record, with the probabilities, is made by the thread that writes it."""
        check_text(request, *(name for name in _NAMES if getattr(request, name) is not None))
        at, feature_set, version = self.clock(), self.featurizer.feature_set_, self.policy_version
        record = partial(decision.record, request, x, decided_at=at, feature_set=feature_set, policy_version=version)
        try:
            db.record_decision(record)
        except DatabaseError:
            _log.exception("decision %r could not be recorded", decision.decision_id)
            return False
        return True

    def _reserve(self, cost: float, requests: int) -> None:
        """Tell the pacer of requests in flight."""
        if self.pacer is not None:
            self.pacer.reserve(cost, requests)
