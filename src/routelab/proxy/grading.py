"""Grades that routers ask for, behind the answers: nobody waits for a grader but the end of the proxy."""

from __future__ import annotations

import asyncio
import logging

from routelab.proxy.answering import Answer
from routelab.request import LLMRequest

_MOST = 1_000  # answers that wait for a grader; a slower one must not fill the memory
_END_S = 10.0

_log = logging.getLogger(__name__)


class Grading:
    """Has answers graded in the background (``Router.grade_answer``); what fails costs no answer.

    At most 1,000 answers are with graders at a time; those that come meanwhile wait for ``/v1/feedback``.
    """

    def __init__(self) -> None:
        self._tasks = set[asyncio.Task[None]]()

    def begin(self, request: LLMRequest, answer: Answer) -> None:
        """Have the whole ``answer`` graded, where a router decided it."""
        if answer.decision is None or len(self._tasks) >= _MOST:
            return
        task = asyncio.create_task(_grade(request, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for all grades, 10 seconds at most; what takes longer is cancelled."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_END_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _grade(request: LLMRequest, answer: Answer) -> None:
    assert answer.decision is not None
    assert answer.completion is not None
    try:
        await answer.selection.router.grade_answer(request, answer.decision, answer.completion)
    except Exception:  # no grade, or its feedback came first
        _log.warning("decision %s was not graded", answer.decision.decision_id, exc_info=True)
