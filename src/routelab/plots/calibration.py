"""Do estimates come true?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from routelab.plots.inputs import need, short_names
from routelab.plots.lines import draw_means
from routelab.plots.theme import entitle, legend_beside, new_axes, theme


def plot_calibration(pairs: pd.DataFrame, *, bins: int = 8, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Mean grade against expected quality, in equally large bins of each provider's prompts, with 95 % intervals.

    Args:
        pairs: columns ``provider``, ``expected``, ``observed`` (quality in [0, 1]); rows with a NaN are left out.
        bins: of each provider.
        title: the finding; None tells the provider whose bins are furthest off on average.
        ax: drawn on; None makes a new figure.
    """
    need(pairs, "provider", "expected", "observed")
    names = short_names(pairs["provider"])
    known = pairs.dropna(subset=["expected", "observed"]).assign(provider=pairs["provider"].map(names))
    rank = known.groupby("provider", sort=False)["expected"].rank(method="first", pct=True)
    known["bin"] = np.ceil(rank * bins)
    known["at"] = known.groupby(["provider", "bin"])["expected"].transform("mean")
    need(known, "at")
    with theme():
        ax = new_axes() if ax is None else ax
        told = draw_means(ax, known, x="at", y="observed", by="provider")
        middle = float(known["expected"].mean())  # within the data: a line through elsewhere would widen the axes
        ax.axline((middle, middle), slope=1, color="0.45", linestyle=(0, (1, 1)), zorder=0, label="as expected")
        ax.set(xlabel="expected quality (means of bins)", ylabel="mean grade (95 % interval)")
        off = (told["mean"] - told["at"]).abs().groupby(told["provider"], sort=False)
        worst = (off.sum() / off.size()).sort_values(kind="stable")
        entitle(ax, title or f"The estimates come true to within {worst.iloc[-1]:.3f} on average ({worst.index[-1]})")
        legend_beside(ax)
    return ax
