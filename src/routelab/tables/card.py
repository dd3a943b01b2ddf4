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
    means = [observed_mean(values) for values in (table.quality, 1e3 * table.cost, table.latency)]
    asked = np.isfinite(table.cost)
    graded = np.isfinite(table.quality).sum(axis=0) / table.n
    shares = [[f"{share:.1%}" if share else "" for share in lost] for lost in (1.0 - asked.mean(axis=0), 1.0 - graded)]
    numbers = zip(*([number(value) for value in column] for column in means), *shares, strict=True)
    names = ", ".join(short(name, 30) for name in table.providers[:4]) + (", …" if table.k > 4 else "")
    seen = f"{int(asked.sum())} of {asked.size} cells observed"
    return Card(
        f"{table.n} prompts × {table.k} providers: {names}; {seen}",
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
