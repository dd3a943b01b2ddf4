"""What an answer in OpenAI's chat format says: its text, its model, its tokens; in one piece or as a stream."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from routelab.providers.base import ProviderError
from routelab.providers.keys import quoted


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one answer: of the request, of the answer, and of the request those from the provider's cache."""

    input: int
    output: int
    cached: int = 0


@dataclass(slots=True)
class Answer:
    """What has come of an answer.

    Args:
        model: asked for.
        alias: what answers call it, where that is another name.
        tokens: as the provider counts them, once it said so.
        choices: whether there was any.
        ended: whether the provider said that the answer ends here.
        done: whether it closed the stream (``[DONE]``): nothing follows.
    """

    model: str
    alias: str | None = None
    tokens: Tokens | None = None
    choices: bool = False
    ended: bool = False
    done: bool = False
    _texts: list[str] = field(default_factory=list, repr=False)
    _rest: bytearray = field(default_factory=bytearray, repr=False)
    _named: str | None = None  # the name that was found right

    @property
    def text(self) -> str:
        """Of the first choice."""
        return "".join(self._texts)

    def read(self, body: bytes) -> None:
        """Take in an answer that came in one piece.

        Raises:
            ProviderError: it is none.
        """
        self._take(_json(body), "message")
        self.check()

    def feed(self, data: bytes) -> tuple[str, bytes, bool]:
        """Take in a piece of a stream, wherever it was cut.

        Returns:
            The text that it adds, the events that are whole now, and whether they hold any of the answer (text, a tool
            call, …) or its end.

        Raises:
            ProviderError: it is none.
        """
        searched = max(0, len(self._rest) - 1)
        self._rest += data.replace(b"\r", b"")
        end = self._rest.rfind(b"\n\n", searched) + 2
        if end < 2:
            return "", b"", False
        events, before, told = bytes(self._rest[:end]), len(self._texts), False
        del self._rest[:end]
        for event in events.split(b"\n\n"):
            lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
            if payload := b"\n".join(lines).strip():
                if payload == b"[DONE]":
                    self.ended = self.done = told = True
                else:
                    told |= self._take(_json(payload), "delta")
        return "".join(self._texts[before:]), events, told or self.ended

    def check(self) -> None:
        """Once all has come: an answer has a choice.

        Raises:
            ProviderError: it has none.
        """
        if not self.choices:
            raise ProviderError("answered without choices")

    def _take(self, body: dict[str, Any], part: str) -> bool:
        """Add what ``body`` says; whether it holds any of the answer."""
        if body.get("error"):
            raise ProviderError(f"failed: {quoted(_message(body['error']))}")
        if (usage := body.get("usage")) is not None:
            self.tokens = _tokens(usage) or self.tokens
        told = False
        for choice in _choices(body):
            self.choices = True
            self.ended |= choice.get("finish_reason") is not None
            piece = choice.get(part)
            if isinstance(piece, dict):
                told |= any(value for name, value in piece.items() if name != "role")
                if choice.get("index", 0) == 0 and isinstance(content := piece.get("content"), str):
                    self._texts.append(content)
        if (model := body.get("model")) != self._named:
            self._check_model(model)
        return told

    def _check_model(self, model: Any) -> None:
        if isinstance(model, str) and model:
            if not same_model(self.alias or self.model, model):
                raise ProviderError(f"answered by model {quoted(model)!r} instead of {self.alias or self.model!r}")
            self._named = model


def same_model(asked: str, answered: str) -> bool:
    """Whether ``answered`` is ``asked``, or a dated snapshot of it.

    >>> same_model("gpt-4o", "gpt-4o-2024-08-06"), same_model("gpt-4o", "gpt-4o-mini")
    (True, False)
    """
    name = re.sub(r"[-:]latest$", "", asked.lower())
    dated = rf"{re.escape(name)}(?:[-@:](?:\d{{4}}(?:-?\d{{2}}-?\d{{2}})?|latest))?"
    return answered.lower() == asked.lower() or re.fullmatch(dated, answered.lower()) is not None


def _json(body: bytes) -> dict[str, Any]:
    read: Any = None
    with suppress(ValueError, RecursionError):
        read = json.loads(body)
    if not isinstance(read, dict):
        raise ProviderError("answered with broken JSON, or with no object")
    return read


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    choices = body.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _message(error: Any) -> str:
    said = error.get("message") if isinstance(error, dict) else error
    return str(said)


def _tokens(usage: Any) -> Tokens | None:
    """The tokens that ``usage`` tells; None where it tells none that can be."""
    if not isinstance(usage, dict):
        return None
    given, answered = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if given is None or answered is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Tokens(given, answered, min(cached or 0, given))


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if 0 <= value < 2**53 else None
