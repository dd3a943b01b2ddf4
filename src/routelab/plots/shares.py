"""Shares: of requests by provider, and of a forest's decisions by feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import stats

from routelab.plots.inputs import short_names
from routelab.plots.lines import proportion_interval
from routelab.plots.theme import INK, PALETTE, entitle, legend_beside, new_axes, theme

_HATCHES = ("", "//", "..", "\\\\", "xx", "--", "oo", "||", "++", "**")
_WIDE = 12.0  # percent of the requests that a name in its own area asks for


def plot_shares(
    cost_weights: Sequence[float],
    shares: NDArray[np.float64],
    providers: Sequence[str],
    *,
    n: int | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Share of the requests that each provider answers as the price on cost rises.

    Args:
        cost_weights: (s,) λ in quality per USD, ascending, the first may be 0.
        shares: (s, k), rows sum to 1.
        providers: names (k,).
        n: requests that the shares are of; each border gets bars, its 95 % intervals. None draws none.
        title: the finding; None tells who leads at the first λ and at the last.
        ax: drawn on; None makes a new figure.
    """
    names = list(short_names(providers).values())
    with theme():
        ax = new_axes() if ax is None else ax
        steps = np.arange(len(cost_weights))
        look = {"colors": sns.color_palette(PALETTE, len(names)), "edgecolor": "white", "linewidth": 0.8}
        areas = ax.stackplot(steps, *(100.0 * shares.T), labels=names, **look)
        for place, area in enumerate(areas):
            area.set_hatch(_HATCHES[(place + place // 10) % 10])  # another one when colours begin anew
        if n is not None:
            apart = max(1, len(steps) // 8)
            for place, border in enumerate(shares.cumsum(axis=1).T[:-1].clip(0.0, 1.0)):
                at = steps[place % apart :: apart]  # not beside those of the border below
                low, high = proportion_interval(border[at], n)
                ax.vlines(at, 100.0 * low, 100.0 * high, color="black", linewidth=1.5)
        _name_areas(ax, shares, names)
        ticks = np.unique(np.linspace(0, len(steps) - 1, 7).round().astype(int))
        ax.set_xticks(ticks, [digits(cost_weights[tick]) for tick in ticks])
        ax.set_xlim(0, max(len(steps) - 1, 1))
        ax.set_ylim(0, 100)
        ax.set_xlabel("λ, the price on cost (quality per USD; 0, then logarithmic)")
        ax.set_ylabel("share of requests (%)")
        entitle(ax, title or _leaders(cost_weights, shares, names))
        legend_beside(ax, upwards=True)
    return ax


def _name_areas(ax: Axes, shares: NDArray[np.float64], names: Sequence[str]) -> None:
    """Write the name of a provider where its area is highest, if it fits there."""
    bottom = shares.cumsum(axis=1) - shares
    for place, name in enumerate(names):
        step = int(shares[:, place].argmax())
        if 100.0 * shares[step, place] >= _WIDE and 0.15 < step / max(len(shares) - 1, 1) < 0.85:
            y = 100.0 * (bottom[step, place] + shares[step, place] / 2.0)
            box = {"boxstyle": "square,pad=0.2", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
            ax.text(step, y, name, ha="center", va="center", fontsize=9, bbox=box)


def _leaders(cost_weights: Sequence[float], shares: NDArray[np.float64], names: Sequence[str]) -> str:
    """Who answers most at both ends.

    >>> _leaders([0.0, 10.0], np.array([[0.2, 0.8], [1.0, 0.0]]), ["small", "large"])
    'large answers 80% at λ = 0, small 100% at λ = 10'
    """
    first, last = shares[0].argmax(), shares[-1].argmax()
    begin = f"{names[first]} answers {shares[0, first]:.0%} at λ = {digits(cost_weights[0])}"
    return f"{begin}, {names[last]} {shares[-1, last]:.0%} at λ = {digits(cost_weights[-1])}"


def plot_importance(
    names: Sequence[str],
    importance: NDArray[np.float64],
    *,
    top: int = 10,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean decrease of impurity of the leading features; the embedding's dimensions count as one.

    Args:
        names: (p,) columns of the featurizer.
        importance: (p,) shares that sum to 1; or (t, p), those of each tree, whose mean gets its 95 % interval.
        top: bars drawn.
        title: the finding; None tells the first feature.
        ax: drawn on; None makes a new figure.
    """
    dimensions = sum(name.startswith("embedding_") for name in names)
    told = pd.Series(list(names)).str.replace(r"^embedding_\d+$", f"text embedding ({dimensions} columns)", regex=True)
    trees = pd.DataFrame(np.atleast_2d(importance).T).groupby(told.to_numpy()).sum()
    grouped = pd.DataFrame({"mean": trees.mean(axis=1), "error": trees.sem(axis=1)}).rename_axis("feature")
    leading = grouped.reset_index().sort_values(["mean", "feature"], ascending=[False, True]).head(top)
    half = stats.t.ppf(0.975, max(trees.shape[1] - 1, 1)) * leading["error"]
    place = np.arange(len(leading))
    with theme():
        ax = new_axes(height=0.32 * len(leading) + 1.6) if ax is None else ax
        ax.barh(place, leading["mean"], color=sns.color_palette(PALETTE)[0], xerr=half.fillna(0.0), ecolor=INK)
        for at, mean, error in zip(place, leading["mean"], half.fillna(0.0), strict=True):
            spot = (mean + error, at)
            ax.annotate(f"{mean:.1%}", spot, xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
        ax.set_yticks(place, list(short_names(leading["feature"]).values()))
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.margins(x=0.12)
        ax.set_xlabel("share of the impurity decrease")
        ax.set_ylabel("")
        first, share = leading.iloc[0][["feature", "mean"]]
        entitle(ax, title or f"{first}: {share:.0%} of the trees' decrease of impurity")
    return ax


def digits(value: float) -> str:
    """Three digits, thousands with a comma.

    >>> digits(2618.3), digits(0.05512)
    ('2,620', '0.0551')
    """
    return f"{float(f'{value:.3g}'):,g}"
