"""ABRouter: every unit is served by the router of its variant, and the log knows which one that was."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from routelab.abtest.assignment import ABTest
from routelab.db_records import new_decision_id
from routelab.errors import ExperimentError
from routelab.performance_db import Exposure, PerformanceDB
from routelab.policies import Policy
from routelab.providers import Completion, Provider
from routelab.request import LLMRequest
from routelab.routers import OnlineMLRouter, Router, RoutingDecision, RoutingResult


class ABRouter:
    """Routes each request by the router of its unit's variant; outcomes join that variant however late they come.

    A unit is exposed by its first request, before the decision, so that a variant that fails loses no unit from the
    count. Its decisions carry the name of the test (``experiment``); ``PerformanceDB.exposures`` and ``.experiment``
    give the two tables that the analysis takes. Units held out, and everybody from ``ends_at`` on, go to ``default``
    and are no part of the test. Routers that retrain on the log learn from each other's traffic; bandits do not.

    Args:
        ab_test: who gets which variant.
        routers: of each variant; a policy where ``serve`` makes routers of policies.
        db: log of exposures, decisions and outcomes; routers without a log get this one.
        serve: makes a router of a policy, for instance ``lambda policy: MLRouter(pool, policy)``.
        default: routes whoever is in no variant; None means the control, the first variant.
        horizon: units that are remembered as exposed, so that a request of theirs needs no look at the log.
        clock: unix seconds.

    Attributes:
        last_decision: the latest one.

    Raises:
        ExperimentError: a variant has no router, a router has another log, or units that were exposed before would
            get another variant now.

    >>> import asyncio
    >>> from routelab import BanditRouter, simulated_providers
    >>> test = ABTest("greed", ("careful", "greedy"), (0.5, 0.5), salt="2026")
    >>> routers = {name: BanditRouter(simulated_providers(), e) for name, e in (("careful", 0.3), ("greedy", 0.0))}
    >>> router = ABRouter(test, routers, PerformanceDB("sqlite://"))
    >>> for user in range(6):
    ...     decision, _ = asyncio.run(router.complete(LLMRequest("Why is the sky blue?", unit_id=f"user {user % 3}")))
    >>> len(router.db.exposures("greed")), len(router.db.experiment("greed"))
    (3, 6)
    """

    def __init__(
        self,
        ab_test: ABTest,
        routers: Mapping[str, Router | Policy],
        db: PerformanceDB,
        *,
        serve: Callable[[Policy], Router] | None = None,
        default: Router | None = None,
        horizon: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if set(routers) != set(ab_test.variants):
            told = f"test {ab_test.name!r} has the variants {', '.join(ab_test.variants)}"
            raise ExperimentError(f"{told}, there are routers for {', '.join(routers)}; give one for each")
        self.ab_test = ab_test
        self.db = db
        self.routers = {name: self._logging(name, routers[name], serve) for name in ab_test.variants}
        first = self.routers[ab_test.variants[0]]
        self.default = first if default is None else self._logging("default", default, serve)
        self.horizon = horizon
        self.clock = clock
        self.last_decision: RoutingDecision | None = None
        self._exposed: OrderedDict[str, None] = OrderedDict()
        self._check_exposed()

    def _logging(self, name: str, router: Router | Policy, serve: Callable[[Policy], Router] | None) -> Router:
        """The router of a variant, which writes to the log of the test."""
        if isinstance(router, Policy):
            if serve is None:
                raise ExperimentError(f"variant {name!r} is a policy; give serve=, which makes a router of it")
            router = serve(router)
        if router.db is None:
            router.db = self.db
        if router.db is not self.db:
            raise ExperimentError(f"the router of {name!r} has another log, {router.db!r}; give all of them one db")
        return router

    def _check_exposed(self) -> None:
        """Refuse a test that would give exposed units another variant."""
        before = self.db.exposures(self.ab_test.name)
        now = self.ab_test.assign_many(before["unit"].tolist())
        moved = before[before["variant"].to_numpy(dtype=object) != now].head(1)
        for unit, variant in zip(moved["unit"], moved["variant"], strict=True):
            raise ExperimentError(
                f"unit {unit!r} of test {self.ab_test.name!r} was exposed to {variant!r} and would now get "
                f"{self.ab_test.assign(unit)!r}; raise shares by ABTest.ramp, or start a test of another name"
            )

    @property
    def ended(self) -> bool:
        """Whether the test is over."""
        return self.ab_test.ends_at is not None and self.clock() >= self.ab_test.ends_at

    def _unit(self, request: LLMRequest) -> str:
        if request.unit_id is None:
            raise ExperimentError(
                f"the request has no unit_id, which test {self.ab_test.name!r} assigns by; name the user or the "
                "conversation, or give the request's own id where every request is a unit"
            )
        return request.unit_id

    def router_of(self, request: LLMRequest) -> Router:
        """The router that would answer ``request``; nobody is exposed.

        Raises:
            ExperimentError: the request has no ``unit_id``.
        """
        variant = self.ab_test.assign(self._unit(request))
        return self.default if variant is None or self.ended else self.routers[variant]

    def expose(self, unit_id: str) -> str | None:
        """Record that ``unit_id`` is treated from now on, once; returns its variant, None where it is held out.

        Raises:
            ExperimentError: the test is over.
        """
        if self.ended:
            raise ExperimentError(
                f"test {self.ab_test.name!r} ended at {self.ab_test.ends_at:.15g}; nobody is exposed after that"
            )
        variant = self.ab_test.assign(unit_id)
        if variant is not None and unit_id not in self._exposed:
            self.db.record_exposure(Exposure(self.ab_test.name, unit_id, variant, self.clock()))
            self._exposed[unit_id] = None
            if len(self._exposed) > self.horizon:
                self._exposed.popitem(last=False)
        return variant

    def _enter(self, request: LLMRequest) -> tuple[Router, LLMRequest]:
        """Expose the unit; who answers it, and its request as the log is to know it."""
        unit = self._unit(request)
        variant = None if self.ended else self.expose(unit)
        if variant is None:
            return self.default, request
        name = request.request_id or new_decision_id()  # one for all attempts, should a provider fail
        return self.routers[variant], replace(request, request_id=name, experiment=self.ab_test.name)

    def decide(self, request: LLMRequest) -> RoutingDecision:
        """Choose a provider by the variant's router; exposure and decision are recorded, nothing is executed.

        Raises:
            ExperimentError: the request has no ``unit_id``.
        """
        router, entered = self._enter(request)
        self.last_decision = router.decide(entered)
        return self.last_decision

    async def route(self, request: LLMRequest) -> Provider:
        """The provider that should answer ``request``; the decision is recorded, its id is in ``last_decision``."""
        return self.decide(request).provider

    async def complete(self, request: LLMRequest) -> tuple[RoutingDecision, Completion]:
        """Route ``request`` and have it answered; see ``Router.complete``."""
        router, entered = self._enter(request)
        self.last_decision, completion = await router.complete(entered)
        return self.last_decision, completion

    async def route_and_learn(self, request: LLMRequest) -> RoutingResult:
        """The same, and graded by the variant's router where that is an ``OnlineMLRouter`` with a grader."""
        router, entered = self._enter(request)
        if isinstance(router, OnlineMLRouter):
            result = await router.route_and_learn(entered)
        else:
            decision, completion = await router.complete(entered)
            result = RoutingResult(decision, completion, completion.quality)
        self.last_decision = result.decision
        return result

    def record_outcome(self, decision_id: str, **outcome: Any) -> None:
        """Join the outcome of a decision, however late; see ``Router.record_outcome``."""
        self._decider(decision_id).record_outcome(decision_id, **outcome)

    def grade(self, decision_id: str, quality: float) -> None:
        """Grade in [0, 1] an answer that its provider did not grade; see ``Router.grade``."""
        self._decider(decision_id).grade(decision_id, quality)

    def _decider(self, decision_id: str) -> Router:
        """The router that made a decision; any, which asks the log, where none remembers it."""
        known = (router for router in self.routers.values() if router.pending.get(decision_id) is not None)
        return next(known, self.default)
