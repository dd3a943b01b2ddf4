"""Off-policy estimates side by side: how far do the estimators agree, and how surely."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from routelab.plots.inputs import need, short_names
from routelab.plots.lines import draw_marks
from routelab.plots.theme import entitle, legend_beside, new_axes, styles, theme

_UNITS = {
    "quality": "mean quality",
    "cost": "mean cost (USD per request)",
    "latency": "mean latency (s)",
    "utility": "mean utility",
}


def plot_estimators(
    frame: pd.DataFrame,
    *,
    metric: str = "quality",
    truth: Mapping[str, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Estimates of each policy, one mark per estimator, hollow where few decisions carry them; bars are intervals.

    Args:
        frame: of ``evaluation.ope.evaluate``; where low and high are NaN there is no bar, and the legend says so.
        metric: the one of its metrics that is drawn.
        truth: the true mean of policies where it is known, drawn as a line.
        title: the finding; None says which policies the estimators put first, or that they do not agree.
        ax: drawn on; None makes a new figure.
    """
    need(frame, "policy", "metric", "estimator", "value", "low", "high", "warning")
    held = frame[frame["metric"] == metric]
    need(held, "value")
    policies = list(held["policy"].unique())
    look, known = styles(held["estimator"]), [name for name in policies if name in (truth or {})]
    with theme():
        ax = new_axes(height=1.4 + 0.3 * len(policies) + 0.07 * len(held)) if ax is None else ax
        for place, (name, style) in enumerate(look.items()):
            rows = held[held["estimator"] == name].set_index("policy").reindex(policies)
            y = np.arange(len(policies)) + (place - (len(look) - 1) / 2.0) * 0.8 / len(look)
            ax.hlines(y, rows["low"], rows["high"], color=style.color, linewidth=2)
            sure = np.where(rows["warning"].isin(("", np.nan)), 1.0, np.nan)  # NaN as read from a CSV
            draw_marks(ax, rows["value"], y, style, "_doubtful", filled=False, size=6.0)
            label = name if rows["low"].notna().any() else f"{name}, no interval"
            draw_marks(ax, rows["value"] * sure, y, style, label, size=6.0)
        for told, policy in enumerate(known):
            at, label = policies.index(policy), "_truth" if told else "truth"
            ax.vlines((truth or {})[policy], at - 0.45, at + 0.45, color="0.2", linestyle="--", label=label)
        if not held["warning"].isin(("", np.nan)).all():
            ax.plot([], [], "o", color="0.35", markerfacecolor="white", label="hollow: beware,\nsee its warning")
        ax.set_yticks(range(len(policies)), list(short_names(policies).values()))
        ax.set_ylim(len(policies) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(f"{_UNITS[metric]}, estimated from the log, with 95 % intervals")
        ax.set_ylabel("")
        entitle(ax, title or _finding(held, metric))
        legend_beside(ax)
    return ax


def _finding(held: pd.DataFrame, metric: str) -> str:
    """Which policies come first by how many estimators; those that tie there come first together.

    >>> rows = [("a", "ips", 0.5), ("b", "ips", 0.6), ("a", "dr", 0.5), ("b", "dr", 0.4)]
    >>> _finding(pd.DataFrame(rows, columns=["policy", "estimator", "value"]), "quality")
    'a comes first in quality by 1 of 2 estimators'
    >>> rows = [("a", "ips", 0.5), ("b", "ips", 0.5), ("c", "ips", 0.4)]
    >>> _finding(pd.DataFrame(rows, columns=["policy", "estimator", "value"]), "quality")
    'a and b tie for the first place in quality by all 1 estimators'
    """
    values = held.pivot_table("value", index="estimator", columns="policy", dropna=False).reindex(
        columns=held["policy"].unique()
    )
    values = values.dropna(how="all")
    best = values.min(axis=1) if metric in ("cost", "latency") else values.max(axis=1)
    first = pd.DataFrame(np.isclose(values, best.to_numpy()[:, None], rtol=1e-9, atol=0.0), columns=values.columns)
    together = [tuple(row.index[row]) for _, row in first.iterrows()]
    winners = max(dict.fromkeys(together), key=together.count)
    agreed = together.count(winners)
    of = f"all {agreed}" if agreed == len(together) else f"{agreed} of {len(together)}"
    names = list(short_names(winners).values())
    if len(names) == 1:
        return f"{names[0]} comes first in {metric} by {of} estimators"
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed} tie for the first place in {metric} by {of} estimators"


def plot_ranking(
    ranked: pd.DataFrame,
    *,
    truth: Mapping[str, float] | None = None,
    unit: str = "mean utility",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Policies in the order of their values on a log, with the ranks that they may have.

    Args:
        ranked: of ``evaluation.ope.rank``: columns ``policy``, ``value``, ``low``, ``high``, ``rank_low``,
            ``rank_high``; the intervals hold all at once.
        truth: the true means of policies where they are known, drawn as bars.
        unit: what the values are.
        title: the finding; None tells how sure the first place is.
        ax: drawn on; None makes a new figure.
    """
    need(ranked, "policy", "value", "low", "high", "rank_low", "rank_high")
    place = np.arange(len(ranked))
    with theme():
        ax = new_axes(height=1.4 + 0.4 * len(ranked)) if ax is None else ax
        ax.hlines(place, ranked["low"], ranked["high"], color="C0", linewidth=2)
        ax.plot(ranked["value"], place, "o", color="C0", label="estimate, interval for all at once")
        if truth:
            true = ranked["policy"].map(dict(truth))
            ax.scatter(true, place, marker="|", s=300, linewidth=2, color="0.2", zorder=3, label="truth")
        ax.set_yticks(place, list(short_names(ranked["policy"]).values()))
        ax.set_ylim(len(ranked) - 0.5, -0.5)
        for at, low, high in zip(place, ranked["rank_low"], ranked["rank_high"], strict=True):
            told = f"rank {low:.0f}" if low == high else f"rank {low:.0f} to {high:.0f}"
            ax.annotate(told, (1.01, at), xycoords=("axes fraction", "data"), va="center")
        ax.grid(visible=False, axis="y")
        ax.set_xlabel(unit)
        ax.set_ylabel("")
        first = ranked.iloc[0]
        sure = "first, 95 % sure" if first["rank_high"] == 1 else f"first, or as low as rank {first['rank_high']:.0f}"
        entitle(ax, title or f"{first['policy']} is {sure}, with {first['value']:.3f}")
        ax.legend(loc="best", fontsize=9)
    return ax
