"""Has the selected router or provider answer; a decision is on disk before anybody is told of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from routelab.errors import DatabaseError
from routelab.providers import Chunk, Completion
from routelab.proxy.models import AnyRouter, Selection
from routelab.request import LLMRequest
from routelab.routers import RoutingDecision, Streamed

SAVING_S = 1.0  # longer than a log takes, shorter than anybody waits for nothing
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Answer:
    """An answer, whole or begun.

    Args:
        selection: who was asked for.
        provider: name of who answers.
        decision: of the router; None where the provider was asked for by its name, or the log could not take it.
        completion: the whole; of a streamed answer, once it is.
        chunks: of a streamed answer; they set ``completion`` at their end.
    """

    selection: Selection
    provider: str
    decision: RoutingDecision | None = None
    completion: Completion | None = None
    chunks: AsyncGenerator[Chunk] | None = None


async def complete(selection: Selection, request: LLMRequest) -> Answer:
    """The whole answer to ``request``.

    Raises:
        ProviderError: nobody answered.
    """
    router = selection.router
    if selection.pool is not None:
        completion = await selection.pool.complete(selection.name, request)
        return Answer(selection, selection.name, None, completion)
    asking = router.complete(request, objective=selection.objective)
    (decision, completion), safe = await _while_saving(router, asking, lambda pair: pair[0])
    return Answer(selection, completion.provider, decision if safe else None, completion)


async def begin(selection: Selection, request: LLMRequest) -> Answer:
    """The answer to ``request``, begun: its first chunk has come.

    Raises:
        ProviderError: nobody answered.
    """
    router = selection.router
    if selection.pool is not None:
        answer = Answer(selection, selection.name)
        pieces = selection.pool.stream(selection.name, request)
        answer.chunks = _of_provider(answer, await anext(pieces), pieces)
        return answer
    asking = router.stream(request, objective=selection.objective)
    streamed, safe = await _while_saving(router, asking, lambda streamed: streamed.decision)
    decision = streamed.decision
    answer = Answer(selection, decision.provider.name, decision if safe else None)
    answer.chunks = _of_router(answer, streamed)
    return answer


async def _while_saving(
    router: AnyRouter, asking: Coroutine[Any, Any, T], decided: Callable[[T], RoutingDecision]
) -> tuple[T, bool]:
    """What asking brings, and whether its decision is on disk, where it gets while the provider answers."""
    task = asyncio.ensure_future(asking)
    try:
        await asyncio.sleep(0)  # it decides before it waits for anybody
        first = router.last_decision
        safe = await _saved(router, first)
        answer = await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    decision = decided(answer)
    if decision is not first:  # another provider was asked when the first one had failed
        safe = await _saved(router, decision)
    return answer, safe


async def _saved(router: AnyRouter, decision: RoutingDecision | None) -> bool:
    """Whether a decision is on disk within ``SAVING_S``; a log that fails costs no answer, only its being graded."""
    try:
        if router.db is not None:
            async with asyncio.timeout(SAVING_S):
                await router.db.saved()
    except TimeoutError:
        _log.warning("a decision was not saved within %g s", SAVING_S)
        return False
    except DatabaseError:
        _log.exception("a decision could not be saved")
        return False
    return decision is None or decision.logged


async def _of_provider(
    answer: Answer, first: Chunk | Completion, pieces: AsyncGenerator[Chunk | Completion]
) -> AsyncGenerator[Chunk]:
    async with aclosing(pieces):
        if isinstance(first, Chunk):
            yield first
        async for piece in pieces:
            if isinstance(piece, Chunk):
                yield piece
            else:
                answer.completion = piece


async def _of_router(answer: Answer, streamed: Streamed) -> AsyncGenerator[Chunk]:
    async with aclosing(streamed.chunks) as chunks:
        async for chunk in chunks:
            yield chunk
    answer.completion = streamed.completion
