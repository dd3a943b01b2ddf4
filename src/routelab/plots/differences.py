"""The difference of two runs, metric by metric."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from routelab.plots.inputs import need
from routelab.plots.runs import lower_is_better
from routelab.plots.theme import INK, entitle, new_axes, theme

_LOOK = {"better": "o", "worse": "s", "not clear": "D"}  # and hollow where it is not clear


def plot_difference(
    frame: pd.DataFrame, *, names: tuple[str, str] = ("A", "B"), title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Differences of two runs with their intervals around zero, better to the right, each metric on its own scale.

    Args:
        frame: a row per metric, columns ``metric``, ``difference`` (first minus second), ``low``, ``high``; a
            difference without an interval (NaN) is drawn as not clear.
        names: of the first run and of the second.
        title: the finding; None tells what the first is better and worse in, as far as the intervals leave out zero.
        ax: drawn on; None makes a new figure.
    """
    need(frame, "metric", "difference", "low", "high")
    rows = frame.reset_index(drop=True)
    sign = np.where([lower_is_better(metric) for metric in rows["metric"]], -1.0, 1.0)
    values = rows[["difference", "low", "high"]].to_numpy(dtype=float)
    reach = np.nanmax(np.abs(np.nan_to_num(values)), axis=1)
    shown = values * (sign / np.where(reach > 0.0, reach, 1.0))[:, None]
    verdicts = [_verdict(*row) for row in values * sign[:, None]]
    with theme():
        ax = new_axes(height=1.6 + 0.45 * len(rows)) if ax is None else ax
        ax.axvline(0.0, color=INK, linewidth=1.2)
        ax.axvspan(0.0, 1.15, color="0.95", zorder=0)
        for place, (verdict, (middle, low, high)) in enumerate(zip(verdicts, shown, strict=True)):
            face = "white" if verdict == "not clear" else "C0"
            ax.hlines(place, low, high, color="C0", linewidth=2)
            ax.plot(middle, place, marker=_LOOK[verdict], color="C0", markerfacecolor=face, markersize=8)
            ax.annotate(_told(*values[place]), (1.01, place), xycoords=("axes fraction", "data"), va="center")
        ticks = [
            f"{metric}\n(lower is better)" if side < 0 else metric
            for metric, side in zip(rows["metric"], sign, strict=True)
        ]
        ax.set_yticks(range(len(rows)), ticks)
        ax.set(xlim=(-1.15, 1.15), ylim=(len(rows) - 0.5, -0.5), ylabel="")
        ax.set_xticks([-0.6, 0.0, 0.6], [f"{names[0]} worse", "no difference", f"{names[0]} better"])
        ax.grid(visible=False)
        ax.set_xlabel(f"{names[0]} minus {names[1]}, each metric on its own scale (hollow: zero is possible)")
        entitle(ax, title or _finding(names, list(rows["metric"]), verdicts))
    return ax


def _verdict(middle: float, low: float, high: float) -> str:
    """Better or worse as far as the interval leaves out zero; ``low`` and ``high`` may be exchanged."""
    low, high = min(low, high), max(low, high)
    return "better" if low > 0.0 else "worse" if high < 0.0 else "not clear"


def _told(middle: float, low: float, high: float) -> str:
    """A difference with its interval.

    >>> _told(0.0123, 0.001, 0.02), _told(-2.0, float("nan"), float("nan"))
    ('+0.0123 [+0.001, +0.02]', '-2 (no interval)')
    """
    return f"{middle:+.3g} (no interval)" if np.isnan([low, high]).any() else f"{middle:+.3g} [{low:+.3g}, {high:+.3g}]"


def _finding(names: tuple[str, str], metrics: list[str], verdicts: list[str]) -> str:
    """What is better, what is worse, and what is not clear.

    >>> _finding(("forest", "rule"), ["quality", "cost_usd", "aiq"], ["better", "worse", "not clear"])
    'forest against rule: better in quality; worse in cost_usd; not clear in aiq'
    """
    told = {verdict: [m for m, v in zip(metrics, verdicts, strict=True) if v == verdict] for verdict in _LOOK}
    parts = [f"{verdict} in {', '.join(found)}" for verdict, found in told.items() if found]
    return f"{names[0]} against {names[1]}: {'; '.join(parts)}"
