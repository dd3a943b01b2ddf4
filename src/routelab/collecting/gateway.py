"""Logs that gateways write, JSON line by JSON line, as answers; what their fields mean is told by a mapping."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from routelab.errors import ParamsError, RoutelabError, TableError
from routelab.request import is_finite
from routelab.tables.answers import Answer, text_of

_NEEDED = ("prompt", "provider")
_TEXTS = (*_NEEDED, "task")
_OURS = tuple(field.name for field in fields(Answer))
_DIVIDED = re.compile(r"(?P<path>.+?)\s*/\s*(?P<unit>\d+(?:\.\d+)?(?:e\d+)?)")


@dataclass(frozen=True, slots=True)
class Column:
    """Where a value stands in a line, and what it is divided by.

    Args:
        path: dotted where it is nested; a number counts into a list. A key that holds dots itself is found, too.
        unit: 1000 for milliseconds that are to be seconds.

    >>> Column.parse("latency_ms / 1000").of({"latency_ms": 250})
    0.25
    >>> Column.parse("choices.0.text").of({"choices": [{"text": "Hi"}]})
    'Hi'
    """

    path: str
    unit: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Column:
        """A column from params.yaml: a path, or "path / number"."""
        divided = _DIVIDED.fullmatch(text)
        return cls(text) if divided is None else cls(divided["path"], float(divided["unit"]))

    def of(self, line: Any) -> Any:
        """The value in ``line``; None where it has none."""
        value = _found(line, self.path)
        return value / self.unit if self.unit != 1.0 and is_finite(value) else value


def _found(value: Any, path: str) -> Any:
    if isinstance(value, Mapping) and path in value:
        return value[path]
    first, _, rest = path.partition(".")
    if isinstance(value, Mapping):
        inner = value.get(first)
    elif isinstance(value, list) and first.isdecimal() and int(first) < len(value):
        inner = value[int(first)]
    else:
        return None
    return _found(inner, rest) if rest else inner


def read_gateway_log(path: str | Path, columns: Mapping[str, str]) -> Iterator[Answer]:
    """The answers of a log (JSONL), read line by line.

    Args:
        path: of the log.
        columns: field of ``Answer`` → where it stands in a line, as ``Column.parse`` reads it: ``live.gateway_columns``
            of params.yaml. A prompt may be a text or a list of chat messages.

    Raises:
        ParamsError: a column is unknown, or one that is needed is not mapped.
        TableError: there is no such file; or a line is no JSON, lacks its prompt or provider, or holds something else
            than a number: names the line, the field and the remedy.
    """
    mapped = _mapped(columns)
    try:
        with open(path, "rb") as lines:
            for number, content in enumerate(lines, start=1):
                if not content.isspace():
                    try:
                        yield _answer(_parsed(content), mapped)
                    except RoutelabError as error:
                        raise TableError(f"{path}: line {number} {error}") from None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}. Give a log of JSON lines; paths start at {Path.cwd()}.") from None


def _mapped(columns: Mapping[str, str]) -> dict[str, Column]:
    unknown = [name for name in columns if name not in _OURS]
    if unknown:
        raise ParamsError(f"live.gateway_columns: {unknown[0]!r} is unknown; name columns out of {', '.join(_OURS)}")
    lacking = [name for name in _NEEDED if name not in columns]
    if lacking:
        raise ParamsError(f"live.gateway_columns: {lacking[0]!r} is missing; say where it stands in a line")
    return {name: Column.parse(text) for name, text in columns.items()}


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        told = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise RoutelabError(f"is no JSON ({told}); remove or mend it") from None


def _answer(line: Any, columns: Mapping[str, Column]) -> Answer:
    values = {name: column.of(line) for name, column in columns.items()}
    for name, value in values.items():
        where = f"{columns[name].path!r} (our {name!r})"
        if value is None and name in _NEEDED:
            raise RoutelabError(f"lacks {where}; correct live.gateway_columns in params.yaml, or remove the line")
        if name == "prompt":
            _check_prompt(value, where)
        elif value is None:
            continue
        elif name in _TEXTS and not (isinstance(value, str) and value.strip()):
            raise RoutelabError(f"holds {_short(value)} at {where}; it must be a text")
        elif name not in _TEXTS:
            _check_number(name, value, where)
    return Answer(**values)


def _check_prompt(value: Any, where: str) -> None:
    try:
        text_of(value)
    except RoutelabError as error:
        raise RoutelabError(f"holds no prompt at {where} ({error}); correct the mapping, or remove the line") from None


def _check_number(name: str, value: Any, where: str) -> None:
    most = 1.0 if name == "quality" else math.inf
    if isinstance(value, bool) and name == "quality":
        return
    if isinstance(value, bool) or not is_finite(value) or not 0.0 <= value <= most:
        remedy = 'scale it to [0, 1], as in "score / 10"' if name == "quality" else "it must be a number ≥ 0"
        raise RoutelabError(f"holds {_short(value)} at {where}; {remedy}")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
