"""Records as rows of the performance log's tables; on the way of every decision, so cheap (10 µs)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, Literal

from routelab.db_records import Decision, Outcome, is_text
from routelab.db_schema import decisions, shadows
from routelab.errors import DatabaseError

Prompts = Literal["hashed", "stored", "omitted"]
Row = dict[str, Any]

_DECISION_COLUMNS = tuple(column.name for column in decisions.columns)
_decision_values = attrgetter(*_DECISION_COLUMNS)
_OUTCOME_COLUMNS = tuple(field.name for field in fields(Outcome))
GRADE = ("quality", "quality_se", "grading_cost_usd")  # what grading adds to the outcome of an answer
_outcome_values = attrgetter(*_OUTCOME_COLUMNS)
_list_to_json = json.JSONEncoder().encode
_object_to_json = json.JSONEncoder(sort_keys=True, allow_nan=False).encode


def decision_row(decision: Decision, prompts: Prompts = "hashed") -> Row:
    """``decision`` as the ``decisions`` table holds it; raises where JSON cannot hold its objective."""
    row = dict(zip(_DECISION_COLUMNS, _decision_values(decision), strict=True))
    try:
        row["objective"] = _object_to_json(dict(decision.objective))
    except (TypeError, ValueError) as error:
        raise DatabaseError(
            f"Decision.objective is {decision.objective!r}, which JSON cannot hold ({error}); "
            "give finite numbers, text, None, lists and mappings of them"
        ) from error
    row["providers"] = _list_to_json(decision.providers)
    row["probabilities"] = _list_to_json(decision.probabilities)
    row["features"] = decision.features.astype("<f4").tobytes()
    row["prompt"], row["prompt_sha256"] = _kept_of_prompt(decision, prompts)
    return row


def planned_row(decision: Decision | Callable[[], Decision], prompts: Prompts) -> Row | Callable[[], Row]:
    """The row of a decision; a function that makes it, where the decision is to be made later, too."""
    if isinstance(decision, Decision):
        return decision_row(decision, prompts)
    return lambda: decision_row(decision(), prompts)


def _kept_of_prompt(decision: Decision, prompts: Prompts) -> tuple[str | None, str | None]:
    """The text and its hash, as far as ``prompts`` lets them into the store."""
    if prompts == "omitted":
        return None, None
    text, digest = decision.prompt or None, decision.prompt_sha256
    if text is not None and digest is None:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if text is None or prompts == "hashed":
        return None, digest
    # no store holds lone surrogates and NUL, which a request may hold
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd"), digest


def shadow_row(shadow: str, decision: Decision) -> Row:
    """What the router called ``shadow`` would have chosen, as a row; DatabaseError for a name that is no text."""
    if not is_text(shadow):
        raise DatabaseError(f"a shadow's name is {shadow!r}; give a str without NUL characters or lone surrogates")
    row = decision_row(decision, "omitted") | {"shadow": shadow}
    return {column.name: row[column.name] for column in shadows.columns}


def grade_row(graded: Outcome) -> Row:
    """What grading adds to the outcome of an answer."""
    row = outcome_row(graded)
    return {name: row[name] for name in ("decision_id", *GRADE)}


def outcome_row(outcome: Outcome) -> Row:
    """``outcome`` as the ``outcomes`` table holds it."""
    return dict(zip(_OUTCOME_COLUMNS, _outcome_values(outcome), strict=True))
