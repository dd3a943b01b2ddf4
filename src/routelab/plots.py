"""Figures: each function draws one picture on one Axes and titles it with the finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from routelab.hull import upper_hull

PALETTE = "colorblind"
Colour = tuple[float, float, float]
_MARKERS = "osD^vPX*<>"
HULL = "best mixture of fixed providers"
_DOT = 80.0  # area of a dot of probability 1, in points


@contextmanager
def theme() -> Iterator[None]:
    """The one look of all figures: white grid, colour-blind palette, embedded fonts."""
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"), sns.color_palette(PALETTE):
        yield


def new_axes(width: float = 11.0, height: float = 5.0) -> Axes:
    """Axes on a figure of its own, without a window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure.subplots()


def save_figure(ax: Axes, path: str | Path) -> Path:
    """Write the figure of ``ax`` as PNG; the same figure gives the same bytes."""
    figure = ax.get_figure()
    assert figure is not None, "the Axes belongs to no figure"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})  # type: ignore[union-attr]
    return path


def _cost_axis(ax: Axes) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda usd, _: f"{usd:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.set_xlabel("mean cost of 1,000 requests (USD, log scale)")


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
        _cost_axis(ax)
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


def plot_regret(regret: pd.DataFrame, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Cumulative regret over time, mean and 95 % interval over seeds.

    Args:
        regret: columns ``policy``, ``seed``, ``step``, ``regret`` (utility).
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    with theme():
        ax = new_axes() if ax is None else ax
        # Student's t: a bootstrap of a handful of seeds is too narrow, and takes seconds
        interval = ("se", float(stats.t.ppf(0.975, regret["seed"].nunique() - 1)))
        sns.lineplot(regret, x="step", y="regret", hue="policy", style="policy", errorbar=interval, ax=ax)
        ax.set_xlabel("requests routed")
        ax.set_ylabel("cumulative regret (utility)")
        ax.set_title(title or "Regret grows as long as a policy has something to learn", loc="left")
        ax.legend(title=None)
    return ax


def plot_shares(
    cost_weights: Sequence[float],
    shares: NDArray[np.float64],
    providers: Sequence[str],
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Share of the requests that each provider answers as the price on cost rises.

    Args:
        cost_weights: (s,) λ in quality per USD, ascending, the first may be 0.
        shares: (s, k), rows sum to 1.
        providers: names (k,).
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    with theme():
        ax = new_axes() if ax is None else ax
        steps = np.arange(len(cost_weights))
        ax.stackplot(steps, *(100.0 * shares.T), labels=providers, colors=sns.color_palette(PALETTE, len(providers)))
        ticks = np.unique(np.linspace(0, len(steps) - 1, 7).round().astype(int))
        ax.set_xticks(ticks, [_short(cost_weights[tick]) for tick in ticks])
        ax.set_xlim(0, len(steps) - 1)
        ax.set_ylim(0, 100)
        ax.set_xlabel("λ, the price on cost (quality per USD; 0, then logarithmic)")
        ax.set_ylabel("share of requests (%)")
        ax.set_title(title or "As cost weighs more, cheaper providers take over", loc="left")
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return ax


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
        importance: (p,) shares that sum to 1.
        top: bars drawn.
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    dimensions = sum(name.startswith("embedding_") for name in names)
    frame = pd.DataFrame({"feature": list(names), "importance": importance})
    frame["feature"] = frame["feature"].str.replace(
        r"^embedding_\d+$", f"text embedding ({dimensions} columns)", regex=True
    )
    grouped = frame.groupby("feature", as_index=False)[["importance"]].sum()
    leading = grouped.sort_values(["importance", "feature"], ascending=[False, True]).head(top)
    first, share = leading.iloc[0]
    with theme():
        ax = new_axes(height=0.32 * len(leading) + 1.6) if ax is None else ax
        sns.barplot(leading, x="importance", y="feature", color=sns.color_palette(PALETTE)[0], ax=ax)
        ax.bar_label(ax.containers[0], fmt="{:.1%}", padding=4, fontsize=9)  # type: ignore[arg-type]
        ax.margins(x=0.12)
        ax.set_xlabel("share of the impurity decrease")
        ax.set_ylabel("")
        ax.set_title(title or f"{first}: {share:.0%} of the trees' decrease of impurity", loc="left")
    return ax


def _short(value: float) -> str:
    """Three digits, thousands with a comma: 0.551, 19.8, 2,620.

    >>> _short(2618.3), _short(0.5512)
    ('2,620', '0.551')
    """
    return f"{float(f'{value:.3g}'):,g}"
