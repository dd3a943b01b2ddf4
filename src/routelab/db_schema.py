"""The store of the performance log: its tables, how it is opened, and the one place that writes rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from itertools import islice
from operator import itemgetter
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sa

from routelab.db_records import Decision, Outcome
from routelab.drift import Drift
from routelab.errors import DatabaseError

SCHEMA_VERSION = 2  # 1 had no drifts
Row = dict[str, Any]

metadata = sa.MetaData()
schema_version = sa.Table(
    "routelab_schema", metadata, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False)
)
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("decision_id", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("unit_id", sa.Text),
    sa.Column("decided_at", sa.Double, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("providers", sa.Text, nullable=False),  # JSON list
    sa.Column("probabilities", sa.Text, nullable=False),  # JSON list
    sa.Column("propensity", sa.Double, nullable=False),
    sa.Column("features", sa.LargeBinary, nullable=False),  # float32, little-endian
    sa.Column("feature_set", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("objective", sa.Text, nullable=False),  # JSON object
    sa.Column("prompt_sha256", sa.Text),
)
outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("decision_id", sa.Text, sa.ForeignKey(decisions.c.decision_id), primary_key=True),
    sa.Column("quality", sa.Double),
    sa.Column("cost_usd", sa.Double, nullable=False),
    sa.Column("latency_s", sa.Double),
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("error", sa.Text),
    sa.Column("observed_at", sa.Double, nullable=False),
)
drifts = sa.Table(
    "drifts",
    metadata,
    sa.Column("drift_id", sa.Integer, primary_key=True),  # in their order
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("detected_at", sa.Double, nullable=False),
    sa.Column("decisions", sa.BigInteger, nullable=False),
    sa.Column("before", sa.Double, nullable=False),
    sa.Column("after", sa.Double, nullable=False),
    sa.Column("recent", sa.BigInteger, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
)
_OUTCOME_FIELDS = tuple(field.name for field in fields(Outcome))
# The same feedback delivered twice carries two arrival times.
_CONTENT = [name for name in _OUTCOME_FIELDS if name not in ("decision_id", "observed_at")]
_content = itemgetter(*_CONTENT)
_CREATING = 0x726F7574  # any number that only routelab locks
_IDS_PER_QUERY = 1_000
_LOCK_SECONDS = "30"  # how long SQLite waits for another process' write; `?timeout=` in the URL overrides it


def open_engine(url: sa.URL, *, shared_connection: bool) -> sa.Engine:
    """The engine for ``url``; ``shared_connection`` is for a database that lives in memory."""
    options: dict[str, Any] = {"hide_parameters": True}
    if shared_connection:
        options |= {"poolclass": sa.StaticPool, "connect_args": {"check_same_thread": False}}
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and "timeout" not in url.query:
        url = url.update_query_dict({"timeout": _LOCK_SECONDS})
    try:
        engine = sa.create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise DatabaseError(f"a {url.drivername} store needs the package {error.name!r}; install it") from error
    if sqlite:
        sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # `transaction` says BEGIN itself
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Wait by hand: SQLite does not wait for a lock here when several processes open a new file at once."""
    deadline = monotonic() + connection.execute("PRAGMA busy_timeout").fetchone()[0] / 1000.0
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
            sleep(0.005)


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes: committed at the end, rolled back by an exception."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":  # lock before reading: a lock taken later fails instead of waiting
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def decision_row(decision: Decision) -> Row:
    """``decision`` as the ``decisions`` table holds it; raises where JSON cannot hold its objective."""
    row = {column.name: getattr(decision, column.name) for column in decisions.columns}
    try:
        row["objective"] = json.dumps(dict(decision.objective), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DatabaseError(
            f"Decision.objective is {decision.objective!r}, which JSON cannot hold ({error}); "
            "give finite numbers, text, None, lists and mappings of them"
        ) from error
    row["providers"] = json.dumps(decision.providers)
    row["probabilities"] = json.dumps(decision.probabilities)
    row["features"] = decision.features.astype("<f4").tobytes()
    return row


def outcome_row(outcome: Outcome) -> Row:
    """``outcome`` as the ``outcomes`` table holds it."""
    return {name: getattr(outcome, name) for name in _OUTCOME_FIELDS}


def create_schema(connection: sa.Connection, origin: str) -> None:
    """Create what is missing, within the caller's transaction; a store of version 1 gets the tables that it lacks.

    Raises:
        DatabaseError: the store ``origin`` has another schema version, or such tables that are not ours.
    """
    if connection.dialect.name == "postgresql":  # CREATE … IF NOT EXISTS fails when two processes run it at once
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
    present = set(sa.inspect(connection).get_table_names()) & set(metadata.tables)
    if present and schema_version.name not in present:
        raise DatabaseError(
            f"{origin} holds a table {sorted(present)[0]!r} that routelab did not make; use another database"
        )
    metadata.create_all(connection)
    held = connection.scalars(sa.select(schema_version.c.version)).all()
    if list(held) == [1]:
        connection.execute(sa.update(schema_version).values(version=SCHEMA_VERSION))
    elif not held:
        connection.execute(sa.insert(schema_version), {"version": SCHEMA_VERSION})
    elif list(held) != [SCHEMA_VERSION]:
        raise DatabaseError(
            f"{origin} has schema version {', '.join(map(str, held))}, this routelab knows {SCHEMA_VERSION}; "
            "use the routelab that wrote it, or another database"
        )


def insert_rows(connection: sa.Connection, new: Iterable[Row], results: Iterable[Row]) -> list[str]:
    """Write decision rows ``new``, then outcome rows ``results``, within the caller's transaction.

    The log is append-only: what is there stays, so an id known once stays known.

    Returns:
        One sentence for each row that the log refused; all other rows are written.
    """
    refused: list[str] = []
    for batch in _batches(new):
        _insert_decisions(connection, batch, refused)
    for batch in _batches(results):
        _insert_outcomes(connection, batch, refused)
    return refused


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _IDS_PER_QUERY)):
        yield batch


def _insert_decisions(connection: sa.Connection, rows: Collection[Row], refused: list[str]) -> None:
    query = sa.select(decisions.c.decision_id).where(decisions.c.decision_id.in_(_ids(rows)))
    taken = set(connection.scalars(query))
    accepted = []
    for row in rows:
        if row["decision_id"] in taken:
            refused.append(f"decision_id {row['decision_id']!r} is in the log already; give each decision a new id")
        else:
            taken.add(row["decision_id"])
            accepted.append(row)
    if accepted:
        connection.execute(sa.insert(decisions), accepted)


def _insert_outcomes(connection: sa.Connection, rows: Collection[Row], refused: list[str]) -> None:
    columns = (outcomes.c[name] for name in ("observed_at", *_CONTENT))
    query = sa.select(decisions.c.decision_id, *columns).outerjoin_from(decisions, outcomes)
    query = query.where(decisions.c.decision_id.in_(_ids(rows)))
    # What each known decision has got; an outcome always has an observed_at.
    held: dict[str, tuple[Any, ...] | None] = {
        decision_id: None if observed_at is None else tuple(content)
        for decision_id, observed_at, *content in connection.execute(query).all()
    }
    accepted = []
    for row in rows:
        decision_id = row["decision_id"]
        if decision_id not in held:
            refused.append(f"outcome of unknown decision_id {decision_id!r}; record and flush the decision first")
        elif held[decision_id] is None:
            held[decision_id] = _content(row)
            accepted.append(row)
        elif held[decision_id] != _content(row):
            refused.append(f"decision_id {decision_id!r} has another outcome already; the first one stays")
    if accepted:
        connection.execute(sa.insert(outcomes), accepted)


def insert_drift(
    connection: sa.Connection, drift: Drift, detected_at: float, decisions: int, policy_version: str
) -> None:
    """Write one drift within the caller's transaction."""
    found = {"detected_at": detected_at, "decisions": decisions, "policy_version": policy_version}
    connection.execute(sa.insert(drifts), asdict(drift) | found)


def _ids(rows: Collection[Row]) -> list[str]:
    return [row["decision_id"] for row in rows]
