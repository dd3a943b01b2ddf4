"""PerformanceDB: the append-only log of decisions and the outcomes that join them later."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock
from typing import Any, Self

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from routelab.db_reading import TrainingData, read_drifts, read_log, read_training_data
from routelab.db_records import Decision, Outcome, RecordedTable, new_decision_id, table_decisions, table_outcomes
from routelab.db_schema import (
    Row,
    create_schema,
    decision_row,
    decisions,
    insert_drift,
    insert_rows,
    open_engine,
    outcome_row,
    outcomes,
    transaction,
)
from routelab.drift import Drift
from routelab.errors import DatabaseError

__all__ = ["Decision", "Outcome", "PerformanceDB", "TrainingData", "new_decision_id"]


class PerformanceDB:
    """Append-only log of decisions and outcomes, joined by ``decision_id``.

    Rows are queued and written in one transaction by :meth:`flush`, which also runs when ``batch_size`` rows wait,
    before every read of this object, in :meth:`close` and when Python exits. After ``flush`` returns the rows are on
    disk; rows still queued are lost when the process is killed. Other processes see only what was flushed: flush a
    decision before its id leaves this process. SQLite runs in WAL mode with ``synchronous=FULL``. One object may be
    shared by threads; each process opens its own.

    Args:
        url: any SQLAlchemy URL of SQLite or PostgreSQL; ``"sqlite://"`` lives in memory.
        batch_size: rows that may wait in the queue, ≥ 1.

    Raises:
        DatabaseError: the store cannot be opened, or was written by another schema version.

    >>> with PerformanceDB("sqlite://") as db:
    ...     db.record_decision(Decision(
    ...         decision_id="d1", request_id="r1", decided_at=0.0, feature_set="demo", features=np.ones(2),
    ...         providers=("a", "b"), provider="a", probabilities=(0.9, 0.1), propensity=0.9, policy="rule",
    ...     ))
    ...     db.record_outcome(Outcome("d1", quality=1.0, cost_usd=0.002, observed_at=3.0))
    ...     data = db.get_training_data()
    >>> data.providers, data.quality
    (('a', 'b'), array([[ 1., nan]]))
    """

    def __init__(self, url: str = "sqlite:///routelab.db", *, batch_size: int = 256) -> None:
        if batch_size < 1:
            raise DatabaseError(f"PerformanceDB.batch_size is {batch_size!r}; give an int ≥ 1")
        self.batch_size = batch_size
        self._lock = RLock()
        self._decisions: list[Row] = []
        self._outcomes: list[Row] = []
        self._closed = False
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError:
            # Not quoted, as it may hold a password.
            raise DatabaseError("PerformanceDB.url is no SQLAlchemy URL; give 'sqlite:///routelab.db'") from None
        self._origin = parsed.set(query={}).render_as_string(hide_password=True)
        self._in_memory = parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:")
        with self._reported():
            self._engine = open_engine(parsed, shared_connection=self._in_memory)
            try:
                with transaction(self._engine) as connection:
                    create_schema(connection, repr(self))
            except BaseException:
                self._engine.dispose()
                raise
        atexit.register(_close, weakref.ref(self))

    def record_decision(self, decision: Decision) -> None:
        """Queue one decision; raises as :meth:`flush` does."""
        self.record_decisions([decision])

    def record_decisions(self, decisions: Iterable[Decision]) -> None:
        """Queue decisions; raises as :meth:`flush` does."""
        self._queue(self._decisions, [decision_row(decision) for decision in decisions])

    def record_outcome(self, outcome: Outcome) -> None:
        """Queue one outcome; raises as :meth:`flush` does."""
        self.record_outcomes([outcome])

    def record_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Queue outcomes; raises as :meth:`flush` does."""
        self._queue(self._outcomes, [outcome_row(outcome) for outcome in outcomes])

    def record_table(
        self, table: RecordedTable, X: NDArray[np.floating[Any]], *, feature_set: str, policy: str = "table"
    ) -> None:
        """Log every cell of ``table`` that has a cost, in one transaction: all of it or nothing.

        No policy chose these cells: each is its own decision with propensity 1, its id made of ``policy``,
        ``feature_set``, prompt and provider. Its ``decided_at`` is the row number, which keeps the order.

        Args:
            table: n prompts, k providers.
            X: (n, p) features of the prompts.
            feature_set: names the features' meaning.
            policy: name kept with the decisions; another one for each table whose prompt ids may coincide.

        Raises:
            DatabaseError: ``X`` has another length, a value is out of range, or a cell is in the log already.
        """
        if len(X) != len(table.prompt_ids):
            raise DatabaseError(f"X has {len(X)} rows, the table has {len(table.prompt_ids)}; give one per prompt")
        new = map(decision_row, table_decisions(table, X, feature_set, policy))
        results = map(outcome_row, table_outcomes(table, feature_set, policy))
        with self._writing() as connection:
            if refused := insert_rows(connection, new, results):
                raise DatabaseError(f"{self!r}: {refused[0]}; nothing was written, give another policy name")

    def record_drift(self, drift: Drift, *, detected_at: float, decisions: int, policy_version: str = "") -> None:
        """Log a drift at once: when it was detected (unix seconds), and after how many decisions of the router."""
        with self._writing() as connection:
            insert_drift(connection, drift, detected_at, decisions, policy_version)

    def flush(self) -> None:
        """Write the queue in one transaction; on disk when this returns.

        Raises:
            DatabaseError: the store failed, and the queue is kept for a later flush; or rows were refused
                (a decision id twice, an outcome of an unknown decision, a second, different outcome): these
                are dropped and named, all others are written. The same outcome again is no error.
        """
        with self._lock:
            if not (self._decisions or self._outcomes):
                return
            with self._writing() as connection:
                refused = insert_rows(connection, self._decisions, self._outcomes)
            self._decisions.clear()
            self._outcomes.clear()
        if refused:
            named = "; ".join(refused[:5]) + ("; …" if len(refused) > 5 else "")
            raise DatabaseError(f"{self!r} refused {len(refused)} rows, all others are written: {named}")

    def close(self) -> None:
        """Flush and let go of the store; stays open when the store failed, so that nothing queued is lost."""
        with self._lock:
            try:
                if not self._closed:
                    self.flush()
            finally:
                if not (self._decisions or self._outcomes):
                    self._closed = True
                    self._engine.dispose()

    def count(self) -> tuple[int, int]:
        """Number of decisions and of outcomes."""
        with self._reading() as connection:
            total = sa.select(sa.func.count())
            held, joined = (connection.scalars(total.select_from(table)).one() for table in (decisions, outcomes))
        return held, joined

    def log(self) -> pd.DataFrame:
        """All decisions in order with their outcome, where there is one: one row each, for evaluation.

        The columns are the fields of :class:`Decision` and :class:`Outcome`; ``features`` holds float32
        arrays, ``providers`` and ``probabilities`` lists, ``objective`` dicts; NaN where nothing is known.
        """
        with self._reading() as connection:
            return read_log(connection)

    def get_training_data(self, feature_set: str | None = None) -> TrainingData:
        """What policies train on: the decisions that have an outcome, as matrices.

        Args:
            feature_set: only decisions on these features; may be left out where the log holds one set.

        Raises:
            DatabaseError: nothing to train on, several feature sets at once, or one set of several lengths.
        """
        with self._reading() as connection:
            return read_training_data(connection, feature_set)

    def drifts(self) -> pd.DataFrame:
        """All drifts in the order of their detection: the fields of :class:`Drift`, when, and under which policy."""
        with self._reading() as connection:
            return read_drifts(connection)

    def __enter__(self) -> Self:
        """The database itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        return f"PerformanceDB({self._origin!r})"

    def _queue(self, queue: list[Row], rows: Sequence[Row]) -> None:
        with self._lock:
            self._check_open()
            queue.extend(rows)
            if len(self._decisions) + len(self._outcomes) >= self.batch_size:
                self.flush()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        self._check_open()
        self.flush()
        # A connection of its own never waits for writers; in memory there is only one connection.
        guard: AbstractContextManager[object] = self._lock if self._in_memory else nullcontext()
        with guard, self._reported(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._lock, self._reported():
            self._check_open()
            with transaction(self._engine) as connection:
                yield connection

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise DatabaseError(
                f"{self!r} failed: {cause}; see that it is a database and may be written, then try again"
            ) from error

    def _check_open(self) -> None:
        if self._closed:
            raise DatabaseError(f"{self!r} is closed; open it anew")


def _close(reference: weakref.ref[PerformanceDB]) -> None:
    """Close a database that is still in use when Python exits."""
    if (db := reference()) is not None:
        db.close()
