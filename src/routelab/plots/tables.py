"""What a table of performances holds: who is good at what, who changes, and who slows down."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from scipy import stats

from routelab.plots.inputs import need, short_names
from routelab.plots.lines import draw_means
from routelab.plots.theme import entitle, legend_beside, new_axes, styles, theme


def plot_tasks(tidy: pd.DataFrame, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean quality of each provider by task, with 95 % intervals of Student's t.

    Args:
        tidy: of ``PerformanceTable.to_frame``: columns ``task``, ``provider``, ``quality``.
        title: the finding; None counts the providers that lead in some task.
        ax: drawn on; None makes a new figure.
    """
    need(tidy, "task", "provider", "quality")
    told = tidy.groupby(["task", "provider"], sort=False, observed=True)["quality"].agg(["mean", "sem", "count"])
    told["half"] = stats.t.ppf(0.975, np.maximum(told["count"] - 1, 1)) * told["sem"]
    mean, half = (
        told.reset_index().pivot_table(
            column, index="task", columns="provider", dropna=False, sort=False, observed=True
        )
        for column in ("mean", "half")
    )
    names = short_names(mean.columns)
    with theme():
        ax = new_axes() if ax is None else ax
        for place, (name, style) in enumerate(styles(names).items()):
            x = np.arange(len(mean)) + 0.7 * ((place + 0.5) / len(names) - 0.5)
            ax.vlines(x, mean[name] - half[name], mean[name] + half[name], color=style.color, linewidth=2)
            ax.plot(x, mean[name], linestyle="none", color=style.color, marker=style.marker, label=names[name])
        ax.set_xticks(range(len(mean)), list(short_names(mean.index).values()))
        if len(mean) > 6:
            ax.tick_params(axis="x", rotation=30)
        ax.set(xlabel="", ylabel="mean quality (95 % interval)", xlim=(-0.5, len(mean) - 0.5))
        winners = mean.dropna(how="all").idxmax(axis=1).unique()
        some = f"{len(winners)} of {len(names)} providers are best in some task"
        entitle(ax, title or (f"{names[winners[0]]} is best in every task" if len(winners) == 1 else some))
        legend_beside(ax)
    return ax


def plot_drift(frame: pd.DataFrame, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean quality over time in worlds that are to be compared, with 95 % intervals.

    Args:
        frame: columns ``world``, ``day`` (binned by the caller, since the start), ``quality``.
        title: the finding; None tells the widest gap between two worlds.
        ax: drawn on; None makes a new figure.
    """
    need(frame, "world", "day", "quality")
    with theme():
        ax = new_axes() if ax is None else ax
        told = draw_means(ax, frame, x="day", y="quality", by="world")
        ax.set(xlabel="days since the start", ylabel="mean quality (95 % interval)")
        behind = told.groupby("day")["mean"].transform("max") - told["mean"]
        gap = told.assign(behind=behind).sort_values("behind", kind="stable").iloc[-1]
        finding = f"The worlds differ most on day {gap['day']:g}: {gap['world']} is {gap['behind']:.2f} behind"
        entitle(ax, title or finding)
        legend_beside(ax, by_height=True)
    return ax


def plot_load(frame: pd.DataFrame, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean latency of providers by how many requests they have in flight, with 95 % intervals.

    Args:
        frame: columns ``provider``, ``load`` (requests in flight, binned by the caller), ``seconds``.
        title: the finding; None tells who slows down most.
        ax: drawn on; None makes a new figure.
    """
    need(frame, "provider", "load", "seconds")
    names = short_names(frame["provider"])
    with theme():
        ax = new_axes() if ax is None else ax
        told = draw_means(ax, frame.assign(provider=frame["provider"].map(names)), x="load", y="seconds", by="provider")
        ax.set(xlabel="requests in flight", ylabel="mean latency (s, log scale)", yscale="log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ends = told.groupby("provider", sort=False)["mean"].agg(["first", "last"])
        slower = ends["last"] / ends["first"]
        entitle(ax, title or f"{slower.idxmax()} takes {slower.max():.2g} times as long under its highest load")
        legend_beside(ax, by_height=True)
    return ax
