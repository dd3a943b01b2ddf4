"""The cost–quality plane."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import compress, pairwise

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from routelab.hull import upper_hull
from routelab.plots.inputs import short_names
from routelab.plots.labels import label_points
from routelab.plots.lines import draw_marks
from routelab.plots.theme import INK, Style, cost_axis, entitle, legend_beside, new_axes, styles, theme

HULL = "best mixture of fixed providers"
_GREY = (0.45, 0.45, 0.45)
_DOT = 80.0  # area of a dot of probability 1, in points
_PLAIN = 0.3  # probability at which dots are drawn where none is told

Floats = NDArray[np.float64]


def _mixtures(points: Floats) -> Floats:
    """Points in order of cost with the random mixtures between them: straight in USD, so bent on a log axis."""
    ordered = points[np.argsort(points[:, 0], kind="stable")]
    share = np.linspace(0.0, 1.0, 30)[:, None]
    between = [start + share * (end - start) for start, end in pairwise(ordered)]
    return np.vstack([ordered[:1], *between])


def plot_frontier(
    curves: Mapping[str, Floats],
    providers: Mapping[str, tuple[float, float]],
    *,
    captured: Mapping[str, tuple[float, float, float]] | None = None,
    bands: Mapping[str, Floats] | None = None,
    chances: Mapping[str, Floats] | None = None,
    named: Collection[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Cost–quality plane: single providers, their hull, and a line per policy.

    Args:
        curves: policy → (s, 2) mean cost in USD and mean quality per setting.
        providers: provider → (mean cost in USD, mean quality).
        captured: policy → hull gap captured (estimate, low, high), shown in the legend.
        bands: policy (or ``HULL``) → (g, 3) cost in USD, low and high quality of its curve there; of a provider, or of
            a policy that is one point, (1, 3).
        chances: policy → (s,) probability of each setting to be on the frontier, the size of its dot; provider →
            (1,), written beside its name.
        named: providers whose names are written; None: all.
        title: the finding; None tells the policy that captures most, or that of the highest quality.
        ax: drawn on; None makes a new figure.
    """
    bands, chances = bands or {}, chances or {}
    with theme():
        ax = new_axes() if ax is None else ax
        singles = np.array(list(providers.values())).reshape(-1, 2)
        if len(singles):
            hull = _mixtures(singles[upper_hull(singles[:, 0], singles[:, 1])])
            ax.plot(hull[:, 0] * 1e3, hull[:, 1], color="0.45", linestyle=(0, (6, 2)), linewidth=1.2, label=HULL)
        look, names = styles(curves), short_names(curves)
        for name, band in bands.items():
            _plot_band(ax, band, look[name].color if name in look else _GREY)
        for name, points in curves.items():
            label = names[name]
            if captured and name in captured:
                label += "\n{:+.2f} of the gap [{:+.2f}, {:+.2f}]".format(*captured[name])
            _plot_policy(ax, points, look[name], label, chances.get(name, np.full(len(points), _PLAIN)))
        if chances:
            label = "size of a mark, % of a provider:\nprobability of being on the frontier"
            ax.scatter([], [], s=_DOT, color=INK, label=label)
        ax.margins(0.05, 0.09)  # room for the names below the lowest provider
        cost_axis(ax)
        _plot_providers(ax, providers, chances, providers if named is None else named)
        ax.set_ylabel("mean quality")
        entitle(ax, title or _finding(curves, captured or {}))
        legend_beside(ax)
    return ax


def _plot_band(ax: Axes, band: Floats, colour: tuple[float, float, float]) -> None:
    """Low to high quality along a curve, or at its one point."""
    cost, low, high = band.T
    if len(band) == 1:
        ax.vlines(cost * 1e3, low, high, color=colour, linewidth=2.0, alpha=0.7)
    else:
        ax.fill_between(cost * 1e3, low, high, color=colour, alpha=0.18, linewidth=0)


def _plot_policy(ax: Axes, points: Floats, style: Style, label: str, chances: Floats) -> None:
    """A line through the settings with a mark for each, or one large mark for a policy that has only one."""
    if len(np.unique(points.round(12), axis=0)) == 1:
        cost, quality = points[0]
        # above the mark of the provider that it may equal
        draw_marks(ax, [cost * 1e3], [quality], style, label)
        return
    path = _mixtures(points)
    dollars, heights = path.T * [[1e3], [1.0]]
    ax.plot(
        dollars,
        heights,
        color=style.color,
        linestyle=style.linestyle,
        linewidth=2.0,
        marker=style.marker,
        markevery=[],
        label=label,
    )
    area = _DOT * np.maximum(chances, 0.05)
    ax.scatter(points[:, 0] * 1e3, points[:, 1], s=area, color=style.color, marker=style.marker, linewidth=0, zorder=3)


def _plot_providers(
    ax: Axes, providers: Mapping[str, tuple[float, float]], chances: Mapping[str, Floats], named: Collection[str]
) -> None:
    """Single providers as hollow diamonds, with the names of those that are ``named``."""
    if not providers:
        return
    costs, qualities = np.array(list(providers.values())).T
    ax.scatter(costs * 1e3, qualities, facecolor="white", edgecolor="0.15", linewidth=1.6, marker="D", s=50, zorder=5)
    shorter = short_names(providers)
    told = [name in named for name in providers]
    names = [shorter[name] + (f", {chances[name].item():.0%}" if name in chances else "") for name in providers]
    label_points(ax, list(costs[told] * 1e3), list(qualities[told]), list(compress(names, told)))


def _finding(curves: Mapping[str, Floats], captured: Mapping[str, tuple[float, float, float]]) -> str:
    """The policy that captures most of the gap, or else the point of the highest quality.

    >>> _finding({}, {"forest": (0.25, 0.1, 0.4), "oracle": (1.0, 1.0, 1.0)})
    'forest captures +0.25 of the gap to the oracle [+0.10, +0.40]'
    >>> _finding({"forest": np.array([[0.001, 0.9], [0.0005, 0.7]])}, {})
    'forest reaches the highest quality, 0.900 for 1 USD per 1,000 requests'
    """
    learned = {name: gap for name, gap in captured.items() if name != "oracle"}
    if learned:
        best = max(learned, key=lambda name: learned[name][0])
        return "{} captures {:+.2f} of the gap to the oracle [{:+.2f}, {:+.2f}]".format(best, *learned[best])
    if not curves:
        return "Cost and quality of single providers"
    best = max(curves, key=lambda name: float(curves[name][:, 1].max()))
    cost, quality = curves[best][curves[best][:, 1].argmax()]
    return f"{best} reaches the highest quality, {quality:.3f} for {1e3 * cost:.3g} USD per 1,000 requests"
