"""What figures ask of the tables that they are handed, and how they name what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

import pandas as pd

from routelab.errors import FigureError

_LONGEST = 32  # letters of a name in a figure


def need(frame: pd.DataFrame, *columns: str) -> None:
    """Refuse a table without rows, or without one of ``columns``.

    Raises:
        FigureError: naming what is missing and what there is.

    >>> need(pd.DataFrame({"run": ["a"]}), "run", "policy")
    Traceback (most recent call last):
    ...
    routelab.errors.FigureError: the table has no column 'policy', which this figure needs; it has 'run'
    """
    lacking = [name for name in columns if name not in frame.columns]
    if lacking:
        has = ", ".join(repr(str(name)) for name in frame.columns)
        raise FigureError(
            f"the table has no column {', '.join(map(repr, lacking))}, which this figure needs; it has {has or 'none'}"
        )
    if frame.empty:
        raise FigureError("the table has no rows: there is nothing to draw")


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Names as they fit into a figure: without what stands before a "/", and not over 32 letters.

    Where two would become the same, long ones keep what tells them apart; else both stay as they are.

    >>> short_names(["openai/gpt-4", "fixed:openai/gpt-4", "a/x", "b/x"])
    {'openai/gpt-4': 'gpt-4', 'fixed:openai/gpt-4': 'fixed:gpt-4', 'a/x': 'a/x', 'b/x': 'b/x'}
    >>> short_names(["y" * 40]).popitem()[1]
    'yyyyyyyyyyyyyyyy…yyyyyyyyyyyyyyy'
    >>> list(short_names(["x" * 30 + "-1-" + "y" * 30, "x" * 30 + "-2-" + "y" * 30]).values())
    ['…xxxxxxxxxxxxxx-1-yyyyyyyyyyyyy…', '…xxxxxxxxxxxxxx-2-yyyyyyyyyyyyy…']
    """
    shorter = {name: _short(name) for name in dict.fromkeys(map(str, names))}
    taken = list(shorter.values())
    alike = [name for name, short in shorter.items() if taken.count(short) > 1 and len(name) > _LONGEST]
    first = len(list(takewhile(lambda letters: len(set(letters)) == 1, zip(*alike, strict=False))))
    shorter |= {name: _window(name, first) for name in alike}
    taken = list(shorter.values())
    return {name: short if taken.count(short) == 1 else name for name, short in shorter.items()}


def _window(name: str, place: int) -> str:
    """The 30 letters around ``place``."""
    start = max(0, min(place - _LONGEST // 2 + 1, len(name) - _LONGEST + 2))
    end = start + _LONGEST - 2
    return f"{'…' if start else ''}{name[start:end]}{'…' if end < len(name) else ''}"


def _short(name: str) -> str:
    last = re.sub(r"[^:/]*/", "", name) or name
    return last if len(last) <= _LONGEST else f"{last[: _LONGEST // 2]}…{last[1 - _LONGEST // 2 :]}"
