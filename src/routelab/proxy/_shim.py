"""TO GO: what i6-pool, i6-db and i6-openai bring."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from routelab.providers import Chunk, Completion
from routelab.request import LLMRequest
from routelab.routers import Router, RoutingDecision


@dataclass
class Streamed:
    decision: RoutingDecision
    chunks: AsyncGenerator[Chunk]
    completion: Completion | None = None


async def complete(router: Router, request: LLMRequest, objective: Any) -> tuple[RoutingDecision, Completion]:
    return await router.complete(request)


async def stream(router: Router, request: LLMRequest, objective: Any) -> Streamed:
    decision, completion = await router.complete(request)

    async def chunks() -> AsyncGenerator[Chunk]:
        for word in completion.text.split(" "):
            yield Chunk(word + " ")

    return Streamed(decision, chunks(), completion)


def from_chat(messages: list[dict[str, Any]], **fields: Any) -> LLMRequest:
    from routelab.errors import RoutelabError

    texts = [m["content"] for m in messages if m["role"] == "user" and isinstance(m.get("content"), str)]
    if not texts:
        raise RoutelabError("messages hold no text of a user")
    return LLMRequest(texts[-1], messages=messages, **fields)
