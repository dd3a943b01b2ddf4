"""The cost–quality plane."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from routelab.hull import upper_hull
from routelab.plots.theme import PALETTE, cost_axis, new_axes, theme

Colour = tuple[float, float, float]
_MARKERS = "osD^vPX*<>"
HULL = "best mixture of fixed providers"
_DOT = 80.0  # area of a dot of probability 1, in points


def _mixtures(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points in order of cost with the random mixtures between them: straight in USD, so bent on a log axis."""
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    share = np.linspace(0.0, 1.0, 30)[:, None]
    between = [start + share * (end - start) for start, end in pairwise(ordered)]
    return np.vstack([ordered[:1], *between])


def plot_frontier(
    curves: Mapping[str, NDArray[np.float64]],
    providers: Mapping[str, tuple[float, float]],
    *,
    captured: Mapping[str, tuple[float, float, float]] | None = None,
    bands: Mapping[str, NDArray[np.float64]] | None = None,
    chances: Mapping[str, NDArray[np.float64]] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Cost–quality plane: single providers, their hull, and a line per policy.

    Args:
        curves: policy → (s, 2) mean cost in USD and mean quality per setting.
        providers: provider → (mean cost in USD, mean quality).
        captured: policy → hull gap captured (estimate, low, high), shown in the legend.
        bands: policy (or ``HULL``) → (g, 3) cost in USD, low and high quality of its curve there.
        chances: policy → (s,) probability of each setting to be on the frontier, the size of its dot; provider →
            (1,), written beside its name.
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    with theme():
        ax = new_axes() if ax is None else ax
        singles = np.array(list(providers.values()))
        hull = _mixtures(singles[upper_hull(singles[:, 0], singles[:, 1])])
        ax.plot(hull[:, 0] * 1e3, hull[:, 1], color="0.45", linestyle="--", label=HULL)
        colours = dict(zip(curves, sns.color_palette(PALETTE, len(curves)), strict=True))
        for name, (cost, low, high) in {name: band.T for name, band in (bands or {}).items()}.items():
            colour = colours.get(name, (0.45, 0.45, 0.45))
            ax.fill_between(cost * 1e3, low, high, color=colour, alpha=0.18, linewidth=0)
        for name, points in curves.items():
            label = name
            if captured and name in captured:
                label += "\n{:+.2f} of the gap [{:+.2f}, {:+.2f}]".format(*captured[name])
            _plot_policy(ax, points, colours[name], label, (chances or {}).get(name, np.full(len(points), 0.2)))
        _plot_providers(ax, providers, chances or {})
        if chances:
            label = "size of a dot, % of a provider:\nprobability of being on the frontier"
            ax.scatter([], [], s=_DOT, color="0.3", label=label)
        cost_axis(ax)
        ax.margins(0.05, 0.09)  # room for the names below the lowest provider
        ax.set_ylabel("mean quality")
        ax.set_title(title or "Cost and quality of policies and single providers", loc="left")
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, labelspacing=0.9)
    return ax


def _plot_policy(
    ax: Axes, points: NDArray[np.float64], colour: Colour, label: str, chances: NDArray[np.float64]
) -> None:
    """A line through the settings with a dot for each, or a cross for a policy that has only one."""
    if len(np.unique(points.round(12), axis=0)) == 1:
        cost, quality = points[0]
        # above the mark of the provider that it may equal
        ax.plot(cost * 1e3, quality, "X", color=colour, label=label, markersize=9, zorder=6)
        return
    path = _mixtures(points)
    ax.plot(path[:, 0] * 1e3, path[:, 1], color=colour, label=label, linewidth=2.0)
    area = _DOT * np.maximum(chances, 0.05)
    ax.scatter(points[:, 0] * 1e3, points[:, 1], s=area, color=colour, linewidth=0, zorder=3)


def _plot_providers(
    ax: Axes, providers: Mapping[str, tuple[float, float]], chances: Mapping[str, NDArray[np.float64]]
) -> None:
    """Single providers as grey marks with the last part of their names, written where there is room."""
    middle = np.median([cost for cost, _ in providers.values()])
    for marker, (name, (cost, quality)) in zip(_MARKERS * 9, providers.items(), strict=False):
        ax.scatter(cost * 1e3, quality, color="0.3", marker=marker, s=65, zorder=5)
        left = cost > middle
        ax.annotate(
            name.rsplit("/", 1)[-1] + (f", {chances[name].item():.0%}" if name in chances else ""),
            (cost * 1e3, quality),
            xytext=(-4 if left else 7, -15),
            textcoords="offset points",
            ha="right" if left else "left",
            fontsize=9,
            zorder=6,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
        )
