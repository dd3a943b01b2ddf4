"""Pieces of Markdown: aligned tables, and numbers of three digits."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_NUMERIC = re.compile(r"[-−–\d][\d.,e+-]*(?: .*)?")
_NOTHING = 1e-9  # what is left of a difference of equal sums


def number(value: float | None) -> str:
    """Three significant digits, whole from 1,000 on; a dash where there is no number.

    >>> number(0.124244), number(15.1555), number(1824), number(4.6e-05), number(None)
    ('0.124', '15.2', '1,824', '4.6e-05', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) < _NOTHING:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def interval(found: Mapping[str, Any]) -> str:
    """An estimate with its interval.

    >>> interval({"estimate": 0.124244, "low": 0.0726638, "high": 0.183631})
    '0.124 [0.0727, 0.184]'
    """
    return f"{number(found['estimate'])} [{number(found['low'])}, {number(found['high'])}]"


def share(value: float) -> str:
    """A share as a percentage.

    >>> share(0.3333), share(0.0)
    ('33.3 %', '0 %')
    """
    return f"{number(100.0 * value)} %"


def plain(text: object) -> str:
    """A name of anybody's as text: no line break, no HTML, and no bar that would end a cell.

    >>> plain("<b>a|b")
    '&lt;b&gt;a\\\\|b'
    """
    return html.escape(" ".join(str(text).split()), quote=False).replace("|", r"\|")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    r"""A table whose columns are aligned, texts left and numbers right.

    A column holds numbers where each of its cells below the header begins with one, or is a dash.

    >>> print(table(["name", "n"], [["small", "7"], ["large", "12"]]))
    | name  |  n |
    |-------|---:|
    | small |  7 |
    | large | 12 |
    """
    cells = [[plain(cell) for cell in row] for row in (header, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(_NUMERIC.fullmatch(cell) for cell in column[1:]) for column in columns]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(row, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = "".join(
        f"|{'-' * (width + 1)}{':' if numeric else '-'}" for width, numeric in zip(widths, right, strict=True)
    )
    return "\n".join([line(cells[0]), f"{rule}|", *map(line, cells[1:])])
