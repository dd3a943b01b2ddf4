"""What a recommendation was chosen from, and how it did on fresh prompts."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from routelab.plots.inputs import short_names
from routelab.plots.labels import label_points
from routelab.plots.theme import INK, PALETTE, cost_axis, entitle, legend_beside, new_axes, theme

if TYPE_CHECKING:
    from routelab.benchmark.recommendation import Recommendation

_FEW = 3  # providers out of sight that are named

Colour = str | tuple[float, float, float]


def plot_recommendation(advice: Recommendation, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Cost and quality of all settings against the baseline, and of the chosen one on prompts nobody had seen.

    Bars are 95 % intervals. Settings that surely lose more than six tolerances (and .05) are left out; how many of them
    are single providers that cost less than the baseline is said, and which where they are few.

    Args:
        advice: of ``recommend``.
        title: the finding; None takes its verdict.
        ax: drawn on; None makes a new figure.
    """
    compared, judged = advice.compared, advice.quality_difference
    floor = max(-1.0, min(-6.0 * advice.tolerance, -0.05, judged.low - 0.01))  # qualities are in [0, 1]
    shown = compared[compared["low"] > floor]
    sure = shown["low"] >= -advice.tolerance
    single = shown["policy"].str.startswith("always ")
    colours = sns.color_palette(PALETTE)
    with theme():
        ax = new_axes() if ax is None else ax
        _draw(ax, shown[~sure & ~single], "v", "0.6", "perhaps worse")
        _draw(ax, shown[sure & ~single], "o", colours[0], "surely as good")
        _draw(ax, shown[single], "s", "0.25", "single providers")
        chosen = compared[
            (compared["policy"] == advice.policy) & (compared["cost_weight"] == advice.objective.cost_weight)
        ]
        ax.plot(
            1e3 * chosen["cost"],
            chosen["difference"],
            "o",
            markersize=14,
            markerfacecolor="none",
            markeredgewidth=2.0,
            color=colours[1],
            zorder=6,
            label="chosen",
        )
        away = np.abs([[judged.low - judged.estimate], [judged.high - judged.estimate]])
        ax.errorbar(
            1e3 * advice.cost,
            judged.estimate,
            away,
            fmt="*",
            markersize=15,
            elinewidth=2.0,
            capsize=5,
            color=colours[1],
            zorder=6,
            label="the same on\nfresh prompts",
        )
        ax.axhline(0.0, color=INK, linewidth=1.0)
        ax.axhline(-advice.tolerance, color=INK, linewidth=1.0, linestyle="--", label="tolerance")
        cost_axis(ax)
        ax.set_ylim(bottom=max(ax.get_ylim()[0], floor))
        named = shown[single].assign(name=shown["policy"].str.removeprefix("always "))
        names = short_names(named["name"]).values()
        label_points(ax, (1e3 * named["cost"]).tolist(), named["difference"].tolist(), list(names))
        _tell_hidden(ax, advice, floor)
        ax.set_ylabel("mean quality less that of the baseline")
        entitle(ax, title or advice.verdict)
        legend_beside(ax)
    return ax


def _tell_hidden(ax: Axes, advice: Recommendation, floor: float) -> None:
    """Say at the lower edge how many single providers below ``floor`` would cost less than the baseline; name three."""
    single = advice.compared[advice.compared["policy"].str.startswith("always ")]
    usd = single.loc[single["policy"] == f"always {advice.baseline}", "cost"].min()
    hidden = single.loc[(single["low"] <= floor) & (single["cost"] < usd), "policy"].str.removeprefix("always ")
    count = len(hidden)
    if count:
        names = f" ({', '.join(short_names(hidden).values())})" if count <= _FEW else ""
        told = f"not shown: {count} cheaper provider{'s' * (count > 1)}{names}, may lose {-floor:.2g} or more"
        ax.text(
            0.01, 0.01, textwrap.fill(told, 100), transform=ax.transAxes, fontsize=9, color=INK, va="bottom", zorder=9
        )


def _draw(ax: Axes, rows: pd.DataFrame, marker: str, colour: Colour, label: str) -> None:
    """Settings with the 95 % intervals of their difference."""
    if len(rows):
        ax.errorbar(
            1e3 * rows["cost"],
            rows["difference"],
            np.array([rows["difference"] - rows["low"], rows["high"] - rows["difference"]]),
            fmt=marker,
            markersize=5,
            elinewidth=0.8,
            color=colour,
            alpha=0.8,
            label=label,
        )
