"""A request in OpenAI's chat format, and the most that it can cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from routelab.errors import RoutelabError
from routelab.providers.base import ProviderError
from routelab.request import LLMRequest

LIMITS = ("max_completion_tokens", "max_tokens")  # OpenAI's, and everybody else's
_TEMPLATE_TOKENS = 256  # of a system message that a chat template adds by itself


def chat_body(
    request: LLMRequest, model: str, options: Mapping[str, Any], limit: Mapping[str, int], *, stream: bool = False
) -> bytes:
    """The JSON to send; the request's options go before ``options``, and ``limit`` is for where neither has one.

    Raises:
        ProviderError: the messages or options cannot be written as JSON; the request is at fault.
    """
    body = _settings(request, options, limit) | {"model": model, "messages": _messages(request)}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        reason = type(error).__name__
    raise ProviderError(f"the request cannot be written as JSON ({reason})", refused=True)


def most_tokens(
    request: LLMRequest, model: str, options: Mapping[str, Any], limit: Mapping[str, int]
) -> tuple[int, int]:
    """Tokens of the request and of its answers, at most: a token of the request is at least one byte of what is sent.

    Raises:
        RoutelabError: there is no such bound: a message is not text alone, or a limit is no whole number.
    """
    for message in _messages(request):
        content = message.get("content")
        parts = content if isinstance(content, Sequence) and not isinstance(content, str) else ()
        if not all(isinstance(part, Mapping) and part.get("type") in ("text", "refusal") for part in parts):
            raise RoutelabError("the cost of a request with images, audio or files has no bound; send text, or no cap")
    settings = _settings(request, options, limit)
    counts = [settings[name] for name in (*LIMITS, "n") if settings.get(name) is not None]
    if not all(isinstance(count, int) and count >= 1 for count in counts):
        raise RoutelabError(f"max_tokens and n of a request must be whole numbers ≥ 1, got {counts!r}")
    longest = max(settings[name] for name in LIMITS if settings.get(name) is not None)
    given = len(chat_body(request, model, options, limit)) + _TEMPLATE_TOKENS
    return given, longest * int(settings.get("n") or 1)


def _messages(request: LLMRequest) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": request.prompt}] if request.messages is None else list(request.messages)


def _settings(request: LLMRequest, options: Mapping[str, Any], limit: Mapping[str, int]) -> dict[str, Any]:
    """All but the model, the messages and whether it is streamed, which are not options."""
    own = dict(request.options)
    limits = next(given for given in (own, options, limit) if any(given.get(name) is not None for name in LIMITS))
    settings = {**options, **own}
    for name in (*LIMITS, "model", "messages", "stream", "stream_options"):
        settings.pop(name, None)
    return settings | {name: limits[name] for name in LIMITS if limits.get(name) is not None}
