"""The answer of any provider piece by piece, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from routelab.providers.base import Chunk, Completion, DeadlineError, Provider, ProviderError, Streaming
from routelab.request import LLMRequest


async def pieces(
    provider: Provider, request: LLMRequest, first_s: float | None = None, total_s: float | None = None
) -> AsyncGenerator[Chunk | Completion, None]:
    """The chunks of an answer and at last its completion; one chunk where ``provider`` cannot stream.

    Raises:
        DeadlineError: nothing came within ``first_s`` seconds, or not everything within ``total_s``.
        ProviderError: there was no answer, or no completion at its end.
    """
    now = asyncio.get_running_loop().time()
    end = None if total_s is None else now + total_s
    due_s = min((seconds for seconds in (first_s, total_s) if seconds is not None), default=None)
    source = provider.stream(request) if isinstance(provider, Streaming) else _whole(provider, request)
    until, late = None if due_s is None else now + due_s, f"no answer within {due_s or 0.0:.3g} s"
    piece: Chunk | Completion | None = None
    try:
        while not isinstance(piece, Completion):
            piece = await _next(source, until, late)
            until, late = end, f"not all of the answer within {total_s or 0.0:.3g} s"
            yield piece
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def _next(source: AsyncIterator[Chunk | Completion], until: float | None, late: str) -> Chunk | Completion:
    """The next piece, by the time ``until`` of the event loop."""
    try:
        async with asyncio.timeout_at(until) as limit:
            return await anext(source)
    except StopAsyncIteration:
        raise ProviderError("the stream ended without a completion") from None
    except TimeoutError:
        if limit.expired():
            raise DeadlineError(late) from None
        raise


async def _whole(provider: Provider, request: LLMRequest) -> AsyncGenerator[Chunk | Completion, None]:
    completion = await provider.complete(request)
    yield Chunk(completion.text)
    yield completion
