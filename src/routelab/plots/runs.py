"""Runs beside each other: many metrics at once, cost against quality, and the difference of two."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from routelab.errors import FigureError
from routelab.pareto import pareto_mask
from routelab.plots.inputs import need, short_names
from routelab.plots.labels import label_points
from routelab.plots.lines import draw_marks
from routelab.plots.theme import INK, cost_axis, entitle, legend_beside, new_axes, styles, theme

_LOWER = re.compile(r"cost|usd|latency|seconds|regret|loss|error|brier|(^|[^a-z])(ece|mae|mse)([^a-z]|$)")


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is more, by its name.

    >>> [lower_is_better(name) for name in ("cost_usd", "ece", "aiq", "hull_gap_captured", "cost_save")]
    [True, True, False, False, False]
    """
    return not metric.startswith(("cost_save", "saving")) and bool(_LOWER.search(metric.lower()))


def plot_runs(
    frame: pd.DataFrame,
    metrics: Sequence[str],
    *,
    highlight: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Runs as lines over parallel axes, one per metric and better upwards; the run that is best by the first is bold.

    Args:
        frame: a row per run, columns ``run``, ``policy`` and the metrics; intervals are drawn where there are
            ``<metric>_low`` and ``<metric>_high``. A metric that a run lacks is a gap in its line.
        metrics: columns of ``frame`` from left to right.
        highlight: the policy whose runs are drawn in colour, the others in grey.
        title: the finding; None tells the best run by the first metric.
        ax: drawn on; None makes a new figure.

    Raises:
        FigureError: no metric was named, a column is missing, or no run has policy ``highlight``.
    """
    if not metrics:
        raise FigureError("no metrics were named: give the columns to compare the runs by")
    need(frame, "run", "policy", *metrics)
    look = styles(frame["policy"].astype(str))
    if highlight is not None and highlight not in look:
        raise FigureError(f"no run has the policy {highlight!r}; there are {', '.join(look)}")
    scales = [_Scale(frame, metric) for metric in metrics]
    heights = np.column_stack([scale.height(scale.values) for scale in scales])
    best = _best(frame, metrics[0])
    with theme():
        ax = new_axes() if ax is None else ax
        named: set[str] = set()
        for place, policy in enumerate(frame["policy"].astype(str)):
            style, lit, bold = look[policy], highlight in (None, policy), place == best
            x = np.arange(len(metrics)) + 0.02 * (place % 7 - 3)  # so that intervals stand beside each other
            colour, zorder = style.color if lit else (0.75, 0.75, 0.75), 3.0 if bold else 2.5 if lit else 2.0
            ax.plot(
                x,
                heights[place],
                color=colour,
                linestyle=style.linestyle,
                marker=style.marker,
                linewidth=3.5 if bold else 1.5,
                label=f"_{policy}" if policy in named else policy,
                zorder=zorder,
            )
            lows, highs = np.array([scale.height(scale.ends[:, place]) for scale in scales]).T
            ax.vlines(x, lows, highs, color=colour, linewidth=1.0, zorder=zorder)
            named.add(policy)
        for place, scale in enumerate(scales):
            _draw_axis(ax, place, scale)
        ax.set_xticks(range(len(metrics)), [scale.name for scale in scales])
        ax.set(xlim=(-0.35, len(metrics) - 0.65), ylim=(-0.12, 1.12), yticks=[], ylabel="better upwards, own scales")
        ax.set_xlabel("metric, its range written at its ends")
        ax.grid(visible=False)
        entitle(ax, title or _best_told(frame, metrics[0], best))
        legend_beside(ax, title="policy")
    return ax


class _Scale:
    """One of the parallel axes: a metric's range over the runs, turned so that better is higher."""

    def __init__(self, frame: pd.DataFrame, metric: str) -> None:
        self.values = frame[metric].to_numpy(dtype=float)
        self.ends = frame.reindex(columns=[f"{metric}_low", f"{metric}_high"]).to_numpy(dtype=float).T
        every = np.concatenate([self.values, *self.ends])
        every = every[np.isfinite(every)]
        begin, end = (every.min(), every.max()) if len(every) else (0.0, 0.0)
        self.worst, self.best = (end, begin) if lower_is_better(metric) else (begin, end)
        self.name = f"{metric}\n(lower is better)" if lower_is_better(metric) else metric

    def height(self, values: np.ndarray) -> np.ndarray:
        """Values from the worst, 0, to the best, 1; in the middle where all are equal."""
        if self.worst == self.best:
            return np.where(np.isnan(values), np.nan, 0.5)
        return np.asarray((values - self.worst) / (self.best - self.worst))


def _draw_axis(ax: Axes, place: int, scale: _Scale) -> None:
    """A vertical line with the range of its metric at its ends."""
    ax.axvline(place, 0.1, 0.9, color="0.6", linewidth=1.0, zorder=1)
    ends = [(0.5, scale.best)] if scale.worst == scale.best else [(0.0, scale.worst), (1.0, scale.best)]
    for height, value in ends:
        low = height < 1.0
        ax.annotate(
            f"{value:.4g}",
            (place, height),
            xytext=(0, -7 if low else 7),
            textcoords="offset points",
            ha="center",
            va="top" if low else "bottom",
            fontsize=9,
            color=INK,
        )


def _best(frame: pd.DataFrame, metric: str) -> int | None:
    """Row of the run that is best by ``metric``, None where no run has it."""
    values = frame[metric].to_numpy(dtype=float)
    if np.isnan(values).all():
        return None
    return int(np.nanargmin(values) if lower_is_better(metric) else np.nanargmax(values))


def _best_told(frame: pd.DataFrame, metric: str, best: int | None) -> str:
    """The best run by name, with its interval where it has one, and who ties with it."""
    if best is None:
        return f"No run has a {metric}"
    row = frame.iloc[best]
    tied = int((frame[metric] == row[metric]).sum()) - 1
    interval = ""
    if np.isfinite(row.get(f"{metric}_low", np.nan)):
        interval = f" [{row[f'{metric}_low']:.4g}, {row[f'{metric}_high']:.4g}]"
    others = f", and so have {tied} others" if tied else f" of {len(frame)} runs"
    order = "lowest" if lower_is_better(metric) else "highest"
    return f"{short_names([row['run']])[str(row['run'])]} has the {order} {metric}{others}: {row[metric]:.4g}{interval}"


def plot_run_frontier(
    frame: pd.DataFrame,
    *,
    cost: str = "cost_usd",
    quality: str = "quality",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Cost and quality of runs; those that no other run beats in both are filled and joined.

    Args:
        frame: a row per run, columns ``run``, ``policy``, ``cost`` and ``quality``; bars are drawn where there are
            ``…_low`` and ``…_high`` of either. Runs that lack one of both are left out.
        cost: column of USD per request.
        quality: column in [0, 1].
        title: the finding; None counts the efficient runs and tells the one of the highest quality.
        ax: drawn on; None makes a new figure.
    """
    need(frame, "run", "policy", cost, quality)
    known = frame.dropna(subset=[cost, quality]).reset_index(drop=True)
    need(known, cost)
    x, y = 1e3 * known[cost].to_numpy(dtype=float), known[quality].to_numpy(dtype=float)
    efficient = pareto_mask(np.column_stack([x, y]))
    order = np.flatnonzero(efficient)[np.argsort(x[efficient], kind="stable")]
    with theme():
        ax = new_axes() if ax is None else ax
        ax.plot(x[order], y[order], color="0.45", linestyle="--", linewidth=1.2, label="efficient runs", zorder=1)
        for policy, style in styles(known["policy"].astype(str)).items():
            own = (known["policy"].astype(str) == policy).to_numpy()
            _draw_bars(ax, known[own], cost, quality, style.color)
            for filled, label in ((True, policy), (False, "_dominated")):
                rows = own & (efficient == filled)
                draw_marks(ax, x[rows], y[rows], style, label, filled=filled)
        ax.plot([], [], "o", color="0.35", markerfacecolor="white", label="hollow: another run is\ncheaper and better")
        ax.margins(0.1, 0.12)
        ax.autoscale_view()
        cost_axis(ax)
        names = list(map(str, known["run"]))
        shorter = short_names(names)
        label_points(ax, list(x), list(y), [shorter[name] for name in names])
        ax.set_ylabel(quality.replace("_", " "))
        top = int(y.argmax())
        told = f"{efficient.sum()} of {len(known)} runs are efficient; {shorter[names[top]]} has the highest quality"
        entitle(ax, title or f"{told}, {y[top]:.3f} for {x[top]:.3g} USD per 1,000 requests")
        legend_beside(ax, title="policy")
    return ax


def _draw_bars(ax: Axes, rows: pd.DataFrame, cost: str, quality: str, colour: tuple[float, float, float]) -> None:
    """Intervals of cost and of quality where there are any."""
    if {f"{quality}_low", f"{quality}_high"} <= set(rows):
        ax.vlines(1e3 * rows[cost], rows[f"{quality}_low"], rows[f"{quality}_high"], color=colour, linewidth=1.2)
    if {f"{cost}_low", f"{cost}_high"} <= set(rows):
        ax.hlines(rows[quality], 1e3 * rows[f"{cost}_low"], 1e3 * rows[f"{cost}_high"], color=colour, linewidth=1.2)
