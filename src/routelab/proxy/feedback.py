"""POST /v1/feedback: the grade of an answer, however late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from routelab.errors import DatabaseError, RoutelabError
from routelab.proxy.errors import ApiError, of_log
from routelab.proxy.metrics import Metrics
from routelab.proxy.schema import Feedback
from routelab.routers import Router


@dataclass(frozen=True, slots=True)
class Grades:
    """Hands grades on to the router that decided.

    Args:
        routers: all of them, each once.
        metrics: told of every grade.
    """

    routers: Iterable[Router]
    metrics: Metrics

    async def grade(self, body: Feedback) -> dict[str, str]:
        """Have the grade recorded and learned; the same again changes nothing.

        That of a decision from before a restart goes to the log, where that has the answer, and is not learned.

        Raises:
            ApiError: 404, neither a router nor its log knows the answer; 409, it has another grade, or none can be
                added: the request failed, or is being answered; 503, the log failed.
        """
        status = 200
        try:
            await self._grade(body)
        except ApiError as error:
            status = error.status
            raise
        finally:
            self.metrics.graded(status)
        return {"status": "recorded", "decision_id": body.decision_id}

    async def _grade(self, body: Feedback) -> None:
        router = await self._router_of(body.decision_id)
        try:
            router.grade(body.decision_id, body.quality)
        except DatabaseError as error:
            raise of_log(error) from None
        except RoutelabError as error:
            raise ApiError(409, str(error), "conflict") from None

    async def _router_of(self, decision_id: str) -> Router:
        """The router that remembers the decision, or else one whose log has its outcome."""
        for router in self.routers:
            if router.pending.get(decision_id) is not None:
                return router
        for db, router in {router.db: router for router in self.routers}.items():
            try:
                if db is not None and await asyncio.to_thread(db.outcome, decision_id) is not None:
                    return router
            except DatabaseError as error:
                raise of_log(error) from None
        told = "unknown, or without an answer in the log; nothing is recorded"
        raise ApiError(404, f"decision {decision_id!r}: {told}", "decision_not_found")
