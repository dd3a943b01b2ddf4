"""One side of a split table as arrays: what policies learn from, or are scored on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats, observed_mean, take_rows
from routelab.errors import RoutelabError, TableError
from routelab.evaluation.curves import PolicyCurve, complete_rows, curve_of
from routelab.features import RequestFeaturizer
from routelab.files import read_arrays, write_arrays
from routelab.html import Card, Shown, number
from routelab.tables.table import PerformanceTable


@dataclass(frozen=True, slots=True, repr=False)
class Split(Shown):
    """One side of a table as arrays: n prompts, k providers.

    Args:
        X: (n, p) float32 features.
        quality: (n, k) in [0, 1]; cost: (n, k) USD; latency: (n, k) seconds or None.
        tasks: (n,) labels, "" where the table has none.
        providers: names (k,).
    """

    X: NDArray[np.float32]
    quality: Floats
    cost: Floats
    latency: Floats | None
    tasks: NDArray[np.str_]
    providers: tuple[str, ...]

    def _card(self) -> Card:
        means = observed_mean(self.quality), 1e3 * observed_mean(self.cost)
        rows = [(name, number(q), number(usd)) for name, q, usd in zip(self.providers, *means, strict=True)]
        n, k = self.quality.shape
        title = f"{n} prompts × {k} providers, {self.X.shape[1]} features"
        return Card(title, rows, ("provider", "quality", "USD per 1,000"))

    @classmethod
    def of(cls, table: PerformanceTable, featurizer: RequestFeaturizer) -> Split:
        """The prompts of ``table`` with the features of a fitted featurizer."""
        return cls(
            X=featurizer.transform(table),
            quality=table.quality,
            cost=table.cost,
            latency=table.latency,
            tasks=np.full(table.n, "") if table.tasks is None else table.tasks.astype(str),
            providers=table.providers,
        )

    def read_curve(self, path: Path) -> PolicyCurve:
        """Curve on these prompts of the policy whose probabilities a stage wrote, named after the file.

        Raises:
            RoutelabError: the file is missing or damaged, or an outcome of a prompt is not known.
        """
        held = read_arrays(path)
        return curve_of(path.stem, held["cost_weights"], held["probabilities"], self.quality, self.cost)

    def rows(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Split:
        """The prompts of a mask (n,), or those at some places, in their order."""
        return take_rows(self, rows)

    def complete(self, name: str) -> Split:
        """The prompts for which every provider's quality and cost are known; ``name`` is what errors call the split.

        Raises:
            RoutelabError: there is no such prompt.
        """
        mask = complete_rows(self.quality, self.cost)
        if not mask.any():
            raise RoutelabError(
                f"{name}: no prompt has both quality and cost of all {len(self.providers)} providers; "
                "bring such prompts, or leave out the providers with few outcomes"
            )
        return self.rows(mask)

    def write(self, path: Path) -> None:
        """Write as ``.npz``."""
        latency = np.full(self.quality.shape, np.nan) if self.latency is None else self.latency
        write_arrays(
            path,
            X=self.X,
            quality=self.quality,
            cost=self.cost,
            latency=latency,
            tasks=self.tasks,
            providers=np.array(self.providers),
        )

    @classmethod
    def read(cls, path: Path) -> Split:
        """Read what ``write`` wrote.

        Raises:
            RoutelabError: the file is missing or damaged.
        """
        held = read_arrays(path)
        latency = None if np.isnan(held["latency"]).all(axis=0).any() else held["latency"]
        providers = tuple(held["providers"].tolist())
        return cls(held["X"], held["quality"], held["cost"], latency, held["tasks"], providers)


def cut_at_date(table: PerformanceTable) -> tuple[PerformanceTable, PerformanceTable]:
    """(before, after) a change of versions: the prompts of the earlier date, and those of the later.

    A prompt's date is the latest ``timestamp`` of its answers, the release of the version that gave it.

    Raises:
        TableError: the prompts do not have two dates.
    """
    dates = np.where(np.isnan(table.timestamp), -np.inf, table.timestamp).max(axis=1)
    known = np.unique(dates[np.isfinite(dates)])
    if len(known) != 2 or not np.isfinite(dates).all():
        raise TableError(
            f"{table.origin}: a change of versions needs two dates in column 'timestamp', the release of the version "
            f"that answered; there are {len(known)}. Try the source 'llmdrift'"
        )
    return table.take(dates == known[0]), table.take(dates == known[1])


def check_outcomes(split: PerformanceTable, name: str) -> None:
    """Refuse outcomes that nothing can be learned or scored on; ``name`` is what errors call the split.

    Raises:
        TableError: a provider without any outcome, or providers that all cost the same.
    """
    known = np.isfinite(split.quality) & np.isfinite(split.cost)
    unseen = [provider for arm, provider in enumerate(split.providers) if not known[:, arm].any()]
    if unseen:
        raise TableError(
            f"{name}: no prompt has both quality and cost of {', '.join(map(repr, unseen))}; "
            "bring some, or leave that provider out of the table"
        )
    complete = complete_rows(split.quality, split.cost)
    prices = split.cost[complete].mean(axis=0) if complete.any() else np.nanmean(split.cost, axis=0)
    if np.ptp(prices) <= 1e-9 * prices.max():
        raise TableError(
            f"{name}: every provider costs {prices[0]:.6g} USD on average (column 'cost_usd'); "
            "a cost-quality curve needs two costs"
        )
