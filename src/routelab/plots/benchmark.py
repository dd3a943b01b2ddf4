"""The figure of the benchmark: what share of the oracle's lead each policy captures on each table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from routelab.plots.inputs import need
from routelab.plots.theme import entitle, new_axes, theme

_EDGE = 0.3  # colour is full from here on: what falls below does harm, how much does not matter
_UNSCORED = ("oracle", "best-single")  # 1 by definition, and a single point


def plot_benchmark(
    rows: pd.DataFrame, *, ours: str = "forest", title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Hull gap captured with its 95 % interval by policy and table, the highest of each table in bold.

    Args:
        rows: columns ``table``, ``split``, ``repeats``, ``policy``, ``gap``, ``low``, ``high``, and
            ``difference_low`` of the interval of the lead over the strongest other; a gap may be NaN.
        ours: the policy whose rank the title tells.
        title: the finding; None counts the runs on which ``ours`` leads.
        ax: drawn on; None makes a new figure.
    """
    need(rows, "table", "split", "repeats", "policy", "gap", "low", "high", "difference_low")
    known = rows[~rows["policy"].isin(_UNSCORED) & rows["gap"].notna()]
    keys = zip(known["table"], known["split"], known["repeats"], strict=True)
    cells = zip(known["gap"], known["low"], known["high"], strict=True)
    known = known.assign(label=[_label(*key) for key in keys], text=[_cell(*cell) for cell in cells])
    order = known.groupby("policy")["gap"].median().sort_values(ascending=False, kind="stable").index
    gaps, texts = (
        known.pivot_table(name, index="policy", columns="label", aggfunc="first", sort=False).reindex(
            index=order, columns=known["label"].unique()
        )
        for name in ("gap", "text")
    )
    leads = int((gaps.idxmax() == ours).sum())
    clear = int((known.loc[known["policy"] == ours, "difference_low"] > 0.0).sum())
    values = gaps.to_numpy()
    highest = values == np.nanmax(values, axis=0)
    with theme():
        ax = new_axes(width=1.25 * values.shape[1] + 2.2, height=0.52 * len(values) + 1.4) if ax is None else ax
        # light to dark, so that it reads in grey too
        ax.imshow(values, cmap="YlGnBu", vmin=-_EDGE, vmax=_EDGE, aspect="auto")
        for row, column in np.argwhere(~np.isnan(values)):
            ax.text(
                column,
                row,
                texts.iloc[row, column],
                color="white" if values[row, column] > 0.1 * _EDGE else "0.1",
                weight="bold" if highest[row, column] else "normal",
                fontsize=8.5,
                ha="center",
                va="center",
            )
        ax.set_xticks(range(values.shape[1]), gaps.columns, fontsize=9)
        ax.set_yticks(range(len(values)), gaps.index, fontsize=9)
        ax.grid(visible=False)
        told = (
            f"Hull gap captured, 0 = best fixed mixture, 1 = oracle. {ours}: highest on {leads} of {values.shape[1]} "
            f"runs, ahead by more than the paired interval on {clear}"
        )
        entitle(ax, title or told)
    return ax


def _cell(gap: float, low: float, high: float) -> str:
    """A gap over its interval.

    >>> _cell(0.172, 0.141, -0.0001)
    '+.17\\n[.14, .00]'
    """
    return f"{_short(gap, '+')}\n[{_short(low)}, {_short(high)}]"


def _short(value: float, sign: str = "") -> str:
    """Two decimals without a leading zero.

    >>> _short(-1.654), _short(-0.001), _short(0.17, "+")
    ('-1.65', '.00', '+.17')
    """
    text = f"{round(value, 2) + 0.0:{sign}.2f}"
    return text.replace("0.", ".", 1) if abs(round(value, 2)) < 1.0 else text


def _label(table: str, split: str, repeats: int) -> str:
    """Name of a table over how it was split.

    >>> _label("routerbench", "0.7", 5)
    'routerbench\\n5 × 0.7'
    """
    return f"{table.removeprefix('routellm-')}\n{'own split' if split == 'own' else f'{repeats} × {split}'}"
