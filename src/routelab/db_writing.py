"""The one place that writes rows of the performance log, or says why it refuses one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from itertools import islice
from operator import itemgetter
from typing import Any, Literal

import sqlalchemy as sa

from routelab.db_records import Decision, Outcome
from routelab.db_schema import decisions, drifts, exposures, outcomes, shadows
from routelab.drift import Drift
from routelab.errors import DatabaseError

Prompts = Literal["hashed", "stored", "omitted"]
Row = dict[str, Any]
_OUTCOME_FIELDS = tuple(field.name for field in fields(Outcome))
# The same feedback delivered twice carries two arrival times.
_CONTENT = [name for name in _OUTCOME_FIELDS if name not in ("decision_id", "observed_at")]
_content = itemgetter(*_CONTENT)
_IDS_PER_QUERY = 1_000


def decision_row(decision: Decision, prompts: Prompts = "hashed") -> Row:
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
    return row | _kept_of_prompt(decision, prompts)


def _kept_of_prompt(decision: Decision, prompts: Prompts) -> Row:
    """The text and its hash, as far as ``prompts`` lets them into the store."""
    text, digest = decision.prompt or None, decision.prompt_sha256
    if text is not None and digest is None:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if text is not None:  # no store holds NUL and lone surrogates, which a request may hold
        text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return {
        "prompt": text if prompts == "stored" else None,
        "prompt_sha256": None if prompts == "omitted" else digest,
    }


def outcome_row(outcome: Outcome) -> Row:
    """``outcome`` as the ``outcomes`` table holds it."""
    return {name: getattr(outcome, name) for name in _OUTCOME_FIELDS}


def insert_rows(connection: sa.Connection, rows: Mapping[str, Iterable[Row]]) -> list[str]:
    """Write rows, by name of their table, within the caller's transaction.

    The log is append-only: what is there stays, so an id known once stays known.

    Returns:
        One sentence for each row that the log refused; all other rows are written.
    """
    refused: list[str] = []
    for table, insert in _INSERTS.items():
        for batch in _batches(rows.get(table, ())):
            insert(connection, batch, refused)
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


def _insert_exposures(connection: sa.Connection, rows: Collection[Row], refused: list[str]) -> None:
    table = exposures.c
    query = sa.select(table.experiment, table.unit_id, table.variant)
    for column in (table.experiment, table.unit_id):
        query = query.where(column.in_({row[column.name] for row in rows}))
    held = {(experiment, unit): variant for experiment, unit, variant in connection.execute(query)}
    accepted = []
    for row in rows:
        experiment, unit, variant = row["experiment"], row["unit_id"], row["variant"]
        if (experiment, unit) not in held:
            held[experiment, unit] = variant
            accepted.append(row)
        elif held[experiment, unit] != variant:
            refused.append(
                f"unit {unit!r} of experiment {experiment!r} was exposed to {held[experiment, unit]!r}, not to "
                f"{variant!r}; the first one stays"
            )
    if accepted:
        connection.execute(sa.insert(exposures), accepted)


def _insert_shadows(connection: sa.Connection, rows: Collection[Row], _refused: list[str]) -> None:
    names = [column.name for column in shadows.columns]
    connection.execute(sa.insert(shadows), [{name: row[name] for name in names} for row in rows])


def insert_drift(
    connection: sa.Connection, drift: Drift, detected_at: float, decisions: int, policy_version: str
) -> None:
    """Write one drift within the caller's transaction."""
    found = {"detected_at": detected_at, "decisions": decisions, "policy_version": policy_version}
    connection.execute(sa.insert(drifts), asdict(drift) | found)


def _ids(rows: Collection[Row]) -> list[str]:
    return [row["decision_id"] for row in rows]


_INSERTS: dict[str, Callable[[sa.Connection, Collection[Row], list[str]], None]] = {
    "exposures": _insert_exposures,
    "decisions": _insert_decisions,
    "outcomes": _insert_outcomes,  # after the decisions that they refer to
    "shadows": _insert_shadows,
}
