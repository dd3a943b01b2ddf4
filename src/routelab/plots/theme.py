"""The one look of all figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE = "colorblind"


@contextmanager
def theme() -> Iterator[None]:
    """The one look of all figures: white grid, colour-blind palette, embedded fonts."""
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"), sns.color_palette(PALETTE):
        yield


def new_axes(width: float = 11.0, height: float = 5.0) -> Axes:
    """Axes on a figure of its own, without a window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure.subplots()


def save_figure(ax: Axes, path: str | Path) -> Path:
    """Write the figure of ``ax`` as PNG; the same figure gives the same bytes."""
    figure = ax.get_figure()
    assert figure is not None, "the Axes belongs to no figure"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})  # type: ignore[union-attr]
    return path


def cost_axis(ax: Axes) -> None:
    """Cost of 1,000 requests on a log scale."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda usd, _: f"{usd:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.set_xlabel("mean cost of 1,000 requests (USD, log scale)")
