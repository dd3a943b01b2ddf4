"""The performance log in the order of decision, batch by batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from routelab.db_schema import decisions, outcomes

Connect = Callable[[], AbstractContextManager[sa.Connection]]

_DTYPES = {sa.Double: "float64", sa.BigInteger: "float64", sa.Text: "str"}  # whatever a batch happens to hold
ROWS = 50_000  # of a batch: some 100 MB
LOG = sa.select(decisions, *(column for column in outcomes.columns if column.name != "decision_id")).outerjoin_from(
    decisions, outcomes
)


def read_batches(connect: Connect, query: sa.Select[Any], rows: int = ROWS) -> Iterator[pd.DataFrame]:
    """Rows of ``query`` in order of decision as the store holds them; numbers are float64, NaN where
    unknown, texts str.

    Each batch is a query of its own that starts behind the last one, so that no transaction stays open between them:
    each row comes once, as the log only grows. ``query`` selects ``decided_at`` and ``decision_id``. The first batch
    comes even when it is empty.
    """
    order = decisions.c.decided_at, decisions.c.decision_id
    query = query.order_by(*order).limit(rows)
    dtypes = {c.name: _DTYPES[type(c.type)] for c in query.selected_columns if type(c.type) in _DTYPES}
    page = query
    while True:
        with connect() as connection:
            frame = pd.read_sql_query(page, connection, dtype=dtypes)
        yield frame
        if len(frame) < rows:
            return
        last = frame.iloc[-1]
        page = query.where(sa.tuple_(*order) > (float(last["decided_at"]), last["decision_id"]))


def decoded(frame: pd.DataFrame) -> pd.DataFrame:
    """A batch of ``LOG`` with lists, dicts and float32 arrays in place of JSON and bytes."""
    for name in ("providers", "probabilities", "objective"):
        frame[name] = frame[name].map(json.loads).astype(object)
    frame["features"] = frame["features"].map(lambda blob: np.frombuffer(blob, "<f4"))
    return frame
