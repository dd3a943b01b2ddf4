"""What an online run does as it goes: who is asked, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from routelab.plots.inputs import need, short_names
from routelab.plots.lines import draw_line, proportion_interval
from routelab.plots.theme import INK, entitle, legend_beside, new_axes, styles, theme


def plot_live(
    served: pd.DataFrame,
    events: Mapping[int, str] | None = None,
    *,
    window: int = 50,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Share of the requests that each provider answered, in windows, with what happened meanwhile.

    Args:
        served: a row per request in its order, column ``provider``; names in the order of the legend if categorical.
            Each share has its 95 % interval.
        events: number of requests before it → what happened.
        window: requests.
        title: the finding; None tells who was asked most.
        ax: drawn on; None makes a new figure.
    """
    need(served, "provider")
    with theme():
        ax = new_axes() if ax is None else ax
        middle = served.reset_index(drop=True).index // window * window + window / 2
        counts = pd.crosstab(middle, served["provider"].to_numpy(), dropna=False)
        if isinstance(served["provider"].dtype, pd.CategoricalDtype):
            counts = counts.reindex(columns=served["provider"].cat.categories, fill_value=0)
        asked, names = counts.sum(axis=1), short_names(counts.columns)
        for place, (name, style) in enumerate(styles(names).items()):
            share = counts[name] / asked
            draw_line(ax, share.index, share, style, names[name], proportion_interval(share, asked), place)
        for row, (number, told) in enumerate((events or {}).items()):
            side = -1 if number > 0.7 * len(served) else 1  # of the line, where there is room
            ax.axvline(number, color=INK, linestyle=":")
            ax.annotate(
                told,
                (number, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(4 * side, -14 - 16 * (row % 4)),  # each in a line of its own: they may be close
                textcoords="offset points",
                ha="left" if side > 0 else "right",
                color="0.2",
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
            )
        ax.set(xlabel=f"requests (windows of {window})", ylabel="share of the requests", ylim=(0.0, 1.0))
        ax.set_xlim(0.0, float(asked.index.max()) + window / 2)
        most = counts.sum()
        told = f"{names[str(most.idxmax())]} is asked most, {most.max() / most.sum():.0%} of {most.sum():,} requests"
        entitle(ax, title or told)
        legend_beside(ax)
    return ax
