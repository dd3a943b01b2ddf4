"""A/B tests: how what is known of a difference narrows with the units, and how often a test is fooled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from routelab.plots.inputs import need
from routelab.plots.lines import draw_line, proportion_interval
from routelab.plots.theme import entitle, legend_beside, new_axes, styles, theme

_OPENING = 0.1  # share of the units whose wide intervals may run off the axis


def plot_sequence(
    frame: pd.DataFrame,
    *,
    truth: Mapping[str, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The difference of each treatment from the control over the looks, with its interval, and when it was decided.

    Args:
        frame: of :func:`routelab.abtest.analysis.analyse_over_time`; of several metrics the first is drawn.
        truth: true differences by treatment, where they are known, drawn as lines.
        title: the finding; None tells the first verdict and what is known at that look.
        ax: drawn on; None makes a new figure.
    """
    need(frame, "metric", "variant", "units", "difference", "low", "high", "null", "verdict")
    rows = frame[frame["metric"] == frame["metric"].iloc[0]]
    variants = list(dict.fromkeys(rows["variant"]))
    decided, known_truth = rows[rows["verdict"] != "continue"], dict(truth or {})
    with theme():
        ax = new_axes() if ax is None else ax
        for place, (variant, style) in enumerate(styles(variants).items()):
            known = rows[(rows["variant"] == variant) & np.isfinite(rows["high"])]
            band = known["low"], known["high"]
            draw_line(ax, known["units"], known["difference"], style, variant, band, 2 * place)
            for end in band:  # bands of treatments lie on each other
                ax.plot(known["units"], end, color=style.color, linestyle=style.linestyle, linewidth=0.8)
            if variant in known_truth:
                dots = (0, (1, 1 + 2 * place))
                ax.axhline(known_truth[variant], color=style.color, linestyle=dots, label=f"{variant}, the truth")
        ax.axhline(0.0, color="0.3", linewidth=1.0)
        if null := rows["null"].iloc[0]:
            ax.axhline(null, color="0.3", linewidth=1.0, linestyle=":", label="margin of the guardrail")
        if len(decided):
            _mark(ax, decided.iloc[0])
        _limit(ax, rows)
        ax.set_xlabel("units in all variants together")
        ax.set_ylabel(f"difference of {rows['metric'].iloc[0]} from the control")
        entitle(ax, title or _finding(rows, decided))
        legend_beside(ax)
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
    known = ", ".join(f"{row.variant} {row.low:+.2g} to {row.high:+.2g}" for row in told.itertuples())
    verdict = decided["verdict"].iloc[0] if len(decided) else "no verdict"
    return f"{verdict} after {told['units'].iloc[0]:,} units: {rows['metric'].iloc[0]} of {known}"


def plot_false_alarms(
    alarms: pd.DataFrame, *, runs: int, alpha: float = 0.05, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """How often tests find a difference where there is none, by how often one looks, with 95 % intervals.

    Args:
        alarms: columns ``method``, ``looks``, ``found`` (share of the tests).
        runs: simulated tests behind each share.
        alpha: the share that the methods promise.
        title: the finding; None tells the shares at the most looks.
        ax: drawn on; None makes a new figure.
    """
    need(alarms, "method", "looks", "found")
    with theme():
        ax = new_axes() if ax is None else ax
        for name, style in styles(alarms["method"]).items():
            rows = alarms[alarms["method"] == name]
            draw_line(ax, rows["looks"], rows["found"], style, name, proportion_interval(rows["found"], runs))
        ax.axhline(alpha, color="0.45", linestyle=(0, (1, 1)), label=f"{alpha:.0%}, what all promise")
        looks = sorted(alarms["looks"].unique())
        ax.set(xlabel="looks at the data (log scale)", ylabel="share of tests that find a difference", xscale="log")
        ax.set_xticks(looks, [f"{count:g}" for count in looks])
        ax.minorticks_off()
        ax.set_ylim(0.0, None)
        most = alarms[alarms["looks"] == alarms["looks"].max()]
        told = ", ".join(f"{name} {share:.1%}" for name, share in zip(most["method"], most["found"], strict=True))
        entitle(ax, title or f"Two arms alike, {looks[-1]:g} looks: a difference is found by {told} of the tests")
        legend_beside(ax, by_height=True)
    return ax
