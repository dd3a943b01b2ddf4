"""Where a log puts policies in the cost–quality plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from routelab.plots.frontier import plot_frontier
from routelab.plots.theme import legend_beside, styles, theme


class _Place(Protocol):
    """An estimated mean cost and quality: ``routelab.evaluation.ope.Place``."""

    @property
    def cost(self) -> float: ...
    @property
    def quality(self) -> float: ...
    def ellipse(self) -> NDArray[np.float64]: ...


def plot_places(
    places: Mapping[str, _Place],
    providers: Mapping[str, tuple[float, float]],
    *,
    truth: Mapping[str, tuple[float, float]] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Estimated cost and quality of policies, each in its 95 % region, beside single providers.

    Args:
        places: of ``evaluation.ope.places``.
        providers: provider → (mean cost in USD, mean quality).
        truth: policy → true (mean cost in USD, mean quality), drawn as rings.
        title: the finding; None tells the policy of the highest quality.
        ax: drawn on; None makes a new figure.
    """
    points = {name: np.array([[place.cost, place.quality]]) for name, place in places.items()}
    ax = plot_frontier(points, providers, title=title, ax=ax)
    with theme():
        for name, style in styles(places).items():
            usd, quality = places[name].ellipse().T
            ax.fill(1e3 * usd, quality, color=style.color, alpha=0.2)
            ax.plot(1e3 * usd, quality, color=style.color, linestyle=style.linestyle, linewidth=1.0)
        for told, (usd, quality) in enumerate((truth or {}).values()):
            label = "_truth" if told else "the truth"
            ax.scatter(1e3 * usd, quality, s=190, facecolor="none", edgecolor="black", zorder=7, label=label)
        legend_beside(ax)
    return ax
