"""POST /v1/feedback: the grade of an answer, however late."""

from __future__ import annotations

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

        Raises:
            ApiError: 404, no router knows the decision; 409, it has another grade, or no answer; 503, the log fails.
        """
        status = 200
        try:
            self._grade(body)
        except ApiError as error:
            status = error.status
            raise
        finally:
            self.metrics.graded(status)
        return {"status": "recorded", "decision_id": body.decision_id}

    def _grade(self, body: Feedback) -> None:
        for router in self.routers:
            if router.pending.get(body.decision_id) is not None:
                try:
                    router.grade(body.decision_id, body.quality)
                except DatabaseError as error:
                    raise of_log(error) from None
                except RoutelabError as error:
                    raise ApiError(409, str(error), "conflict") from None
                return
        told = "unknown, or older than what its router remembers since its start; nothing is recorded"
        raise ApiError(404, f"decision {body.decision_id!r}: {told}", "decision_not_found")
