"""A figure as SVG or PNG in memory, and where its points stand in it: what widgets show and lay marks on."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray


def _figure(ax: Axes) -> Figure:
    figure = ax.figure
    assert isinstance(figure, Figure), "the Axes belongs to a part of a figure"
    return figure


def png(ax: Axes) -> bytes:
    """The figure of ``ax`` as PNG; the same figure gives the same bytes."""
    held = io.BytesIO()
    _figure(ax).savefig(held, format="png", dpi=110, metadata={"Software": None})
    return held.getvalue()


def svg(ax: Axes) -> bytes:
    """The figure of ``ax`` as SVG, after which its layout stays as it is, so that ``places`` holds."""
    held, figure = io.BytesIO(), _figure(ax)
    with mpl.rc_context({"svg.hashsalt": "routelab"}):
        figure.savefig(held, format="svg", metadata={"Date": None})
    figure.set_layout_engine("none")
    return held.getvalue()


def places(ax: Axes, points: ArrayLike) -> NDArray[np.float64]:
    """Where data points (m, 2) stand in the figure (m, 2): shares of its width from the left, height from the top.

    >>> ax = Figure().add_axes((0.0, 0.0, 1.0, 0.5))
    >>> places(ax, [[0.0, 0.0], [0.5, 1.0]])
    array([[0. , 1. ],
           [0.5, 0.5]])
    """
    figure = _figure(ax)
    shares = figure.transFigure.inverted().transform(ax.transData.transform(np.asarray(points, dtype=np.float64)))
    return np.column_stack([shares[:, 0], 1.0 - shares[:, 1]])
