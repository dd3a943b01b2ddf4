"""The one place that writes rows of the performance log, or says why it refuses one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from routelab.db_rows import Row
from routelab.db_schema import decisions, drifts, exposures, outcomes, shadows
from routelab.drift import Drift

_ROWS_PER_STATEMENT = 1_000


class Queued(NamedTuple):
    """A row, the name of its table, and who is told when the log refuses it."""

    table: str
    row: Row
    caller: object = None


class Refusal(NamedTuple):
    """Why the log refused a row, and who is told."""

    caller: object
    reason: str


@dataclass(frozen=True)
class _Kind:
    """A table whose rows are written once.

    Args:
        table: takes the rows.
        key: a row's name in the log, as columns.
        content: columns that must agree where the same key comes again.
        conflict: what is said where they do not, a format of the row and the content ``held``.
    """

    table: sa.Table
    key: tuple[str, ...]
    content: tuple[str, ...]
    conflict: str

    def key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.key)

    def content_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self.content)


def _all_but(table: sa.Table, *names: str) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if column.name not in names)


_KINDS = (
    _Kind(
        exposures,
        ("experiment", "unit_id"),
        ("variant",),
        "unit {unit_id!r} of experiment {experiment!r} was exposed to {held[0]!r}, not to {variant!r}; "
        "the first one stays",
    ),
    _Kind(
        decisions,
        ("decision_id",),
        _all_but(decisions, "decision_id"),
        "decision_id {decision_id!r} is in the log already; give each decision a new id",
    ),
    _Kind(  # after the decisions that they refer to
        outcomes,
        ("decision_id",),
        _all_but(outcomes, "decision_id", "observed_at"),  # the same feedback delivered twice carries two arrival times
        "decision_id {decision_id!r} has another outcome already; the first one stays",
    ),
    _Kind(
        shadows,
        ("decision_id",),
        _all_but(shadows, "decision_id"),
        "decision_id {decision_id!r} of a shadow is in the log already; give each decision a new id",
    ),
)


def insert_rows(connection: sa.Connection, queued: Mapping[str, Iterable[Queued]]) -> list[Refusal]:
    """Write rows, by name of their table, within the caller's transaction, which no other writer shares in time.

    The log is append-only: what is there stays, so an id known once stays known. The same row again is no error.

    Returns:
        A refusal for each row that contradicts the log; all other rows are written.
    """
    refused: list[Refusal] = []
    for kind in _KINDS:
        for batch in _batches(queued.get(kind.table.name, ())):
            if _insert(connection, kind.table, [item.row for item in batch]) < len(batch):
                refused += _contradictions(connection, kind, batch)
    return refused


def _batches(queued: Iterable[Queued]) -> Iterator[list[Queued]]:
    iterator = iter(queued)
    while batch := list(islice(iterator, _ROWS_PER_STATEMENT)):
        yield batch


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> int:
    """Insert the rows whose key is new, outcomes of known decisions only; how many these were."""
    columns = tuple(rows[0])
    statement = _insertion(table, columns, connection.dialect)
    if connection.dialect.name != "postgresql":
        return connection.exec_driver_sql(statement, list(rows)).rowcount
    return connection.exec_driver_sql(statement, tuple([row[name] for row in rows] for name in columns)).rowcount


@lru_cache(maxsize=64)
def _insertion(table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect) -> str:
    """The statement, of a row by names; for PostgreSQL of an array for each column, in half the time of row by row."""
    names, order = ", ".join(columns), ""
    source = f"(SELECT {', '.join(f':{name} AS {name}' for name in columns)}) AS new"
    if dialect.name == "postgresql":
        types = [table.c[name].type.compile(dialect) for name in columns]
        arrays = ", ".join(f"%s::{type_}[]" for type_ in types)
        source, order = f"unnest({arrays}) WITH ORDINALITY AS new({names}, place)", "ORDER BY place"
    known = "EXISTS (SELECT 1 FROM decisions AS made WHERE made.decision_id = new.decision_id)"
    rows = f"SELECT {names} FROM {source} WHERE {known if table is outcomes else 'true'} {order}"
    return f"INSERT INTO {table.name} ({names}) {rows} ON CONFLICT DO NOTHING"


def _contradictions(connection: sa.Connection, kind: _Kind, batch: list[Queued]) -> Iterator[Refusal]:
    """The rows of a batch, inserted by now, that the log holds otherwise or, as outcomes of no decision, not at all."""
    held = _held(connection, kind, batch)
    for item in batch:
        key = kind.key_of(item.row)
        if key not in held:
            reason = f"outcome of unknown decision_id {key[0]!r}; record and flush the decision first"
            yield Refusal(item.caller, reason)
        elif held[key] != kind.content_of(item.row):
            yield Refusal(item.caller, kind.conflict.format(**item.row, held=held[key]))


def _held(connection: sa.Connection, kind: _Kind, batch: list[Queued]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What the log holds under the keys of ``batch``: content by key."""
    query = sa.select(*(kind.table.c[name] for name in kind.key + kind.content))
    for name in kind.key:
        query = query.where(_among(connection, kind.table.c[name], [item.row[name] for item in batch]))
    parts = len(kind.key)
    return {tuple(row[:parts]): tuple(row[parts:]) for row in connection.execute(query)}


def _among(connection: sa.Connection, column: sa.Column[str], values: list[str]) -> sa.ColumnElement[bool]:
    """Whether ``column`` is one of ``values``; PostgreSQL takes them as one parameter, twice as fast."""
    if connection.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(values, sa.ARRAY(sa.Text)))
    return column.in_(values)


def insert_drift(
    connection: sa.Connection, drift: Drift, detected_at: float, decisions: int, policy_version: str
) -> None:
    """Write one drift within the caller's transaction."""
    found = {"detected_at": detected_at, "decisions": decisions, "policy_version": policy_version}
    connection.execute(sa.insert(drifts), asdict(drift) | found)


def delete_decisions(connection: sa.Connection, before: float, limit: int) -> int:
    """Delete the earliest ``limit`` decisions before ``before`` (unix s) and what belongs to them; how many these were.

    Shadows, which are not joined to decisions, go by their own time.
    """
    columns = decisions.c.decided_at, decisions.c.decision_id
    old = sa.select(decisions.c.decision_id).where(decisions.c.decided_at < before).order_by(*columns).limit(limit)
    connection.execute(sa.delete(shadows).where(shadows.c.decided_at < before))
    connection.execute(sa.delete(outcomes).where(outcomes.c.decision_id.in_(old)))
    return connection.execute(sa.delete(decisions).where(decisions.c.decision_id.in_(old))).rowcount
