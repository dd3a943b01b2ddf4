"""What a table says of itself: how much there is of each provider, and how good and dear that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from routelab.arrays import observed_mean
from routelab.html import Card, number, short

if TYPE_CHECKING:
    from routelab.tables.table import PerformanceTable

_HEADER = ("provider", "quality", "USD per 1,000", "latency (s)", "not asked", "not graded")


def table_card(table: PerformanceTable) -> Card:
    """A row per provider: means of what is known, and shares of the prompts of which it was not asked or graded."""
    quality, cost, latency = map(observed_mean, (table.quality, table.cost, table.latency))
    means = (quality, 1e3 * cost, latency)
    seen = [np.count_nonzero(np.isfinite(values), axis=0) for values in (table.cost, table.quality)]
    shares = [[f"{1.0 - count / table.n:.1%}" if count < table.n else "" for count in one] for one in seen]
    numbers = zip(*([number(value) for value in column] for column in means), *shares, strict=True)
    names = ", ".join(short(name, 30) for name in table.providers[:4]) + (", …" if table.k > 4 else "")
    return Card(
        f"{table.n} prompts × {table.k} providers: {names}; {seen[0].sum()} of {table.cost.size} cells observed",
        [(name, *row) for name, row in zip(table.providers, numbers, strict=True)],
        _HEADER,
        [f"from {short(table.origin, 200)}; {_split(table)}"],
    )


def _split(table: PerformanceTable) -> str:
    """What the table itself says of its split."""
    if table.splits is None:
        return "no split of its own"
    train = int(np.count_nonzero(table.splits == "train"))
    return f"{train} prompts to train on, {table.n - train} to evaluate on"
