"""A streamed answer as server-sent events: the provider's own where it sent some, else ours in OpenAI's format."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from routelab.providers import Completion, ProviderError
from routelab.proxy.answering import Answer
from routelab.proxy.errors import of_provider
from routelab.proxy.metrics import Metrics

_DONE = b"data: [DONE]\n\n"


class EventStream(Response):
    """Passes on an answer chunk by chunk; a break becomes an event with the error, without the closing ``[DONE]``.

    Args:
        answer: begun.
        frame: what every chunk of ours has: id, object, created, model.
        usage: whether the last event tells the tokens.
        metrics: told of a break.
        ended: called when the answer is whole; gives it back.
        headers: of the response.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        answer: Answer,
        frame: dict[str, Any],
        *,
        usage: bool,
        metrics: Metrics,
        ended: Callable[[], Completion],
        headers: dict[str, str],
    ) -> None:
        super().__init__(headers=headers | {"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._end = b""
        self.answer, self.frame, self.usage, self.metrics, self.ended = answer, frame, usage, metrics, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything; whoever ends this early ends the provider's work, too."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        async with aclosing(self._events()) as events:
            await send(start)
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": self._end, "more_body": False})

    async def _events(self) -> AsyncGenerator[bytes]:
        """The events but for those that end the answer, which it keeps; those that come together are in one piece."""
        answer = self.answer
        assert answer.chunks is not None
        ours, begun = False, False
        try:
            async with aclosing(answer.chunks) as chunks:
                async for chunk in chunks:
                    if chunk.event:
                        yield self._theirs(chunk.event)
                    else:
                        delta = {"content": chunk.text} if begun else {"role": "assistant", "content": chunk.text}
                        ours = True
                        yield self._event([_choice(delta)])
                    begun = True
        except ProviderError as error:
            self.metrics.broke(answer.provider)
            self._end = _data(of_provider(error).body())
            return
        completion = self.ended()
        last = self._event([_choice({}, "stop")]) if ours or not begun else b""
        if ours and self.usage:
            last += self._event([], usage=usage(completion))
        self._end = last + _DONE

    def _theirs(self, events: bytes) -> bytes:
        """Events as they came, without the closing one, and without tokens that the client did not ask for."""
        if b"[DONE]" not in events and (self.usage or b'"usage"' not in events):
            return events
        return b"".join(event + b"\n\n" for event in events.split(b"\n\n") if event and self._passes(event))

    def _passes(self, event: bytes) -> bool:
        payload = event.removeprefix(b"data:").strip()
        return payload != b"[DONE]" and (self.usage or not _tells_usage(payload))

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return _data(self.frame | {"choices": choices} | more)


def usage(completion: Completion) -> dict[str, Any]:
    """The tokens of an answer as OpenAI writes them."""
    given, answered = completion.input_tokens, completion.output_tokens
    return {
        "prompt_tokens": given,
        "completion_tokens": answered,
        "total_tokens": given + answered,
        "prompt_tokens_details": {"cached_tokens": completion.cached_tokens},
    }


def _data(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _choice(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _tells_usage(payload: bytes) -> bool:
    """Whether an event has the tokens instead of a choice."""
    try:
        body = json.loads(payload)
    except ValueError:
        return False
    return isinstance(body, dict) and not body.get("choices") and bool(body.get("usage"))
