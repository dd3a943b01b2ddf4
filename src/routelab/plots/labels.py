"""Names beside points, out of each other's way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

_SIZE = 9.0  # points
_LETTER = 0.6  # width of a letter, in font sizes
_FAR = 20.0  # height from which a name gets a line to its point


def label_points(ax: Axes, x: Sequence[float], y: Sequence[float], names: Sequence[str]) -> None:
    """Write each name beside its point, at the free place that is nearest; a name further off gets a thin line.

    Call it when the limits and scales of ``ax`` are set.
    """
    figure = ax.get_figure(root=True)
    scale = 72.0 / figure.dpi if figure is not None else 1.0
    points = scale * np.asarray(ax.transData.transform(np.column_stack([x, y])))
    left, bottom, right, top = np.asarray(ax.get_window_extent().extents) * scale
    frame = (left, bottom, right, top)
    boxes = [(px - 5.0, py - 5.0, px + 5.0, py + 5.0) for px, py in points]
    for name, at, spot in zip(names, zip(x, y, strict=True), points, strict=True):
        places = [_box(spot, name, *place) for place in _PLACES]
        hidden = [round(_overlap(place, boxes) + _outside(place, frame)) for place in places]
        free = hidden.index(min(hidden))
        box, (dx, dy, side) = places[free], _PLACES[free]
        boxes.append(box)
        ax.annotate(
            name,
            at,
            xytext=(dx, dy),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=_SIZE,
            color=mpl.rcParams["text.color"],
            zorder=8,
            arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6} if abs(dy) > _FAR else None,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
        )


Box = tuple[float, float, float, float]
_AROUND = ((8, -8), (8, 8), (8, 0), (8, -22), (8, 22), (22, -44), (22, 44), (22, -66), (22, 66))
_PLACES = [
    (float(side * dx), float(dy), "left" if side > 0 else "right") for (dx, dy), side in product(_AROUND, (1, -1))
]


def _box(spot: np.ndarray, name: str, dx: float, dy: float, side: str) -> Box:
    """Where a name would stand, in points."""
    width = _LETTER * _SIZE * len(name)
    left = spot[0] + dx - (width if side == "right" else 0.0)
    return (left, spot[1] + dy - 0.6 * _SIZE, left + width, spot[1] + dy + 0.6 * _SIZE)


def _overlap(box: Box, others: Sequence[Box]) -> float:
    """Area that ``box`` shares with others."""
    edges = np.array(others)
    width = np.minimum(box[2], edges[:, 2]) - np.maximum(box[0], edges[:, 0])
    height = np.minimum(box[3], edges[:, 3]) - np.maximum(box[1], edges[:, 1])
    return float((width.clip(0.0) * height.clip(0.0)).sum())


def _outside(box: Box, frame: Box) -> float:
    """Area of ``box`` beyond the frame, which counts twice: it would be cut off."""
    return 2.0 * ((box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, [frame]))
