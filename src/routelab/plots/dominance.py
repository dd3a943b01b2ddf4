"""Frontier, hull and hypervolume of points in the plane."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from routelab.hull import upper_hull
from routelab.pareto import hypervolume, pareto_mask
from routelab.plots.theme import entitle, legend_beside, new_axes, styles, theme

Floats = NDArray[np.float64]


def plot_dominance(
    cost: Floats,
    quality: Floats,
    reference: tuple[float, float],
    *,
    intervals: Floats | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Which of n points are dominated, on the frontier, on its hull; and the area that they dominate.

    Args:
        cost: (n,) in any unit.
        quality: (n,).
        reference: the cost and quality that bound the hypervolume.
        intervals: (n, 2) low and high quality; None for points that are known exactly.
        title: the finding; None counts the points.
        ax: drawn on; None makes a new figure.
    """
    points = np.column_stack([cost, quality])
    front, hull = pareto_mask(points), upper_hull(cost, quality)
    order = np.flatnonzero(front)[np.argsort(cost[front], kind="stable")]
    area = hypervolume(points, reference=list(reference))
    with theme():
        ax = new_axes() if ax is None else ax
        look = list(styles(["frontier", "hull"]).values())
        steps = np.append(cost[order], reference[0]), np.append(quality[order], quality[order].max())
        ax.fill_between(*steps, reference[1], step="post", alpha=0.15, label=f"hypervolume {area:.3g}")
        if intervals is not None:
            ax.vlines(cost, *intervals.T, color="0.6", linewidth=1.0)
        told = f"frontier: {front.sum()} of {len(cost)} points"
        ax.step(*steps, where="post", marker="o", markevery=list(range(len(order))), color=look[0].color, label=told)
        mixed = f"hull: {len(hull)} of them"
        ax.plot(cost[hull], quality[hull], linestyle="--", marker="s", color=look[1].color, label=mixed)
        ax.scatter(cost[~front], quality[~front], color="0.5", marker="x", s=25, label="dominated")
        ax.set_xlabel("cost (any unit)")
        ax.set_ylabel("quality")
        entitle(ax, title or f"{front.sum()} of {len(cost)} points are on the frontier, {len(hull)} on its hull")
        legend_beside(ax)
    return ax
