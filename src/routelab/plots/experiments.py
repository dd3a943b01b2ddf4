"""A/B tests: how what is known of a difference narrows with the units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from routelab.plots.theme import PALETTE, new_axes, theme

_OPENING = 0.1  # share of the units whose wide intervals may run off the axis


def plot_sequence(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    truth: Mapping[str, float] | None = None,
    title: str | None = None,
) -> Axes:
    """The difference of each treatment from the control over the looks, with its interval, and when it was decided.

    Args:
        frame: of :func:`routelab.abtest.analysis.analyse_over_time`; of several metrics the first is drawn.
        ax: drawn on; None makes a new figure.
        truth: true differences by treatment, where they are known, drawn as lines.
        title: the finding; None tells the first verdict and what is known at that look.
    """
    rows = frame[frame["metric"] == frame["metric"].iloc[0]]
    variants = list(dict.fromkeys(rows["variant"]))
    decided, known_truth = rows[rows["verdict"] != "continue"], dict(truth or {})
    with theme():
        ax = new_axes() if ax is None else ax
        for colour, variant in zip(sns.color_palette(PALETTE, len(variants)), variants, strict=True):
            known = rows[(rows["variant"] == variant) & np.isfinite(rows["high"])]
            ax.plot(known["units"], known["difference"], color=colour, label=variant)
            ax.fill_between(known["units"], known["low"], known["high"], color=colour, alpha=0.2, linewidth=1.0)
            if variant in known_truth:
                ax.axhline(known_truth[variant], color=colour, linestyle="-.", label=f"{variant}, the truth")
        ax.axhline(0.0, color="0.3", linewidth=1.0)
        if null := rows["null"].iloc[0]:
            ax.axhline(null, color="0.3", linewidth=1.0, linestyle=":", label="margin of the guardrail")
        if len(decided):
            _mark(ax, decided.iloc[0])
        _limit(ax, rows)
        ax.set_xlabel("units in all variants together")
        ax.set_ylabel(f"difference of {rows['metric'].iloc[0]} from the control")
        ax.set_title(title or _finding(rows, decided), loc="left")
        ax.legend(loc="lower right")
    return ax


def _mark(ax: Axes, first: pd.Series) -> None:
    """The moment of the verdict."""
    ax.axvline(first["units"], color="0.3", linewidth=1.0, linestyle="--")
    ax.annotate(
        f"{first['verdict']} at {first['units']:,} units",
        (first["units"], 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4, -14),
        textcoords="offset points",
        color="0.3",
    )


def _limit(ax: Axes, rows: pd.DataFrame) -> None:
    """Show all intervals but those of the opening, with the null within."""
    late = rows[(rows["units"] >= _OPENING * rows["units"].max()) & np.isfinite(rows["high"])]
    low = min(0.0, rows["null"].iloc[0], late["low"].min())
    high = max(0.0, rows["null"].iloc[0], late["high"].max())
    if len(late):
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _finding(rows: pd.DataFrame, decided: pd.DataFrame) -> str:
    """The first verdict and the intervals then, or the last ones where there is none."""
    look = decided if len(decided) else rows.iloc[::-1]
    told = rows[rows["units"] == look["units"].iloc[0]]
    known = ", ".join(f"{row.variant} {row.low:+.3g} to {row.high:+.3g}" for row in told.itertuples())
    verdict = decided["verdict"].iloc[0] if len(decided) else "no verdict"
    return f"{verdict} after {told['units'].iloc[0]:,} units: {rows['metric'].iloc[0]} of {known}"
