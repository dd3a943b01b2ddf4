"""ABRouter: every unit is served by the router of its variant, and the log knows which one that was."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace

from routelab.abtest.assignment import ABTest
from routelab.abtest.delegating import DelegatingRouter, named, share_log
from routelab.errors import ExperimentError
from routelab.performance_db import Exposure, PerformanceDB
from routelab.policies import Policy
from routelab.request import LLMRequest
from routelab.routers import Router


class ABRouter(DelegatingRouter):
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
        self._exposed: OrderedDict[str, None] = OrderedDict()
        self._check_exposed()

    def _logging(self, name: str, router: Router | Policy, serve: Callable[[Policy], Router] | None) -> Router:
        if isinstance(router, Policy):
            if serve is None:
                raise ExperimentError(f"variant {name!r} is a policy; give serve=, which makes a router of it")
            router = serve(router)
        return share_log(name, router, self.db)

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
        return self.routers[variant], replace(named(request), experiment=self.ab_test.name)

    def _named(self) -> dict[str, Router]:
        return self.routers

    def _held(self) -> list[Router]:
        return [*self.routers.values(), self.default]

    def _decider(self, decision_id: str) -> Router:
        known = (router for router in self.routers.values() if router.pending.get(decision_id) is not None)
        return next(known, self.default)
