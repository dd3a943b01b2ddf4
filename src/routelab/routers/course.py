"""One request on its way from provider to provider, and its answer where that is streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from routelab.errors import RoutelabError
from routelab.html import Card, Shown, number, short
from routelab.policies import Objective
from routelab.providers import Chunk, Completion
from routelab.request import LLMRequest, is_finite
from routelab.routers.decision import RoutingDecision


@dataclass(slots=True, eq=False)
class Course:
    """What became of one request so far.

    Args:
        request: to be answered.
        objective: the trade-off of this request alone, if it has one.
        deadline_s: for all attempts together; None is no deadline.

    Attributes:
        failures: provider → what it said.
        owed: USD that failed providers charged.
        retried: whether it had its second try.
        decision: the latest.
        completion: the answer, once it is whole.
    """

    request: LLMRequest
    objective: Objective | None
    deadline_s: float | None
    failures: dict[str, str] = field(default_factory=dict)
    owed: float = 0.0
    retried: bool = False
    decision: RoutingDecision | None = None
    completion: Completion | None = None
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        """Let the time run."""
        check_deadline(self.deadline_s)
        self._end = float("inf") if self.deadline_s is None else asyncio.get_running_loop().time() + self.deadline_s

    @property
    def left_s(self) -> float:
        """Seconds left; infinite without a deadline."""
        return self._end - asyncio.get_running_loop().time() if self.deadline_s is not None else self._end

    def attempt_s(self, others: bool) -> float | None:
        """Seconds for the next attempt: half of what is left while there are others to ask, so that one hangs alone."""
        if self.deadline_s is None:
            return None
        return max(self.left_s, 0.0) / (2.0 if others else 1.0)


class Streamed(Shown):
    """An answer that is on its way.

    Args:
        chunks: its pieces, to be read once; ends with a ``ProviderError`` where it breaks off. Closing it early
            (``aclose``) tells the provider, and is recorded as cancelled.
        course: of the request, with its decision.
    """

    def __init__(self, chunks: AsyncGenerator[Chunk, None], course: Course) -> None:
        if course.decision is None:
            raise RoutelabError("a streamed answer needs a decision; get one from `await router.stream(request)`")
        self.chunks, self.decision = chunks, course.decision
        self._course = course

    def _card(self) -> Card:
        whole = self.completion
        state = "on its way" if whole is None else f"{len(whole.text):,} characters, {number(1e3 * whole.cost_usd)}"
        state += "" if whole is None else " USD per 1,000"
        return Card(f"answer of {short(self.decision.provider.name)}: {state}", below=self.decision._card())

    @property
    def completion(self) -> Completion | None:
        """The whole, once the last chunk was read."""
        return self._course.completion

    async def aclose(self) -> None:
        """Give up the rest."""
        await self.chunks.aclose()


def check_deadline(deadline_s: float | None) -> None:
    """Refuse what is no time."""
    if deadline_s is not None and not (is_finite(deadline_s) and deadline_s > 0.0):
        raise RoutelabError(f"deadline_s is {deadline_s!r}; give seconds > 0, or None for no deadline")
