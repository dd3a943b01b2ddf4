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
    end, late = None if total_s is None else now + total_s, f"not all of the answer within {total_s or 0.0:.3g} s"
    due_s = min((seconds for seconds in (first_s, total_s) if seconds is not None), default=None)
    source = provider.stream(request) if isinstance(provider, Streaming) else _whole(provider, request)
    deadline = _Deadline(None if due_s is None else now + due_s, f"no answer within {due_s or 0.0:.3g} s")
    piece: Chunk | Completion | None = None
    try:
        while not isinstance(piece, Completion):
            piece = await deadline.next(source)
            deadline.move(end, late)
            yield piece
    finally:
        deadline.cease()
        if isinstance(source, AsyncGenerator):
            await source.aclose()


class _Deadline:
    """One timer for all pieces, which may be awaited by several tasks; ``asyncio.timeout`` would take one for each.

    Args:
        until: time of the event loop; None is no deadline.
        late: what is said when it is over.
    """

    def __init__(self, until: float | None, late: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._until, self._late, self._over = until, late, False
        self._waiting: asyncio.Task[object] | None = None
        self._timer = None if until is None else self._loop.call_at(until, self._look)

    def move(self, until: float | None, late: str) -> None:
        """Put it off; the timer finds that when it fires."""
        self._until, self._late = until, late

    def cease(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()

    async def next(self, source: AsyncIterator[Chunk | Completion]) -> Chunk | Completion:
        """The next piece of ``source``, in time."""
        task = asyncio.current_task()
        assert task is not None
        if self._over:
            raise DeadlineError(self._late)
        cancelled, self._waiting = task.cancelling(), task
        try:
            return await anext(source)
        except StopAsyncIteration:
            raise ProviderError("the stream ended without a completion") from None
        except asyncio.CancelledError:
            if self._over and task.uncancel() <= cancelled:
                raise DeadlineError(self._late) from None
            raise
        finally:
            self._waiting = None

    def _look(self) -> None:
        """End what waits, unless there is more time by now."""
        if self._until is not None and self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._look)
        elif self._until is not None:
            self._over = True
            if self._waiting is not None:
                self._waiting.cancel()


async def _whole(provider: Provider, request: LLMRequest) -> AsyncGenerator[Chunk | Completion, None]:
    completion = await provider.complete(request)
    yield Chunk(completion.text)
    yield completion
