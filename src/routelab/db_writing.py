"""The one place that writes rows of the performance log, or says why it refuses one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from routelab.db_rows import GRADE, Row
from routelab.db_schema import decisions, drifts, exposures, outcomes, shadows
from routelab.drift import Drift

_ROWS_PER_STATEMENT = 1_000
_DELETED_AT_ONCE = 10_000


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

    def agrees(self, row: Mapping[str, Any], held: tuple[Any, ...]) -> bool:
        """Whether ``row`` is what the log holds; an answer that was sent without a grade may have got one since."""
        later = GRADE if self.table is outcomes and row["quality"] is None and row["error"] is None else ()
        return all(name in later or row[name] == value for name, value in zip(self.content, held, strict=True))


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
    "grades", last, are no table: each is added, once, to the outcome of an answer that has none.

    Returns:
        A refusal for each row that contradicts the log; all other rows are written.
    """
    refused: list[Refusal] = []
    for kind in _KINDS:
        for batch in _batches(queued.get(kind.table.name, ())):
            if _insert(connection, kind.table, [item.row for item in batch]) < len(batch):
                refused += _contradicting(kind, batch, _held(connection, kind, batch))
    for batch in _batches(queued.get("grades", ())):
        refused += _add_grades(connection, batch)
    return refused


def _batches(queued: Iterable[Queued]) -> Iterator[list[Queued]]:
    iterator = iter(queued)
    while batch := list(islice(iterator, _ROWS_PER_STATEMENT)):
        yield batch


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> int:
    """Insert the rows whose keys are new, without outcomes of unknown decisions; how many these were."""
    statement = _statement(table, tuple(rows[0]), connection.dialect)
    if connection.dialect.name != "postgresql":
        return connection.exec_driver_sql(statement, list(rows)).rowcount
    return connection.exec_driver_sql(statement, tuple([row[name] for row in rows] for name in rows[0])).rowcount


@lru_cache
def _statement(table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect) -> str:
    """As text, since SQLAlchemy's own statements take as long to make as to execute."""
    names = ", ".join(columns)
    if dialect.name == "postgresql":  # an array for each column takes half the time of a statement for each row
        arrays = ", ".join(f"%s::{table.c[name].type.compile(dialect)}[]" for name in columns)
        source, decision_id = f"SELECT * FROM unnest({arrays}) given ({names})", "given.decision_id"
    else:  # executed for each row
        source, decision_id = f"SELECT {', '.join(f':{name}' for name in columns)}", ":decision_id"
    # not EXISTS, from which PostgreSQL may make a join: then the rows come in any order, and the first may not stay
    known = f"(SELECT true FROM decisions WHERE decisions.decision_id = {decision_id})"
    condition = known if table is outcomes else "true"
    return f"INSERT INTO {table.name} ({names}) {source} WHERE {condition} ON CONFLICT DO NOTHING"


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


def _contradicting(
    kind: _Kind, batch: list[Queued], held: Mapping[tuple[Any, ...], tuple[Any, ...]]
) -> Iterator[Refusal]:
    """The rows of ``batch`` that are not what the log holds."""
    for item in batch:
        key = kind.key_of(item.row)
        if key not in held:  # nothing but the foreign key keeps a row out
            reason = f"outcome of unknown decision_id {key[0]!r}; record and flush the decision first"
            yield Refusal(item.caller, reason)
        elif not kind.agrees(item.row, held[key]):
            yield Refusal(item.caller, kind.conflict.format(**item.row, held=held[key]))


def insert_drift(
    connection: sa.Connection, drift: Drift, detected_at: float, decisions: int, policy_version: str
) -> None:
    """Write one drift within the caller's transaction."""
    found = {"detected_at": detected_at, "decisions": decisions, "policy_version": policy_version}
    connection.execute(sa.insert(drifts), asdict(drift) | found)


def delete_decisions(connection: sa.Connection, before: float) -> int:
    """Delete the earliest 10,000 decisions before ``before`` (unix s) with their outcomes; how many these were."""
    columns = decisions.c.decided_at, decisions.c.decision_id
    old = sa.select(decisions.c.decision_id).where(decisions.c.decided_at < before).order_by(*columns)
    old = old.limit(_DELETED_AT_ONCE)
    connection.execute(sa.delete(outcomes).where(outcomes.c.decision_id.in_(old)))
    return connection.execute(sa.delete(decisions).where(decisions.c.decision_id.in_(old))).rowcount


def delete_shadows(connection: sa.Connection, before: float) -> int:
    """Delete any 10,000 shadows before ``before`` (unix s), which join no decision; how many these were."""
    old = sa.select(shadows.c.decision_id).where(shadows.c.decided_at < before).limit(_DELETED_AT_ONCE)
    return connection.execute(sa.delete(shadows).where(shadows.c.decision_id.in_(old))).rowcount


def _add_grades(connection: sa.Connection, batch: list[Queued]) -> Iterator[Refusal]:
    """Add each grade to its outcome, where that is of an answer without one; what contradicts the log is refused."""
    ungraded = outcomes.c.quality.is_(None) & outcomes.c.error.is_(None)
    grade: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in GRADE}
    statement = sa.update(outcomes).where(outcomes.c.decision_id == sa.bindparam("graded"), ungraded).values(grade)
    rows = [item.row for item in batch]
    connection.execute(
        statement, [{"graded": row["decision_id"]} | {f"new_{name}": row[name] for name in GRADE} for row in rows]
    )
    query = sa.select(outcomes.c.decision_id, *(outcomes.c[name] for name in GRADE))
    query = query.where(_among(connection, outcomes.c.decision_id, [row["decision_id"] for row in rows]))
    held = {decision_id: tuple(grade) for decision_id, *grade in connection.execute(query)}
    for item in batch:
        decision_id = item.row["decision_id"]
        if decision_id not in held:
            yield Refusal(item.caller, f"grade of decision_id {decision_id!r}, which has no outcome; record that first")
        elif held[decision_id] != tuple(item.row[name] for name in GRADE):
            yield Refusal(item.caller, f"decision_id {decision_id!r} has another grade already; the first one stays")
