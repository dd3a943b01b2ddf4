"""What figures ask of the tables that they are handed, and how they name what is in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile

import pandas as pd

from routelab.errors import FigureError
from routelab.html import short

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
    r"""Names as they fit into a figure: without what stands before a "/", and not over 32 letters.

    Where two would become the same, long ones keep what tells them apart; else both stay as they are. What is
    not printable, such as a sign that turns the direction of writing, becomes a space, or its code where two would be
    the same.

    >>> short_names(["openai/gpt-4", "fixed:openai/gpt-4", "a/x", "b/x"])
    {'openai/gpt-4': 'gpt-4', 'fixed:openai/gpt-4': 'fixed:gpt-4', 'a/x': 'a/x', 'b/x': 'b/x'}
    >>> short_names(["y" * 40]).popitem()[1]
    'yyyyyyyyyyyyyyyy…yyyyyyyyyyyyyyy'
    >>> short_names(["x\u202ey", "b/\u202ex", "b/\u202dx"])
    {'x\u202ey': 'x y', 'b/\u202ex': '\\u202ex', 'b/\u202dx': '\\u202dx'}
    >>> list(short_names(["x" * 30 + "-1-" + "y" * 30, "x" * 30 + "-2-" + "y" * 30]).values())
    ['…xxxxxxxxxxxxxx-1-yyyyyyyyyyyyy…', '…xxxxxxxxxxxxxx-2-yyyyyyyyyyyyy…']
    """
    whole = {name: short(name, len(name)) for name in dict.fromkeys(map(str, names))}
    clear = Counter(whole.values())
    whole |= {name: ascii(name)[1:-1] for name, line in whole.items() if clear[line] > 1}
    shorter = _shorter(list(whole.values()))
    return {name: shorter[line] for name, line in whole.items()}


def _shorter(names: list[str]) -> dict[str, str]:
    """Names that are distinct, and stay so."""
    shorter = {name: _short(name) for name in names}
    taken = list(shorter.values())
    alike = [name for name, brief in shorter.items() if taken.count(brief) > 1 and len(name) > _LONGEST]
    first = len(list(takewhile(lambda letters: len(set(letters)) == 1, zip(*alike, strict=False))))
    shorter |= {name: _window(name, first) for name in alike}
    taken = list(shorter.values())
    return {name: brief if taken.count(brief) == 1 else name for name, brief in shorter.items()}


def _window(name: str, place: int) -> str:
    """The 30 letters around ``place``."""
    start = max(0, min(place - _LONGEST // 2 + 1, len(name) - _LONGEST + 2))
    end = start + _LONGEST - 2
    return f"{'…' if start else ''}{name[start:end]}{'…' if end < len(name) else ''}"


def _short(name: str) -> str:
    last = re.sub(r"[^:/]*/", "", name) or name
    return last if len(last) <= _LONGEST else f"{last[: _LONGEST // 2]}…{last[1 - _LONGEST // 2 :]}"
