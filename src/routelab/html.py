"""Cards: what a result says of itself, as plain text for a terminal and as escaped HTML for a notebook.

Nothing here is taken as HTML: every text, whoever wrote it, is made one printable line, shortened and escaped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, fields
from html import escape
from reprlib import Repr
from typing import Any, ClassVar, Protocol

_TITLE, _NOTE, _CELL, _ROWS = 300, 600, 60, 12
_BLUE, _ORANGE = "#0173b2", "#de8f05"  # told apart by colour-blind eyes, on white and on black
_BRIEF = Repr()
_BRIEF.maxstring = _BRIEF.maxother = 120
_BRIEF.maxdict = 8
_MARKUP = re.compile(r"[\\`*_{}\[\]<>()#|$&~!@]")
_FORMULA = re.compile("&#(36|92);")  # a dollar or a backslash
_CSS = "text-align:{};padding:1px 8px;white-space:nowrap"


def short(value: object, limit: int = _CELL) -> str:
    """``value`` as one printable line of at most ``limit`` characters.

    >>> short("two\\nlines \\x1b[31m"), short("much too long", limit=9)
    ('two lines [31m', 'much too…')
    """
    text = str(value)
    kept = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * limit])
    line = " ".join(kept.split())
    return line if len(line) <= limit and len(text) <= 2 * limit else line[: limit - 1].rstrip() + "…"


def number(value: float | None, digits: int = 4) -> str:
    """``value`` with some significant digits; "" where it is not known.

    >>> number(0.123456), number(None), number(float("nan"))
    ('0.1235', '', '')
    """
    return "" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def plain(text: object) -> str:
    """A name of anybody's as it reads, in Markdown: no formatting, no HTML, no formula, one line.

    >>> plain("gpt-4o"), plain("**b** | <i>")
    ('gpt-4o', '&#42;&#42;b&#42;&#42; &#124; &#60;i&#62;')
    """
    told = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(str(text).split()))
    return f"<span class='tex2jax_ignore mathjax_ignore'>{told}</span>" if _FORMULA.search(told) else told


class Record(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def brief(record: Record) -> str:
    """The repr of a dataclass, with long values cut in their middle."""
    told = (f"{one.name}={_BRIEF.repr(getattr(record, one.name))}" for one in fields(record) if one.repr)
    return f"{type(record).__name__}({', '.join(told)})"


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell with a bar from the middle of its column: ``share`` of the half, in [-1, 1].

    >>> str(Bar(-0.25)), str(Bar(1.0))
    ('█████', '████████████████████')
    """

    share: float

    def __str__(self) -> str:
        """A plain bar; its direction is the sign of the number beside it."""
        return "█" * round(20 * abs(self.share))

    def html(self) -> str:
        """A bar of at most 60 pixels to the right, blue, or to the left, orange."""
        width, colour = 60.0 * abs(self.share), _BLUE if self.share > 0.0 else _ORANGE
        left = min(60.0, 60.0 + 60.0 * self.share)
        style = f"margin-left:{left:.0f}px;width:{width:.0f}px;height:0.8em;background:{colour}"
        return f"<div style='width:120px'><div style='{style}'></div></div>"


Cell = str | Bar


@dataclass(frozen=True, slots=True)
class Card:
    """A headline, a small table and notes; of long tables the first 12 rows, and no column without an entry.

    Args:
        title: what there is to say, in a line.
        rows: of cells, each row as long as the header, where there is one.
        header: names of the columns, which makes all but the first stand to the right.
        notes: what a reader has to know.
        below: what follows.

    >>> print(Card("two arms", [("a", "0.9"), ("b", "0.85")], ("arm", "quality"), ["as of now"]))
    two arms
    arm  quality
    a    0.9
    b    0.85
    as of now
    >>> Card("<script>", [("a&b", "1")])._repr_html_().count("<script>")
    0
    """

    title: str
    rows: Iterable[Sequence[Cell]] = ()
    header: Sequence[str] = ()
    notes: Sequence[str] = ()
    below: Card | None = None

    def _lines(self) -> tuple[list[list[Cell]], list[str]]:
        """The header, where there is one, and rows; and notes."""
        rows = list(self.rows)
        body: list[list[Cell]] = [[one if isinstance(one, Bar) else short(one) for one in row] for row in rows[:_ROWS]]
        kept = [column for column, cells in enumerate(zip(*body, strict=True)) if any(map(str, cells))]
        head: list[list[Cell]] = [list(self.header)] if self.header and body else []
        more = [f"… and {len(rows) - _ROWS} more"] if len(rows) > _ROWS else []
        notes = [*more, *(short(note, _NOTE) for note in self.notes)]
        return [[line[column] for column in kept] for line in [*head, *body]], notes

    def __str__(self) -> str:
        """The card for a terminal."""
        lines, notes = self._lines()
        widths = [max(len(str(cell)) for cell in column) for column in zip(*lines, strict=True)]
        table = ["  ".join(str(c).ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        below = [] if self.below is None else ["", str(self.below)]
        return "\n".join([short(self.title, _TITLE), *table, *notes, *below])

    def _repr_html_(self) -> str:
        """The card for a notebook, in the colours of its theme; a dollar in it starts no formula."""
        lines, notes = self._lines()
        table = "".join(
            _row(line, "th" if self.header and not place else "td", bool(self.header))
            for place, line in enumerate(lines)
        )
        told = [
            f"<strong>{escape(short(self.title, _TITLE))}</strong>",
            f"<table style='margin:2px 0'>{table}</table>" if table else "",
        ]
        told += [f"<div style='opacity:0.75'>{escape(note)}</div>" for note in notes]
        below = "" if self.below is None else self.below._repr_html_()
        return f"<div class='tex2jax_ignore mathjax_ignore'>{''.join(told)}</div>{below}"


def _row(cells: Sequence[Cell], tag: str, numbers: bool) -> str:
    """A row of a table; the first cell to the left, ``numbers`` to the right."""
    told = []
    for column, cell in enumerate(cells):
        style = _CSS.format("right" if numbers and column else "left")
        told.append(f"<{tag} style='{style}'>{cell.html() if isinstance(cell, Bar) else escape(cell)}</{tag}>")
    return f"<tr>{''.join(told)}</tr>"


class Shown:
    """What shows itself as a card: its title as the repr, the whole by ``print`` and in a notebook.

    A card is made of what the object holds: nobody is asked, and nothing is read from a file or a database.
    """

    __slots__ = ()

    def _card(self) -> Card:
        raise NotImplementedError

    def __repr__(self) -> str:
        """One line."""
        return f"{type(self).__name__}({short(self._card().title, _TITLE)})"

    def __str__(self) -> str:
        """The card for a terminal."""
        return str(self._card())

    def _repr_html_(self) -> str:
        """The card for a notebook."""
        return self._card()._repr_html_()
