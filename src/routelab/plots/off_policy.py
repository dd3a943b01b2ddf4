"""Off-policy estimates side by side: how far do the estimators agree, and how surely."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from routelab.plots.theme import PALETTE, new_axes, theme

_UNITS = {
    "quality": "mean quality",
    "cost": "mean cost (USD per request)",
    "latency": "mean latency (s)",
    "utility": "mean utility",
}
_MARKS = "osD^vPX*"


def plot_estimators(
    frame: pd.DataFrame,
    *,
    metric: str = "quality",
    truth: dict[str, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Estimates of each policy, one mark per estimator, hollow where few decisions carry them; bars are intervals.

    Args:
        frame: of ``evaluation.ope.evaluate``; where low and high are NaN there is no bar.
        metric: the one of its metrics that is drawn.
        truth: the true mean of policies where it is known, drawn as a line.
        title: the finding; None says which policy the estimators agree on, or that they do not.
        ax: drawn on; None makes a new figure.
    """
    held = frame[frame["metric"] == metric]
    policies, estimators = list(held["policy"].unique()), list(held["estimator"].unique())
    with theme():
        ax = new_axes(height=1.8 + 0.5 * len(policies) + 0.09 * len(held)) if ax is None else ax
        colours = sns.color_palette(PALETTE, len(estimators))
        for place, name in enumerate(estimators):
            rows = held[held["estimator"] == name].set_index("policy").reindex(policies)
            y = np.arange(len(policies)) + (place - (len(estimators) - 1) / 2.0) * 0.8 / len(estimators)
            ax.hlines(y, rows["low"], rows["high"], color=colours[place], linewidth=2)
            sure = np.where(rows["warning"] == "", 1.0, np.nan)
            mark = _MARKS[place % len(_MARKS)]
            ax.plot(rows["value"], y, mark, color=colours[place], markerfacecolor="white", label="_doubtful")
            ax.plot(rows["value"] * sure, y, mark, color=colours[place], label=name)
        for policy, value in (truth or {}).items():
            at = policies.index(policy)
            ax.vlines(value, at - 0.45, at + 0.45, color="0.35", linestyle="--", label="truth" if at == 0 else "_truth")
        if (held["warning"] != "").any():
            ax.plot([], [], "o", color="0.35", markerfacecolor="white", label="hollow: beware,\nsee its warning")
        ax.set_yticks(range(len(policies)), policies)
        ax.set_ylim(len(policies) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(f"{_UNITS[metric]}, estimated from the log, with intervals")
        ax.set_title(title or _finding(held, metric), loc="left")
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return ax


def _finding(held: pd.DataFrame, metric: str) -> str:
    """Which policy comes first by each estimator.

    >>> rows = [("a", "ips", 0.5), ("b", "ips", 0.6), ("a", "dr", 0.5), ("b", "dr", 0.4)]
    >>> _finding(pd.DataFrame(rows, columns=["policy", "estimator", "value"]), "quality")
    'a comes first in quality by 1 of 2 estimators'
    """
    held = held.dropna(subset=["value"])
    best = held.groupby("estimator")["value"]
    first = held.loc[best.idxmin() if metric in ("cost", "latency") else best.idxmax(), "policy"]
    winner = str(first.value_counts(sort=False).idxmax())
    agreed = int((first == winner).sum())
    of = f"all {agreed}" if agreed == len(first) else f"{agreed} of {len(first)}"
    return f"{winner} comes first in {metric} by {of} estimators"
