"""Answers that were collected one by one, as one tidy frame: the same prompt is one prompt, repeated answers a mean."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from routelab.errors import RoutelabError, TableError

_NUMBERS = ("quality", "cost_usd", "input_tokens", "output_tokens", "latency_s")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one provider made of one prompt.

    Args:
        prompt: text, or a conversation in OpenAI's chat format.
        provider: who answered.
        quality: in [0, 1]; None = not graded.
        cost_usd: what the provider charged.
        input_tokens: of the prompt.
        output_tokens: of the answer.
        latency_s: from the call to the last token, seconds.
        task: label of the prompt.
    """

    prompt: str | Sequence[Mapping[str, Any]]
    provider: str
    quality: float | None = None
    cost_usd: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    latency_s: float | None = None
    task: str | None = None


def prompt_id_of(prompt: str | Sequence[Mapping[str, Any]]) -> str:
    """A name that a prompt, or a conversation, always has: 16 hex digits of its SHA-256.

    >>> prompt_id_of("Hi"), prompt_id_of([{"role": "user", "content": "Hi"}])
    ('3639efcd08abb273', '3639efcd08abb273')
    """
    if not isinstance(prompt, str):
        alone = prompt[0].get("content") if len(prompt) == 1 and prompt[0].get("role") == "user" else None
        prompt = alone if isinstance(alone, str) else json.dumps(prompt, sort_keys=True)
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def text_of(prompt: str | Sequence[Mapping[str, Any]]) -> str:
    """The text that a router looks at: the prompt, or the last message of the user in a conversation.

    Raises:
        RoutelabError: it holds no such text.

    >>> text_of([{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}])
    'Hi'
    """
    if isinstance(prompt, str):
        text = prompt
    else:
        messages: list[Any] = list(prompt) if isinstance(prompt, Sequence) else [prompt]
        if not all(isinstance(message, Mapping) for message in messages):
            raise RoutelabError(f"a prompt is text or a list of chat messages, not {type(prompt).__name__}")
        said = [message.get("content") for message in messages if message.get("role") == "user"]
        text = _joined(said[-1]) if said else ""
    if not text.strip():
        raise RoutelabError("a prompt is empty, or its conversation holds no text of the user")
    return text


def _joined(content: Any) -> str:
    """The text of a message's content, which is text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type", "text") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def frame_of(answers: Iterable[Answer], origin: str) -> pd.DataFrame:
    """A tidy frame with a row per (prompt, provider), prompts and their providers in order of appearance.

    Several answers of a provider to the same prompt become one row: the mean of what is known of each, the unbiased
    estimate of what to expect of that provider there. Memory grows with the rows, not with the answers.

    Args:
        answers: may come from a stream.
        origin: what errors call the table.

    Raises:
        TableError: there are no answers.
        RoutelabError: a prompt holds no text.

    >>> frame_of([Answer("Hi", "small", 1.0, 0.01), Answer("Hi", "large", None, 0.2), Answer("Hi", "small", 0.0, 0.03)],
    ...          "log")
              prompt_id provider prompt  quality  cost_usd
    0  3639efcd08abb273    small     Hi      0.5      0.02
    1  3639efcd08abb273    large     Hi      NaN      0.20
    """
    texts = dict[str, tuple[str, str | None]]()
    sums = dict[tuple[str, str], list[float]]()
    for answer in answers:
        text, key = text_of(answer.prompt), prompt_id_of(answer.prompt)
        texts.setdefault(key, (text, answer.task))
        row = sums.setdefault((key, answer.provider), [0.0] * (2 * len(_NUMBERS)))
        for place, name in enumerate(_NUMBERS):
            value = getattr(answer, name)
            if value is not None:
                row[2 * place] += value
                row[2 * place + 1] += 1.0
    if not sums:
        raise TableError(f"{origin}: no answers. Give a log, or an experiment, that holds some.")
    order = {key: place for place, key in enumerate(texts)}
    rows = sorted(sums, key=lambda pair: order[pair[0]])  # stable: providers as they appeared
    frame = pd.DataFrame(
        {
            "prompt_id": [key for key, _ in rows],
            "provider": [provider for _, provider in rows],
            "prompt": [texts[key][0] for key, _ in rows],
            "task": [texts[key][1] for key, _ in rows],
        }
    )
    for place, name in enumerate(_NUMBERS):
        pairs = ((sums[row][2 * place], sums[row][2 * place + 1]) for row in rows)
        frame[name] = [total / count if count else math.nan for total, count in pairs]
    empty = [name for name in frame if name != "quality" and frame[name].isna().all()]
    return frame.drop(columns=empty)
