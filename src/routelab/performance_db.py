"""PerformanceDB: the append-only log of decisions and the outcomes that join them later."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from routelab.db_batches import LOG, ROWS, decoded, read_batches
from routelab.db_experiments import Exposure, read_experiment, read_exposures, read_shadows
from routelab.db_export import export_batches
from routelab.db_reading import TrainingData, read_drifts, read_training_data
from routelab.db_records import Decision, Outcome, new_decision_id
from routelab.db_rows import decision_row, grade_row, outcome_row, planned_row, shadow_row
from routelab.db_schema import decisions, outcomes
from routelab.db_store import Store
from routelab.db_table import RecordedTable, table_decisions, table_outcomes
from routelab.db_writing import Queued, delete_decisions, delete_shadows, insert_drift, insert_rows
from routelab.drift import Drift
from routelab.errors import DatabaseError

__all__ = ["Decision", "Exposure", "Outcome", "PerformanceDB", "TrainingData", "new_decision_id"]


class PerformanceDB(Store):
    """Append-only log of decisions and outcomes, joined by ``decision_id``.

    What is written stays as it is, with one exception: an answer that nobody graded gets its grade later, once.

    Recording queues rows and returns at once; one thread writes them, within about 50 ms, in one transaction for all
    that wait. :meth:`flush`, ``await`` :meth:`saved`, every read of this object, :meth:`close` and the end of Python
    wait until all that was recorded before is on disk: rows that nobody waited for are lost when the process is killed
    before they are written. Other processes see only what is written: flush a decision before its id leaves this
    process. While the store fails, rows are kept and tried again every second. When more than 64 batches are queued,
    recording waits, in asyncio with the whole event loop, and raises if the store fails; ``await saved()`` prevents it.

    One object may be shared by threads and tasks; each process opens its own, and all may write at once. SQLite runs in
    WAL mode with ``synchronous=FULL``; PostgreSQL commits as its server is set, and needs ``routelab[postgres]``.

    Args:
        url: any SQLAlchemy URL of SQLite or PostgreSQL; ``"sqlite://"`` lives in memory. An older store gets what it
            lacks, and a warning says so.
        batch_size: rows that are written without waiting for more, ≥ 1.
        prompts: what is kept of ``Decision.prompt``: "hashed" its SHA-256, "stored" the text as well (with U+FFFD for
            NUL, which no store holds), "omitted" neither.

    Raises:
        DatabaseError: the store is of another kind, cannot be opened, or was written by a newer schema version.

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

    def record_decision(self, decision: Decision | Callable[[], Decision]) -> None:
        """Queue one decision, or a function that makes it; see :class:`PerformanceDB` for when it waits or raises.

        The thread that writes calls it, so that whoever decides need not wait; where it raises, its row is refused.
        """
        self.record_decisions([decision])

    def record_decisions(self, decisions: Iterable[Decision | Callable[[], Decision]]) -> None:
        """Queue decisions; see :meth:`record_decision`."""
        self._queue("decisions", (planned_row(decision, self.prompts) for decision in decisions))

    def record_outcome(self, outcome: Outcome) -> None:
        """Queue one outcome; see :meth:`record_decision`."""
        self.record_outcomes([outcome])

    def record_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Queue outcomes; see :meth:`record_decision`."""
        self._queue("outcomes", map(outcome_row, outcomes))

    def record_grade(self, graded: Outcome) -> None:
        """Queue the grade of an answer whose outcome was recorded without one; see :meth:`record_decision`.

        Of ``graded`` only quality, quality_se and grading_cost_usd are written. It is refused where the log has no such
        outcome, or has another grade. The same grade again is no error.
        """
        self._queue("grades", [grade_row(graded)])

    def outcome(self, decision_id: str) -> Outcome | None:
        """The outcome of a decision, as far as it is known; None where there is none.

        >>> with PerformanceDB("sqlite://") as db:
        ...     db.outcome("d1") is None
        True
        """
        with self._reading() as connection:
            row = connection.execute(sa.select(outcomes).where(outcomes.c.decision_id == decision_id)).first()
        return None if row is None else Outcome(**row._mapping)

    def record_exposure(self, exposure: Exposure) -> None:
        """Queue one exposure; see :meth:`record_decision`."""
        self._queue("exposures", [asdict(exposure)])

    def record_shadow(self, shadow: str, decision: Decision) -> None:
        """Queue what the router called ``shadow`` would have chosen; see :meth:`record_decision`."""
        self._queue("shadows", [shadow_row(shadow, decision)])

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
            DatabaseError: ``X`` has another length, a value is out of range, or the log holds a cell otherwise.
        """
        if len(X) != len(table.prompt_ids):
            raise DatabaseError(f"X has {len(X)} rows, the table has {len(table.prompt_ids)}; give one per prompt")
        cells = {
            "decisions": map(decision_row, table_decisions(table, X, feature_set, policy)),
            "outcomes": map(outcome_row, table_outcomes(table, feature_set, policy)),
        }
        with self._writing() as connection:
            queued = {name: (Queued(name, row) for row in rows) for name, rows in cells.items()}
            if refused := insert_rows(connection, queued):
                raise DatabaseError(f"{self!r}: {refused[0].reason}; nothing was written, give another policy name")

    def record_drift(self, drift: Drift, *, detected_at: float, decisions: int, policy_version: str = "") -> None:
        """Log a drift at once: when it was detected (unix seconds), and after how many decisions of the router."""
        with self._writing() as connection:
            insert_drift(connection, drift, detected_at, decisions, policy_version)

    def count(self) -> tuple[int, int]:
        """Number of decisions and of outcomes."""
        with self._reading() as connection:
            total = sa.select(sa.func.count())
            held, joined = (connection.scalars(total.select_from(table)).one() for table in (decisions, outcomes))
        return held, joined

    def batches(self, rows: int = ROWS) -> Iterator[pd.DataFrame]:
        """All of :meth:`log` in order, ``rows`` decisions at a time: a log of any length in bounded memory.

        Nothing stays open between batches: writers go on, and what they add behind the last batch is read as well.
        The first batch comes even when the log is empty.

        >>> with PerformanceDB("sqlite://") as db:
        ...     [len(batch) for batch in db.batches()]
        [0]
        """
        if rows < 1:
            raise DatabaseError(f"PerformanceDB.batches: rows is {rows!r}; give an int ≥ 1")
        return map(decoded, read_batches(self._reading, LOG, rows))

    def log(self) -> pd.DataFrame:
        """All decisions in order with their outcome, where there is one: one row each, for evaluation.

        The columns are the fields of :class:`Decision` and :class:`Outcome`; ``features`` holds float32
        arrays, ``providers`` and ``probabilities`` lists, ``objective`` dicts; NaN where nothing is known.
        """
        return pd.concat(self.batches(), ignore_index=True)

    def export(self, path: str | Path) -> None:
        """Write :meth:`log` as parquet, batch by batch, whole or not at all; the same log gives the same bytes.

        ``objective`` is JSON there. ``routelab ope`` and ``LoggedData.from_frame`` read such files.
        """
        export_batches(read_batches(self._reading, LOG), Path(path))

    def prune(self, before: float) -> int:
        """Delete the decisions made before ``before`` (unix s) with their outcomes and shadows; how many these were.

        Every 10,000 are a transaction: writers go on, and the log is valid wherever it is interrupted. Outcomes that
        come later are refused. Exposures and drifts stay. A SQLite file does not shrink; the room is used again.

        Raises:
            DatabaseError: ``before`` is not finite, or the store failed.
        """
        if not math.isfinite(before):
            raise DatabaseError(f"PerformanceDB.prune: before is {before!r}; give unix seconds")
        self.flush()
        self._delete(delete_shadows, before)
        return self._delete(delete_decisions, before)

    def get_training_data(self, feature_set: str | None = None) -> TrainingData:
        """What policies train on: the decisions that have an outcome, as matrices.

        Args:
            feature_set: only decisions on these features; may be left out where the log holds one set.

        Raises:
            DatabaseError: nothing to train on, several feature sets at once, or one set of several lengths.
        """
        return read_training_data(self._reading, feature_set)

    def drifts(self) -> pd.DataFrame:
        """All drifts in the order of their detection: the fields of :class:`Drift`, when, and under which policy."""
        with self._reading() as connection:
            return read_drifts(connection)

    def exposures(self, experiment: str | None = None) -> pd.DataFrame:
        """Who was exposed to what, in the order of exposure: experiment, unit, variant, exposed_at (unix seconds).

        This, not :meth:`experiment`, counts the units of each variant: it also holds those without an outcome.
        """
        with self._reading() as connection:
            return read_exposures(connection, experiment)

    def experiment(self, name: str) -> pd.DataFrame:
        """The finished requests of an experiment, in the order of decision: one row each, for analysis.

        The columns are unit, variant, exposed_at, request_id, decision_id, decided_at, observed_at, quality (NaN where
        not graded), cost_usd, latency_s (NaN where unknown) and failed. Where a provider failed and another was asked,
        or a request was made again under its ``request_id``, costs and latencies add up, and all else is that of the
        last attempt that brought an answer, or of the last one if none did, which is what ``failed`` means.

        Left out are requests whose last decision has no outcome yet, and those without an answer that their caller
        cancelled last. Answers that nobody graded (yet) are there with their cost: before testing quality, say what
        they count as, or leave them out. Compare such losses between variants before trusting what is left.

        Raises:
            DatabaseError: nobody was exposed to an experiment of this name.
        """
        with self._reading() as connection:
            return read_experiment(connection, name)

    def shadows(self) -> pd.DataFrame:
        """What shadows would have chosen, in the order of decision; ``request_id`` joins it to :meth:`log`."""
        with self._reading() as connection:
            return read_shadows(connection)
