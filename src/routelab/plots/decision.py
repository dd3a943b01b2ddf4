"""One decision: what is expected of each provider, and the setting of a curve that was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from routelab.plots.inputs import short_names
from routelab.plots.theme import PALETTE, entitle, legend_beside, new_axes, theme

Triple = tuple[float, float, float]


def mark_setting(ax: Axes, cost: Triple, quality: Triple, label: str) -> Axes:
    """Mark a setting on the cost–quality plane: a diamond with the intervals of both means.

    Args:
        ax: with USD per 1,000 requests on x.
        cost: estimate, low and high, USD per 1,000 requests.
        quality: estimate, low and high.
        label: in the legend.
    """
    sides = [[value[0] - value[1], value[2] - value[0]] for value in (cost, quality)]
    x, y = np.abs(sides)[:, :, None]
    ax.errorbar(
        [cost[0]],
        [quality[0]],
        xerr=x,
        yerr=y,
        fmt="D",
        label=label,
        color="black",
        markerfacecolor="#d55e00",
        markersize=11,
        capsize=4,
        zorder=8,
    )
    return ax


def plot_decision(
    providers: Sequence[str],
    quality: NDArray[np.float64],
    utility: NDArray[np.float64],
    chosen: int,
    *,
    quality_se: NDArray[np.float64] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Expected quality of each provider for one request, and its utility: quality less what its cost weighs.

    Args:
        providers: names (k,).
        quality: (k,) expected.
        utility: (k,).
        chosen: the arm whose name is marked.
        quality_se: (k,) standard errors; drawn are 95 % intervals of sampling error, 1.96 of them to each side.
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    shorter = short_names(providers)
    names = [shorter[name] for name in providers]
    lead = utility[chosen] - np.delete(utility, chosen).max(initial=-np.inf)
    finding = f"{names[chosen]} is chosen"
    finding += f", {lead:+.3f} in utility against the next best" if np.isfinite(lead) else ""
    blue, orange = sns.color_palette(PALETTE)[0], sns.color_palette(PALETTE)[1]
    with theme():
        ax = new_axes(9.0, 0.42 * len(names) + 1.5) if ax is None else ax
        rows = np.arange(len(names))[::-1]
        for row, left, right in zip(rows, utility, quality, strict=True):
            ax.plot([left, right], [row, row], color="0.75", linewidth=1.5, zorder=1)
        error, sure = (None, "") if quality_se is None else (1.96 * quality_se, "\n(95 % interval)")
        ax.errorbar(quality, rows, xerr=error, fmt="o", color=blue, capsize=3, label=f"quality{sure}")
        told = "utility: quality less\nthe weight of cost"
        ax.plot(utility, rows, "D", color=orange, markersize=8, zorder=1.5, label=told)
        ax.set_yticks(rows, [f"▶ {name}" if arm == chosen else name for arm, name in enumerate(names)])
        ax.set_ylim(-0.6, len(names) - 0.4)
        ax.set_xlabel("expected quality and utility")
        entitle(ax, title or finding)
        legend_beside(ax)
    return ax
