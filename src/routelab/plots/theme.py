"""The one look of all figures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from routelab.html import short

PALETTE = "colorblind"
INK = "0.3"  # of what is no series: zero lines, events, single providers
_FONT = {"font.family": ["DejaVu Sans"]}  # ships with matplotlib: the same letters on every machine
_MARKERS = "osD^vPX*<>p"
_DASHES = ("-", "--", "-.", ":")
_LETTER = 0.55  # mean width of a letter, in font sizes
_ROW = 0.23  # height of a legend's line, inches


@dataclass(frozen=True)
class Style:
    """How a series is told from the others: in colour, and in grey by its marker and its dashes."""

    color: tuple[float, float, float]
    marker: str
    linestyle: str


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name; no two of 44 share marker and dashes.

    >>> [(style.marker, style.linestyle) for style in styles(["forest", "rule"]).values()]
    [('o', '-'), ('s', '--')]
    """
    colours = sns.color_palette(PALETTE)
    return {
        name: Style(colours[place % len(colours)], _MARKERS[place % len(_MARKERS)], _DASHES[place % len(_DASHES)])
        for place, name in enumerate(dict.fromkeys(names))
    }


@contextmanager
def theme() -> Iterator[None]:
    """The one look of all figures: white grid, colour-blind palette, matplotlib's own font; a dollar is a dollar."""
    with (
        mpl.rc_context({"text.parse_math": False}),
        sns.axes_style("whitegrid", _FONT),
        sns.plotting_context("notebook"),
        sns.color_palette(PALETTE),
    ):
        yield


def new_axes(width: float = 11.0, height: float = 5.0) -> Axes:
    """Axes on a figure of its own, without a window."""
    return side_by_side(1, width, height)[0]


def side_by_side(count: int, width: float = 13.0, height: float = 4.5) -> list[Axes]:
    """``count`` Axes in one row of a figure, for functions that are handed their ``ax``.

    >>> left, right = side_by_side(2)
    >>> left.figure is right.figure
    True
    """
    with theme():
        figure = Figure(figsize=(width, height), layout="constrained")
        return list(figure.subplots(1, count, squeeze=False)[0])


def save_figure(ax: Axes, path: str | Path) -> Path:
    """Write the figure of ``ax`` as PNG; the same figure gives the same bytes."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "the Axes belongs to no figure"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path


def cost_axis(ax: Axes) -> None:
    """Cost of 1,000 requests, on a log scale unless something is free."""
    free = ax.dataLim.minposx > ax.dataLim.x0
    ax.set_xlabel(f"mean cost of 1,000 requests (USD{'' if free else ', log scale'})")
    if not free:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda usd, _: f"{usd:g}"))


def entitle(ax: Axes, finding: str) -> None:
    """Title ``ax`` with what it shows, in as many lines as its width asks for."""
    letters = _size(ax)[0] * 72.0 / (_LETTER * mpl.rcParams["axes.titlesize"])
    ax.set_title(textwrap.fill(short(finding, len(finding)), max(20, int(letters))), loc="left")


def legend_beside(ax: Axes, *, by_height: bool = False, upwards: bool = False, title: str | None = None) -> None:
    """A legend to the right of the data, in as many columns as its height asks for.

    Args:
        ax: with labelled artists.
        by_height: lines are named in the order of their right ends, from above.
        upwards: the last is named first, as areas lie on each other.
        title: of the legend.
    """
    handles, names = ax.get_legend_handles_labels()
    if not handles:
        return
    places = list(range(len(handles)))[:: -1 if upwards else 1]
    if by_height:
        places.sort(key=lambda place: -_end(handles[place]))
    rows = sum(1 + name.count("\n") for name in names)
    ax.legend(
        [handles[place] for place in places],
        [names[place] for place in places],
        title=title,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
        fontsize=9,
        handlelength=3.0,
        labelspacing=0.7,
        ncols=ceil(rows * _ROW / _size(ax)[1]),
    )


def _end(handle: object) -> float:
    """Height of the right end of a curve; what is no curve comes last."""
    drawn = np.asarray(handle.get_ydata(), dtype=float) if isinstance(handle, Line2D) else np.empty(0)
    seen = drawn[np.isfinite(drawn)]
    return float(seen[-1]) if len(drawn) > 2 and len(seen) else -np.inf


def _size(ax: Axes) -> tuple[float, float]:
    """Width and height of ``ax`` in inches, before anything is laid out around it."""
    box, figure = ax.get_window_extent(), ax.get_figure(root=True)
    dpi = figure.dpi if figure is not None else 100.0
    return box.width / dpi * 1.15, box.height / dpi
