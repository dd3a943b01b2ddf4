"""The tables of the performance log, how their store is opened, and how an older one is brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import sqlalchemy as sa

from routelab.errors import DatabaseError

SCHEMA_VERSION = 4  # 1 had no drifts, 2 no experiments, 3 no prompts, and outcomes of grades and latency only

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
    sa.Column("experiment", sa.Text),
    sa.Column("prompt", sa.Text),
    sa.Index("decisions_in_order", "decided_at", "decision_id"),  # nothing reads 10⁷ rows in order without it
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
    sa.Column("quality_se", sa.Double),
    sa.Column("grading_cost_usd", sa.Double, nullable=False, server_default="0"),
    sa.Column("first_token_s", sa.Double),
    sa.Column("cached_tokens", sa.BigInteger),
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
exposures = sa.Table(
    "exposures",
    metadata,
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("unit_id", sa.Text, primary_key=True),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("exposed_at", sa.Double, nullable=False),
)
shadows = sa.Table(
    "shadows",
    metadata,
    sa.Column("decision_id", sa.Text, primary_key=True),
    sa.Column("shadow", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("decided_at", sa.Double, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("providers", sa.Text, nullable=False),  # JSON list
    sa.Column("probabilities", sa.Text, nullable=False),  # JSON list
    sa.Column("propensity", sa.Double, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("objective", sa.Text, nullable=False),  # JSON object
)
_WRITING = 0x726F7574  # any number that only routelab locks
_LOCK_SECONDS = "30"  # how long to wait for another process' write; `?timeout=` in the URL overrides it for SQLite


def open_engine(url: sa.URL, *, shared_connection: bool) -> sa.Engine:
    """The engine for ``url``; ``shared_connection`` is for a database that lives in memory."""
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseError(
            f"a {url.get_backend_name()} store is not supported; give the URL of a SQLite file "
            "('sqlite:///routelab.db') or of PostgreSQL ('postgresql://user@host/name')"
        )
    options: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "postgresql":
        options["isolation_level"] = "AUTOCOMMIT"  # `transaction` says BEGIN itself
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if shared_connection:
        options |= {"poolclass": sa.StaticPool, "connect_args": {"check_same_thread": False}}
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and "timeout" not in url.query:
        url = url.update_query_dict({"timeout": _LOCK_SECONDS})
    try:
        engine = sa.create_engine(url, **options)
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"a {url.drivername} store needs the package {error.name!r}; install routelab[postgres] for PostgreSQL"
        ) from error
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
    """The only transaction that writes at its time: committed at the end, rolled back by an exception."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":  # lock before reading: a lock taken later fails instead of waiting
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:  # one writer at a time here as well, so that what it reads stays true until it has written
            connection.exec_driver_sql(
                f"BEGIN; SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'; SELECT pg_advisory_xact_lock({_WRITING})"
            )
        yield connection


def create_schema(connection: sa.Connection, origin: str) -> int | None:
    """Create what is missing, within the caller's transaction; an older store gets what it lacks.

    Returns:
        The version that an older store had, which its caller tells once that is written; else None.

    Raises:
        DatabaseError: the store ``origin`` has another schema version, or such tables that are not ours.
    """
    present = set(sa.inspect(connection).get_table_names()) & set(metadata.tables)
    if present and schema_version.name not in present:
        raise DatabaseError(
            f"{origin} holds a table {sorted(present)[0]!r} that routelab did not make; use another database"
        )
    metadata.create_all(connection)
    held = list(connection.scalars(sa.select(schema_version.c.version)))
    if not held:
        connection.execute(sa.insert(schema_version), {"version": SCHEMA_VERSION})
    elif held[0] in range(1, SCHEMA_VERSION):
        _add_what_is_missing(connection)
        connection.execute(sa.update(schema_version).values(version=SCHEMA_VERSION))
        return int(held[0])
    elif held != [SCHEMA_VERSION]:
        raise DatabaseError(
            f"{origin} has schema version {', '.join(map(str, held))}, this routelab knows {SCHEMA_VERSION}; "
            "use the routelab that wrote it, or another database"
        )
    return None


def _add_what_is_missing(connection: sa.Connection) -> None:
    """Bring the tables of an older version up to date: no version ever took a column away or changed one."""
    inspector = sa.inspect(connection)
    for table in metadata.sorted_tables:
        present = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {definition}")
        for index in table.indexes:
            index.create(connection, checkfirst=True)
