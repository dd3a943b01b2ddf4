"""The figure of the benchmark: what share of the oracle's lead each policy captures on each table."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from routelab import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FLOOR = -0.4  # what falls below does harm; how much would only squeeze the rest
_UNSCORED = ("oracle", "best-single")  # 1 by definition, and a single point
_MARKERS = "osD^PX*pdh<"  # one more than colours: no two policies share both


def plot_benchmark(rows: pd.DataFrame, *, ours: str = "forest") -> Axes:
    """Hull gap captured with its 95 % interval, by table and policy; a triangle at the foot falls below the picture.

    Args:
        rows: columns ``table``, ``split``, ``repeats``, ``policy``, ``gap``, ``low``, ``high``, and
            ``difference_low`` of the interval of the lead over the strongest other; a gap may be NaN.
        ours: the policy that is drawn larger and whose rank the title tells.
    """
    known = rows[~rows["policy"].isin(_UNSCORED) & rows["gap"].notna()]
    keys = zip(known["table"], known["split"], known["repeats"], strict=True)
    known = known.assign(label=[_label(*key) for key in keys])
    means = known.assign(gap=known["gap"].clip(lower=_FLOOR)).groupby("policy")["gap"].mean()
    order, labels = means.sort_values(ascending=False, kind="stable").index, known["label"].unique()
    gaps, lows, highs = (
        known.pivot_table(name, index="label", columns="policy").loc[labels] for name in ("gap", "low", "high")
    )
    with plots.theme():
        ax = plots.new_axes(width=max(8.0, 1.6 * len(labels) + 3.0), height=6.0)
        ax.axhline(0.0, color="0.3", linewidth=1.0)
        for place, (policy, marker) in enumerate(zip(order, cycle(_MARKERS), strict=False)):
            x = np.arange(len(labels)) + (place - (len(order) - 1) / 2) * 0.8 / len(order)
            gap, low, high = (wide[policy].to_numpy(float) for wide in (gaps, lows, highs))
            seen, below, colour, mine = gap >= _FLOOR, gap < _FLOOR, f"C{place % 10}", policy == ours
            ax.errorbar(
                x[seen],
                gap[seen],
                yerr=[(gap - low)[seen], (high - gap)[seen]],
                fmt=marker,
                color=colour,
                markersize=9 if mine else 5,
                markeredgecolor="black" if mine else colour,
                elinewidth=2.2 if mine else 1.2,
                label=policy,
                zorder=4 if mine else 3,
            )
            ax.plot(x[below], np.full(below.sum(), _FLOOR), "v", color=colour, markersize=5, clip_on=False)
        for between in range(1, len(labels)):
            ax.axvline(between - 0.5, color="0.85", linewidth=1.0)
        ax.set_xticks(range(len(labels)), labels.tolist(), fontsize=9)
        ax.set_xlim(-0.5, len(labels) - 0.5)
        ax.set_ylim(bottom=_FLOOR)
        ax.grid(visible=False, axis="x")
        ax.set_ylabel("hull gap captured (0 best fixed mixture, 1 oracle)")
        leads = int((gaps.idxmax(axis=1) == ours).sum())
        clear = int((known.loc[known["policy"] == ours, "difference_low"] > 0.0).sum())
        ax.set_title(
            f"{ours}: highest on {leads} of {len(labels)} runs, ahead by more than the paired interval on {clear}",
            loc="left",
        )
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    return ax


def _label(table: str, split: str, repeats: int) -> str:
    """Name of a table over how it was split.

    >>> _label("routerbench", "0.7", 5)
    'routerbench\\n5 × 0.7'
    """
    return f"{table}\n{'own split' if split == 'own' else f'{repeats} × {split}'}"
