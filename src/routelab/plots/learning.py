"""How policies learn online: regret, rewards within budgets, and reactions to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from scipy import stats

from routelab.plots.theme import PALETTE, cost_axis, new_axes, theme


def plot_regret(regret: pd.DataFrame, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Cumulative regret over time, mean and 95 % interval over seeds.

    Args:
        regret: columns ``policy``, ``seed``, ``step``, ``regret`` (utility).
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    with theme():
        ax = new_axes() if ax is None else ax
        _lines_over_seeds(regret, "regret", ax)
        ax.set_xlabel("requests routed")
        ax.set_ylabel("cumulative regret (utility)")
        ax.set_title(title or "Regret grows as long as a policy has something to learn", loc="left")
        ax.legend(title=None)
    return ax


def _lines_over_seeds(frame: pd.DataFrame, y: str, ax: Axes) -> None:
    """A line per policy over ``step``, with a 95 % interval of Student's t.

    A bootstrap of a handful of seeds is too narrow, and takes seconds.
    """
    interval = ("se", float(stats.t.ppf(0.975, frame["seed"].nunique() - 1)))
    sns.lineplot(frame, x="step", y=y, hue="policy", style="policy", errorbar=interval, ax=ax)


def plot_budgets(
    rewards: pd.DataFrame,
    *,
    reference: Mapping[str, Mapping[float, float]] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean reward that policies reach within budgets, with 95 % intervals over seeds.

    Args:
        rewards: columns ``policy``, ``budget`` (USD per request), ``mean``, ``low``, ``high``; NaN where one seed alone
            gives no interval.
        reference: name → budget → mean reward, drawn in grey: the best mixture of providers, published figures.
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    with theme():
        ax = new_axes() if ax is None else ax
        for (name, reached), dash in zip((reference or {}).items(), ("--", ":", "-."), strict=False):
            budgets = np.array(sorted(reached))
            marks = [reached[budget] for budget in budgets]
            ax.plot(budgets * 1e3, marks, dash, marker=".", color="0.45", label=name)
        colours = sns.color_palette(PALETTE, rewards["policy"].nunique())
        for (policy, rows), colour, marker in zip(
            rewards.groupby("policy", sort=False), colours, "osD^vPX", strict=False
        ):
            x = rows["budget"] * 1e3
            ax.plot(x, rows["mean"], marker=marker, color=colour, label=policy)
            ax.fill_between(x, rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
        cost_axis(ax)
        ax.set_xlabel("budget for 1,000 requests (USD, log scale)")
        ax.set_ylabel("mean reward, learning online")
        ax.set_title(title or "Reward within a budget", loc="left")
        ax.legend(title=None, loc="lower right")
    return ax


def plot_adaptation(
    rewards: pd.DataFrame,
    phases: Sequence[tuple[str, int, int]],
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Recent mean reward step by step through the phases of a scenario, with 95 % intervals over seeds.

    Args:
        rewards: columns ``policy``, ``seed``, ``step``, ``reward`` (mean of the last requests).
        phases: name, first step, and the step after the last.
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    with theme():
        ax = new_axes() if ax is None else ax
        _lines_over_seeds(rewards, "reward", ax)
        for place, (name, begin, stop) in enumerate(phases):
            if place % 2:
                ax.axvspan(begin, stop, color="0.9", zorder=0)
            ax.annotate(
                name,
                ((begin + stop) / 2.0, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, -14),
                textcoords="offset points",
                ha="center",
                color="0.35",
            )
        ax.set_xlabel("requests since scoring began")
        ax.set_ylabel("mean reward of the last 50 requests")
        ax.set_title(title or "Policies react to change", loc="left")
        ax.legend(title=None, loc="lower right")
    return ax
