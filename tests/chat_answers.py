"""The bytes of answers in OpenAI's chat format, as ``faulty_server`` sends them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Asked:
    """A request that came to the server: its number (from 0), path, headers (names in lower case) and JSON body."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """All texts of the conversation."""
        contents = [message.get("content") for message in self.body.get("messages", ())]
        return "\n".join(content if isinstance(content, str) else json.dumps(content) for content in contents)


def head(status: str, *headers: str, length: int | None = None, kind: str = "application/json") -> bytes:
    """The head of an answer of ``length`` bytes, or of one sent in frames."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", size, *headers, "\r\n"]).encode()


def frame(payload: bytes) -> bytes:
    """``payload`` as one frame of ``Transfer-Encoding: chunked``."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


@lru_cache(maxsize=64)
def completion(model: str, text: str, usage: tuple[int, int, int] | None) -> bytes:
    """A ``chat.completion``; ``usage`` is (input, output, cached input) tokens."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return _body("chat.completion", model, [choice], usage)


@lru_cache(maxsize=64)
def events(model: str, text: str, usage: tuple[int, int, int] | None, chunks: int) -> list[bytes]:
    """The server-sent events: ``chunks`` pieces of ``text``; and, as one: why it ended, the usage, and ``[DONE]``."""
    pieces = _pieces(text, chunks)
    deltas: list[dict[str, str]] = [{"content": piece} for piece in pieces]
    deltas[0]["role"] = "assistant"
    bodies = [_delta(model, [{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    end = event(_delta(model, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    told = b"" if usage is None else event(_delta(model, [], usage))
    return [*map(event, bodies), end + told + DONE]


def empty(model: str, usage: tuple[int, int, int] | None) -> bytes:
    """An answer without choices."""
    return _body("chat.completion", model, [], usage)


def event(body: bytes) -> bytes:
    """``body`` as a server-sent event."""
    return b"data: %b\n\n" % body


def error(message: str, kind: str = "server_error") -> bytes:
    """An error in OpenAI's format."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}}).encode()


def _pieces(text: str, chunks: int) -> list[str]:
    words = re.findall(r"\s*\S+\s*", text) or [text]
    size = -(-len(words) // chunks)
    pieces = ["".join(words[at : at + size]) for at in range(0, len(words), size)]
    return pieces + [""] * (chunks - len(pieces))


def _delta(model: str, choices: list[dict[str, Any]], usage: tuple[int, int, int] | None = None) -> bytes:
    return _body("chat.completion.chunk", model, choices, usage)


def _body(kind: str, model: str, choices: list[dict[str, Any]], usage: tuple[int, int, int] | None) -> bytes:
    body: dict[str, Any] = {"id": "chatcmpl-1", "object": kind, "created": 0, "model": model, "choices": choices}
    if usage is not None:
        given, answered, cached = usage
        body["usage"] = {
            "prompt_tokens": given,
            "completion_tokens": answered,
            "total_tokens": given + answered,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
    return json.dumps(body, separators=(",", ":")).encode()
