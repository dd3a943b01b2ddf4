"""A file of prompts to ask providers: checked whole before the first of them is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from routelab.errors import RoutelabError, TableError
from routelab.request import LLMRequest
from routelab.tables.answers import prompt_id_of, text_of
from routelab.tables.cells import is_utf8
from routelab.tables.io import read_frame

_COLUMNS = ("prompt_id", "prompt", "task", "reference", "messages")


@dataclass(frozen=True, slots=True)
class Prompts:
    """What to ask.

    Args:
        requests: named by their ``request_id``, each name once.
        tasks: a label for each of them, or None.

    Raises:
        RoutelabError: there is none, one has no name, or two have the same.
    """

    requests: Sequence[LLMRequest]
    tasks: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Refuse requests that cannot be told apart."""
        names = [request.request_id for request in self.requests]
        if not names or None in names or len(set(names)) < len(names):
            raise RoutelabError(f"{len(names)} prompts to ask; give one or more, each with a request_id of its own")

    def __len__(self) -> int:
        return len(self.requests)


def read_prompts(path: str | Path) -> Prompts:
    """The prompts of a ``.jsonl``, ``.csv`` or ``.parquet`` file.

    Columns: ``prompt``, or ``messages`` (a conversation in OpenAI's chat format; in a CSV as JSON); ``prompt_id`` (left
    out: a hash of the prompt), ``task`` (a label) and ``reference`` (the right answer, for evaluators), where known.

    Raises:
        TableError: naming the file, the column or the row, what is wrong there, and the remedy.
    """
    frame = read_frame(path).rename(columns=str)
    unknown = [name for name in frame.columns if name not in _COLUMNS]
    if unknown:
        raise TableError(f"{path}: column {unknown[0]!r} is unknown. Prompts have {', '.join(_COLUMNS)}; drop it.")
    if frame.empty:
        raise TableError(f"{path}: no prompts. Give a column 'prompt', or 'messages', with a row for each.")
    requests, tasks, rows = list[LLMRequest](), list[str](), dict[str, int]()
    for number, row in enumerate(frame.to_dict("records")):
        try:
            request = _request({str(name): value for name, value in row.items() if not _is_missing(value)})
            if "task" in frame:
                tasks.append(_text(row, "task"))
        except RoutelabError as error:
            raise TableError(f"{path}: row {number}: {error}.") from None
        name = str(request.request_id)
        if name in rows:
            raise TableError(
                f"{path}: rows {rows[name]} and {number} have the same prompt_id {name!r}. "
                "Remove one, or give each row a prompt_id of its own."
            )
        rows[name] = number
        requests.append(request)
    return Prompts(requests, tasks if "task" in frame else None)


def _request(row: Mapping[str, Any]) -> LLMRequest:
    messages = _conversation(row["messages"]) if "messages" in row else None
    if messages is None and "prompt" not in row:
        raise RoutelabError("column 'prompt' is empty; give it a text, or drop the row")
    prompt = _text(row, "prompt") if "prompt" in row else text_of(messages or [])
    return LLMRequest(
        prompt,
        request_id=_text(row, "prompt_id") if "prompt_id" in row else prompt_id_of(messages or prompt),
        messages=messages,
        reference=_text(row, "reference") if "reference" in row else None,
    )


def _text(row: Mapping[Any, Any], column: str) -> str:
    """A cell's text; whole numbers, as of a right answer in JSON, become one."""
    value = row[column]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not (isinstance(value, str) and value.strip() and is_utf8(value)):
        raise RoutelabError(
            f"column {column!r} holds {str(value)[:60]!a}; give a text of valid UTF-8 that is not blank"
        )
    return value


def _conversation(value: Any) -> list[dict[str, Any]]:
    """Chat messages from a list, from JSON, or from parquet, whose structs fill up what a message lacks with None."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise RoutelabError(f"column 'messages' holds no JSON ({error}); write a list of chat messages") from None
    if isinstance(value, np.ndarray):
        value = [{name: held for name, held in message.items() if held is not None} for message in value]
    if not (isinstance(value, list) and value and all(isinstance(each, dict) and "role" in each for each in value)):
        raise RoutelabError('column \'messages\' must hold a list such as [{"role": "user", "content": "Hi"}]')
    return value


def _is_missing(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))
