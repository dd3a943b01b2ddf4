"""Lines with their bands: what most figures are made of."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from scipy import stats

from routelab.plots.theme import Style, styles

_MARKS = 12  # on a line; more hide it
_NORMAL = float(stats.norm.ppf(0.975))


def draw_line(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike,
    style: Style,
    label: str,
    band: tuple[ArrayLike, ArrayLike] | None = None,
    place: int = 0,
) -> None:
    """A line with some marks on it, the first at ``place``, above its band from low to high."""
    step = -(-np.size(x) // _MARKS)
    ax.plot(
        x,
        y,
        color=style.color,
        linestyle=style.linestyle,
        marker=style.marker,
        markersize=6,
        markevery=(place % step if step else 0, max(step, 1)),
        label=label,
    )
    if band is not None:
        ax.fill_between(x, *band, color=style.color, alpha=0.2, linewidth=0)


def draw_marks(
    ax: Axes, x: ArrayLike, y: ArrayLike, style: Style, label: str, *, filled: bool = True, size: float = 8.0
) -> None:
    """Marks without a line, hollow where they are not ``filled``."""
    ax.plot(
        x,
        y,
        linestyle="none",
        color=style.color,
        marker=style.marker,
        markersize=size,
        markerfacecolor=style.color if filled else "white",
        zorder=6,
        label=label,
    )


def draw_means(ax: Axes, frame: pd.DataFrame, *, x: str, y: str, by: str, shares: bool = False) -> pd.DataFrame:
    """A line of the means of ``y`` over ``x`` for each value of ``by``, with 95 % intervals.

    Of Student's t (a bootstrap of a handful of seeds is too narrow, and takes seconds; one row alone has none), or of
    Wilson where ``y`` is 0 or 1 and the means are ``shares``.

    Returns:
        A row per value of ``by`` and ``x`` with ``mean``, ``low`` and ``high``.
    """
    told = frame.groupby([by, x], sort=False, observed=True)[y].agg(["mean", "sem", "count"]).reset_index()
    half = stats.t.ppf(0.975, np.maximum(told["count"] - 1, 1)) * told["sem"]
    low, high = told["mean"] - half, told["mean"] + half
    if shares:
        low, high = proportion_interval(told["mean"], told["count"])
    told = told.assign(low=low, high=high).sort_values(x, kind="stable")
    look = styles(frame[by].astype(str))
    for place, (name, style) in enumerate(look.items()):
        rows = told[told[by].astype(str) == name]
        draw_line(ax, rows[x], rows["mean"], style, name, (rows["low"], rows["high"]), 2 * place)
    return told


def proportion_interval(share: ArrayLike, n: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a share of n (Wilson, *Probable Inference*, 1927): it has a width at 0 and 1 too.

    >>> low, high = proportion_interval(0.0, 100)
    >>> float(low.round(3)), float(high.round(3))
    (0.0, 0.037)
    """
    share, n = np.asarray(share, dtype=float), np.asarray(n, dtype=float)
    shrink = 1.0 + _NORMAL**2 / n
    middle = (share + _NORMAL**2 / (2.0 * n)) / shrink
    half = _NORMAL / shrink * np.sqrt(share * (1.0 - share) / n + (_NORMAL / (2.0 * n)) ** 2)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
