"""DelegatingRouter: the interface of a router, for whatever has other routers do the work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from routelab.db_records import new_decision_id
from routelab.errors import ExperimentError
from routelab.evaluators import Grade
from routelab.html import Card, Shown, short
from routelab.performance_db import PerformanceDB
from routelab.policies import Objective
from routelab.providers import Completion, Price, Provider
from routelab.request import LLMRequest
from routelab.routers import OnlineMLRouter, Router, RoutingDecision, RoutingResult, Streamed


class DelegatingRouter(Shown, ABC):
    """Has each request answered by one of its routers, and hands feedback on to the one that decided.

    Changes of providers and prices at run time reach all of them; they may share a pool, but no policy, which would
    learn each change twice.
    """

    db: PerformanceDB
    clock: Callable[[], float]
    _latest: Router | None = None

    @property
    def last_decision(self) -> RoutingDecision | None:
        """The latest one of the router that was asked last."""
        return None if self._latest is None else self._latest.last_decision

    @property
    def members(self) -> tuple[Router, ...]:
        """Every router that it has, each once."""
        return tuple(dict.fromkeys(self._held()))

    @abstractmethod
    def _named(self) -> Mapping[str, Router]:
        """Its routers, by what they are to it."""

    def _card(self) -> Card:
        rows = [
            (name, *(type(one).__name__ for one in (router, router.policy)), str(router.objective))
            for name, router in self._named().items()
        ]
        header = ("name", "router", "policy", "objective")
        return Card(", ".join(map(short, self._named())), rows, header, [f"log: {self.db!r}"])

    @abstractmethod
    def _enter(self, request: LLMRequest) -> tuple[Router, LLMRequest]:
        """Note what is to be noted; who answers, and the request as the log is to know it."""

    def _asked(self, request: LLMRequest) -> tuple[Router, LLMRequest]:
        self._latest, entered = self._enter(request)
        return self._latest, entered

    @abstractmethod
    def _held(self) -> Iterable[Router]:
        """Every router that it has; one may come twice."""

    @abstractmethod
    def _decider(self, decision_id: str) -> Router:
        """The router that made a decision; any, which asks the log, where none remembers it."""

    def decide(self, request: LLMRequest, *, objective: Objective | None = None) -> RoutingDecision:
        """Choose a provider; the decision is recorded, nothing is executed."""
        router, entered = self._asked(request)
        return router.decide(entered, objective=objective)

    async def route(self, request: LLMRequest) -> Provider:
        """The provider that should answer ``request``; the decision is recorded, its id is in ``last_decision``."""
        return self.decide(request).provider

    async def complete(
        self, request: LLMRequest, *, objective: Objective | None = None, deadline_s: float | None = None
    ) -> tuple[RoutingDecision, Completion]:
        """Route ``request`` and have it answered; see ``Router.complete``."""
        router, entered = self._asked(request)
        return await router.complete(entered, objective=objective, deadline_s=deadline_s)

    async def stream(
        self, request: LLMRequest, *, objective: Objective | None = None, deadline_s: float | None = None
    ) -> Streamed:
        """The same, piece by piece; see ``Router.stream``."""
        router, entered = self._asked(request)
        return await router.stream(entered, objective=objective, deadline_s=deadline_s)

    async def route_and_learn(
        self, request: LLMRequest, *, objective: Objective | None = None, deadline_s: float | None = None
    ) -> RoutingResult:
        """The same, and graded where the router is an ``OnlineMLRouter`` with a grader."""
        router, entered = self._asked(request)
        if isinstance(router, OnlineMLRouter):
            return await router.route_and_learn(entered, objective=objective, deadline_s=deadline_s)
        decision, completion = await router.complete(entered, objective=objective, deadline_s=deadline_s)
        return RoutingResult(decision, completion, completion.quality)

    async def grade_answer(
        self, request: LLMRequest, decision: RoutingDecision, completion: Completion
    ) -> float | None:
        """The grade of an answer by the router that decided; see ``Router.grade_answer``."""
        return await self._decider(decision.decision_id).grade_answer(request, decision, completion)

    def record_outcome(self, decision_id: str, **outcome: Any) -> None:
        """Join the outcome of a decision, however late; see ``Router.record_outcome``."""
        self._decider(decision_id).record_outcome(decision_id, **outcome)

    def grade(self, decision_id: str, quality: float | Grade) -> None:
        """Grade in [0, 1] an answer that its provider did not grade; see ``Router.grade``."""
        self._decider(decision_id).grade(decision_id, quality)

    def add_provider(self, provider: Provider, *, quality: float = 0.5, latency: float | None = None) -> None:
        """Add a provider to every router that has none of its name; see ``Router.add_provider``.

        Raises:
            RoutelabError: all have one, or a router refuses; those told before it (the control, or live, first) then
                keep the change.
        """
        for router in self._told_of(provider.name, False) or self._held():
            router.add_provider(provider, quality=quality, latency=latency)

    def remove_provider(self, name: str) -> None:
        """Remove a provider from every router that has it; raises as ``add_provider`` does."""
        for router in self._told_of(name, True) or self._held():
            router.remove_provider(name)

    def reprice_provider(self, name: str, price: Price) -> None:
        """Set the price of a provider at every router that has it; raises as ``add_provider`` does."""
        for router in self._told_of(name, True) or self._held():
            router.reprice_provider(name, price)

    def _told_of(self, name: str, known: bool) -> list[Router]:
        """The routers, each once, that were told of the provider ``name``, or those that were not."""
        return [router for router in self.members if (name in router.typical_costs) is known]


def share_log(name: str, router: Router, db: PerformanceDB) -> Router:
    """``router``, which logs to ``db``; ExperimentError where it has another log."""
    if router.db is None:
        router.db = db
    if router.db is not db:
        raise ExperimentError(f"the router of {name!r} has another log, {router.db!r}; give all of them one db")
    return router


def named(request: LLMRequest) -> LLMRequest:
    """``request`` with a name, which all its attempts and whatever is noted of it share in the log."""
    return request if request.request_id else replace(request, request_id=new_decision_id())
