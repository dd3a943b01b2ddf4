"""Shares: of requests by provider, and of a forest's decisions by feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from routelab.plots.theme import PALETTE, new_axes, theme


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
