"""TO GO: what i6-pool, i6-db and i6-openai bring."""

from __future__ import annotations

from typing import Any

from routelab.request import LLMRequest


def from_chat(messages: list[dict[str, Any]], **fields: Any) -> LLMRequest:
    from routelab.errors import RoutelabError

    texts = [m["content"] for m in messages if m["role"] == "user" and isinstance(m.get("content"), str)]
    if not texts:
        raise RoutelabError("messages hold no text of a user")
    return LLMRequest(texts[-1], messages=messages, **fields)
