"""What an online run does as it goes: who is asked, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from routelab.plots.theme import new_axes, theme


def plot_live(
    served: pd.DataFrame,
    events: Mapping[int, str] | None = None,
    *,
    window: int = 50,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Share of the requests that each provider answered, in windows, with what happened meanwhile.

    A share p of n requests is drawn with its standard error, sqrt(p(1 - p)/n).

    Args:
        served: a row per request in its order, column ``provider``; names in the order of the legend if categorical.
        events: number of requests before it → what happened.
        window: requests.
        title: the finding.
        ax: drawn on; None makes a new figure.
    """
    with theme():
        ax = new_axes() if ax is None else ax
        middle = served.reset_index().index // window * window + window / 2
        counts = pd.crosstab(middle, served["provider"], dropna=False)
        asked = counts.sum(axis=1)
        colours, dashes = sns.color_palette(n_colors=counts.shape[1]), ("-", "--", "-.", ":")
        for place, (name, count) in enumerate(counts.items()):
            share = count / asked
            error = (share * (1.0 - share) / asked) ** 0.5
            style = {"color": colours[place], "label": str(name)}
            ax.plot(share.index, share, linestyle=dashes[place % 4], marker="os^Dv"[place % 5], markersize=4, **style)
            ax.fill_between(share.index, share - error, share + error, color=colours[place], alpha=0.2, linewidth=0)
        for number, told in (events or {}).items():
            ax.axvline(number, color="0.3", linestyle=":")
            ax.annotate(
                told,
                (number, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(4, -14),
                textcoords="offset points",
                color="0.25",
            )
        ax.set(xlabel=f"requests (windows of {window})", ylabel="share of the requests", ylim=(0.0, 1.0))
        ax.set_xlim(0.0, float(asked.index.max()) + window / 2)
        ax.set_title(title or "Who is asked, as it happens", loc="left")
        ax.legend(title=None, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax
