"""A whole table of performance data as decisions and outcomes of the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from routelab.db_records import Decision, Outcome


class RecordedTable(Protocol):
    """The attributes of a ``PerformanceTable`` that are logged: n prompts, k providers, matrices (n, k)."""

    prompt_ids: NDArray[Any]
    providers: tuple[str, ...]
    quality: NDArray[np.float64]
    cost: NDArray[np.float64]
    latency: NDArray[np.float64]


def table_decisions(
    table: RecordedTable, X: NDArray[np.floating[Any]], feature_set: str, policy: str
) -> Iterator[Decision]:
    """One decision for every cell of ``table`` that has a cost; ``X`` is (n, p).

    No policy chose these cells, so each has propensity 1; ``decided_at`` is the row number.
    """
    one_hot = np.eye(len(table.providers))
    for row, arm in np.argwhere(~np.isnan(table.cost)):
        yield Decision(
            decision_id=_cell_id(table, row, arm, feature_set, policy),
            request_id=str(table.prompt_ids[row]),
            decided_at=float(row),
            provider=table.providers[arm],
            providers=table.providers,
            probabilities=one_hot[arm],
            propensity=1.0,
            features=X[row],
            feature_set=feature_set,
            policy=policy,
        )


def table_outcomes(table: RecordedTable, feature_set: str, policy: str) -> Iterator[Outcome]:
    """The outcomes of :func:`table_decisions`, in the same order."""
    for row, arm in np.argwhere(~np.isnan(table.cost)):
        yield Outcome(
            _cell_id(table, row, arm, feature_set, policy),
            quality=table.quality[row, arm],
            cost_usd=table.cost[row, arm],
            latency_s=table.latency[row, arm],
            observed_at=float(row),
        )


def _cell_id(table: RecordedTable, row: int, arm: int, feature_set: str, policy: str) -> str:
    parts = (policy, feature_set, str(table.prompt_ids[row]), table.providers[arm])
    return "/".join(quote(part, safe="", errors="replace") for part in parts)
