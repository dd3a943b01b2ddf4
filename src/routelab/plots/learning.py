"""How policies learn online: regret, rewards within budgets, and reactions to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from routelab.plots.inputs import need
from routelab.plots.lines import draw_line, draw_means
from routelab.plots.theme import cost_axis, entitle, legend_beside, new_axes, styles, theme


def plot_regret(regret: pd.DataFrame, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Cumulative regret over time, mean and 95 % interval over seeds.

    Args:
        regret: columns ``policy``, ``seed``, ``step``, ``regret`` (utility).
        title: the finding; None tells the policy of the least regret.
        ax: drawn on; None makes a new figure.
    """
    need(regret, "policy", "seed", "step", "regret")
    with theme():
        ax = new_axes() if ax is None else ax
        told = draw_means(ax, regret, x="step", y="regret", by="policy")
        ax.set_xlabel("requests routed")
        ax.set_ylabel("cumulative regret (utility)")
        entitle(ax, title or _least(told))
        legend_beside(ax, by_height=True)
    return ax


def _least(told: pd.DataFrame) -> str:
    """Who regrets least at the end, and how much less than who regrets most."""
    last = told.groupby("policy", sort=False)["mean"].last().sort_values(kind="stable")
    best, worst = last.index[0], last.index[-1]
    if len(last) == 1 or last[worst] <= 0.0:
        return f"{best} ends with a regret of {last[best]:.3g}"
    return f"{best} ends with a regret of {last[best]:.3g}, {1.0 - last[best] / last[worst]:.0%} less than {worst}"


def plot_best_arm(
    chosen: pd.DataFrame,
    *,
    window: int = 50,
    limits: Mapping[str, float] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Share of the requests that policies send to the best fixed provider as they learn, with 95 % intervals.

    Args:
        chosen: columns ``policy``, ``step`` (from 1), ``best`` (whether the best provider was chosen); a row per
            request and seed. The interval is over the rows of a window.
        window: requests.
        limits: name → share, drawn in grey: what exploration leaves.
        title: the finding; None tells who chooses it most in the last window.
        ax: drawn on; None makes a new figure.
    """
    need(chosen, "policy", "step", "best")
    rows = chosen.assign(window=(chosen["step"] - 1) // window * window + window, best=chosen["best"].astype(float))
    with theme():
        ax = new_axes() if ax is None else ax
        told = draw_means(ax, rows, x="window", y="best", by="policy", shares=True)
        for name, share in (limits or {}).items():
            ax.axhline(share, color="0.45", linestyle=(0, (1, 1)), label=name)
        ax.set(
            xlabel=f"requests routed (windows of {window})", ylabel="share sent to the best provider", ylim=(0, 1.02)
        )
        last = told.groupby("policy", sort=False)["mean"].last()
        entitle(ax, title or f"In the end {last.idxmax()} asks the best provider {last.max():.0%} of the time")
        legend_beside(ax, by_height=True)
    return ax


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
        title: the finding; None counts the budgets within which a policy earns most.
        ax: drawn on; None makes a new figure.
    """
    need(rewards, "policy", "budget", "mean", "low", "high")
    with theme():
        ax = new_axes() if ax is None else ax
        for (name, reached), dash in zip((reference or {}).items(), ("--", ":", "-.") * 9, strict=False):
            budgets = np.array(sorted(reached))
            marks = [reached[budget] for budget in budgets]
            ax.plot(budgets * 1e3, marks, linestyle=dash, marker=".", color="0.45", label=name)
        look = styles(rewards["policy"])
        for policy, rows in rewards.groupby("policy", sort=False):
            x = rows["budget"] * 1e3
            draw_line(ax, x, rows["mean"], look[str(policy)], str(policy), (rows["low"], rows["high"]))
        cost_axis(ax)
        ax.set_xlabel(ax.get_xlabel().replace("mean cost of", "budget for"))
        ax.set_ylabel("mean reward, learning online")
        entitle(ax, title or _richest(rewards))
        legend_beside(ax, by_height=True)
    return ax


def _richest(rewards: pd.DataFrame) -> str:
    """Who earns most within most budgets."""
    first = rewards.loc[rewards.groupby("budget")["mean"].idxmax(), "policy"].value_counts(sort=False)
    return f"{first.idxmax()} earns most within {first.max()} of {rewards['budget'].nunique()} budgets"


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
        title: the finding; None tells who earns most over all phases.
        ax: drawn on; None makes a new figure.
    """
    need(rewards, "policy", "seed", "step", "reward")
    with theme():
        ax = new_axes() if ax is None else ax
        draw_means(ax, rewards, x="step", y="reward", by="policy")
        ax.margins(y=0.12)  # room for the names of the phases
        for place, (name, begin, stop) in enumerate(phases):
            if place % 2:
                ax.axvspan(begin, stop, color="0.92", zorder=0)
            ax.annotate(
                name,
                ((begin + stop) / 2.0, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, -14),
                textcoords="offset points",
                ha="center",
                color="0.3",
            )
        ax.set_xlabel("requests since scoring began")
        ax.set_ylabel("mean reward of the last 50 requests")
        mean = rewards.groupby("policy", sort=False)["reward"].mean()
        entitle(ax, title or f"{mean.idxmax()} earns most over all phases, {mean.max():.3f} a request")
        legend_beside(ax, by_height=True)
    return ax
