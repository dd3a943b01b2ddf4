"""Cells and column names that no schema can judge, and how an error shows the cells that break a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from routelab.errors import TableError

KEYS = ("prompt_id", "provider")
_SHOWN = 3


def check_cells(frame: pd.DataFrame, origin: str) -> None:
    """Refuse columns without one name each, and cells that hold a list, a dict, or half a character.

    Raises:
        TableError: naming the origin, the column, the first offending rows and the remedy.

    >>> check_cells(pd.DataFrame({"prompt_id": ["a"], "quality": [[0.5]]}), "mine")
    Traceback (most recent call last):
    routelab.errors.TableError: mine: column 'quality' must hold single values, but row 0 (prompt_id 'a') holds a list.
    Give one number or text per cell.
    """
    if frame.columns.nlevels > 1:
        levels = frame.columns.nlevels
        raise TableError(f"{origin}: the columns have {levels} levels of names. Give each column one name.")
    names = [str(name) for name in frame.columns]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise TableError(f"{origin}: column {name!r} appears more than once. Keep one of them.")
        if not is_utf8(name):
            raise TableError(f"{origin}: the name of column {name!r} is no valid UTF-8. Replace the lone surrogate.")
    for place, name in enumerate(names):
        values = frame.iloc[:, place]
        if not pd.api.types.is_numeric_dtype(values):
            for rule, remedy, holds in _RULES:
                rows = [row for row, value in enumerate(values.astype(object)) if not holds(value)]
                if rows:
                    raise TableError(f"{origin}: {offence(name, rule, rows, frame.set_axis(names, axis=1), remedy)}")


def is_utf8(text: str) -> bool:
    """Whether ``text`` can be written as UTF-8: half of a UTF-16 pair (a lone surrogate) cannot.

    >>> is_utf8("\N{PARROT}"), is_utf8("\\ud83e")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def offence(column: str, rule: str, rows: Sequence[int], frame: pd.DataFrame, remedy: str) -> str:
    """The sentence that names ``column``, its ``rule``, the first of the ``rows`` that break it, and the remedy.

    >>> offence("quality", "must hold numbers", [0], pd.DataFrame({"quality": ["good"]}), "Grade it.")
    "column 'quality' must hold numbers, but row 0 holds 'good'. Grade it."
    """

    def place(row: int) -> str:
        keys = ", ".join(f"{key} {_short(frame[key].iloc[row])}" for key in KEYS if key in frame)
        return f"row {row}{f' ({keys})' if keys else ''} holds {_short(frame[column].iloc[row])}"

    shown = ", ".join(place(row) for row in rows[:_SHOWN])
    rest = f" and {len(rows) - _SHOWN} more rows break the rule" if len(rows) > _SHOWN else ""
    return f"column {column!r} {rule}, but {shown}{rest}. {remedy}"


def _short(value: Any) -> str:
    if not pd.api.types.is_scalar(value):
        return f"a {type(value).__name__}"
    value = value.item() if isinstance(value, np.generic) else value
    shown: str = "nothing" if pd.isna(value) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…'"


_RULES: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    ("must hold single values", "Give one number or text per cell.", pd.api.types.is_scalar),
    ("must be valid UTF-8", "Replace the lone surrogates.", lambda v: not isinstance(v, str) or is_utf8(v)),
)
