"""The schema of the interchange table: a tidy frame comes back checked, or one error says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from routelab.errors import TableError
from routelab.request import is_finite
from routelab.tables.cells import KEYS, check_cells, offence
from routelab.tables.headers import check_headers

TEXTS = (*KEYS, "prompt", "task", "split")
NUMBERS = ("quality", "cost_usd", "input_tokens", "output_tokens", "latency_s", "timestamp")
PRICES = ("input_price_per_mtok", "output_price_per_mtok")
LOAD = "x_load_"
#: The ``x_`` columns that fill fields of ``LLMRequest``: lowest value, highest value, remedy.
RESERVED: dict[str, tuple[float, float, str]] = {
    "x_estimated_complexity": (0.0, 1.0, "Give a number in [0, 1]."),
    "x_requires_reasoning": (0.0, 1.0, "Give 0 or 1."),
    "x_time_of_day": (0.0, float(np.nextafter(24.0, 0.0)), "Give an hour in [0, 24)."),
    "x_user_tier": (0.0, 1.0, "Give 0 (free) or 1 (premium)."),
}
_REQUIRED = {
    "prompt_id": "Name the prompt of every row.",
    "provider": "Name the provider of every row.",
    "quality": "Give the grade of every row in [0, 1]; leave ungraded cells empty.",
    "cost_usd": f"Give the cost of every row, or input_tokens and output_tokens with {' and '.join(PRICES)}.",
}
_REMEDIES = _REQUIRED | {
    "prompt": "Give every prompt its text, or drop the column and bring features as x_… columns.",
}


def validate(frame: pd.DataFrame, origin: str) -> pd.DataFrame:
    """Check a tidy frame against the interchange format; the columns come back as text and float64.

    Where ``cost_usd`` is absent or empty it is filled with tokens × price, if ``input_tokens``,
    ``output_tokens``, ``input_price_per_mtok`` and ``output_price_per_mtok`` (USD per million tokens) are
    given; the prices are then dropped. ``timestamp`` may be unix seconds, ISO 8601 text or datetimes (UTC
    unless they say otherwise). An ``x_load_<provider>`` column whose provider has no row is dropped: it is what a
    table cut to fewer providers has left over.

    Args:
        frame: one row per (prompt, provider).
        origin: the file's name, or whatever an error should call the table.

    Raises:
        TableError: naming the origin, the column, the rule, the first offending rows and the remedy.

    >>> frame = pd.DataFrame({"prompt_id": ["a", "a"], "provider": ["p", "q"], "prompt": ["Hi"] * 2,
    ...                       "quality": [0.5, 1.5], "cost_usd": [0.0, 0.1]})
    >>> validate(frame, "t.csv")
    Traceback (most recent call last):
    routelab.errors.TableError: t.csv: column 'quality' must lie in [0, 1],
    but row 1 (prompt_id 'a', provider 'q') holds 1.5. Scale the grades to [0, 1]; leave ungraded cells empty.
    """
    import pandera.pandas as pa

    if frame.empty:
        raise TableError(f"{origin}: the table has no rows. Give one row per (prompt_id, provider).")
    tidy = frame.reset_index(drop=True)
    check_cells(tidy, origin)
    tidy = tidy.rename(columns=str)
    tidy = _priced(_normalised(tidy))
    check_headers([str(c) for c in tidy.columns], [*TEXTS, *NUMBERS, *PRICES], _REQUIRED, origin)
    try:
        tidy = pd.DataFrame(_schema([str(c) for c in tidy.columns]).validate(tidy, lazy=True))
    except pa.errors.SchemaErrors as error:
        raise TableError(f"{origin}: {_explain(error.schema_errors, tidy)}") from None
    _check_whole(tidy, origin)
    known = {f"{LOAD}{provider}" for provider in tidy["provider"]}
    return tidy.drop(columns=[c for c in tidy.columns if c in PRICES or (c.startswith(LOAD) and c not in known)])


def _normalised(frame: pd.DataFrame) -> pd.DataFrame:
    """Text columns as objects (None = missing, whole numbers as text) and timestamps as unix seconds."""
    tidy = frame.copy()
    for column in tidy.columns.intersection(list(TEXTS)):
        text = tidy[column]
        if pd.api.types.is_integer_dtype(text) and column in KEYS:
            text = text.astype(str)
        tidy[column] = text.astype(object).where(text.notna(), None)
    if "timestamp" in tidy:
        tidy["timestamp"] = _unix_seconds(tidy["timestamp"])
    return tidy


def _unix_seconds(stamps: pd.Series[Any]) -> pd.Series[Any]:
    """Seconds since 1970 (UTC); what is neither number nor date stays as it is, for the schema to refuse."""
    if pd.api.types.is_numeric_dtype(stamps):
        return stamps
    stamps = stamps.astype(object)
    readable = stamps.where(stamps.map(lambda v: is_finite(v) or isinstance(v, str | date | Decimal)))
    seconds = pd.to_numeric(readable, errors="coerce").astype(float)
    dates = pd.to_datetime(readable.where(seconds.isna()), utc=True, format="ISO8601", errors="coerce")
    seconds = seconds.fillna((dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1))
    unread = seconds.isna() & stamps.notna()
    return seconds.astype(object).where(~unread, stamps) if unread.any() else seconds


def _priced(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill ``cost_usd`` with tokens × price where it is missing."""
    if not {"input_tokens", "output_tokens", *PRICES} <= set(frame.columns):
        return frame
    tokens_in, tokens_out, price_in, price_out = (
        pd.to_numeric(frame[column], errors="coerce") for column in ("input_tokens", "output_tokens", *PRICES)
    )
    cost = (tokens_in * price_in + tokens_out * price_out) / 1e6
    given = frame.get("cost_usd")
    return frame.assign(cost_usd=cost if given is None else given.astype(object).where(given.notna(), cost))


def _schema(columns: Sequence[str]) -> Any:
    """The pandera schema for these columns; each check's ``error`` holds its rule and its remedy."""
    import pandera.pandas as pa

    def check(test: Any, rule: str, remedy: str, name: str | None = None) -> pa.Check:
        return pa.Check(test, error=f"{rule}\n{remedy}", name=name)

    finite = check(lambda s: ~np.isinf(s), "must be finite", "Leave unknown cells empty instead.")
    at_least_0 = check(lambda s: ~(s < 0.0), "must be ≥ 0", "Correct the sign.")
    text = check(lambda s: s.map(_is_text), "must hold text", "Give a text that is not blank.")

    def number(*checks: pa.Check, nullable: bool = True, required: bool = False) -> pa.Column:
        return pa.Column(float, [finite, *checks], nullable=nullable, required=required, coerce=True)

    def within(low: float, high: float, rule: str, remedy: str) -> pa.Check:
        return check(lambda s: s.isna() | s.between(low, high), rule, remedy)

    schema = {name: pa.Column(None, text, required=name in KEYS) for name in TEXTS}
    schema["split"] = pa.Column(
        None,
        check(lambda s: s.isin(["train", "eval"]), "must be 'train' or 'eval'", "Rename the splits."),
        required=False,
    )
    schema |= {name: number(at_least_0) for name in (*NUMBERS[2:5], *PRICES)} | {"timestamp": number()}
    grade = within(0.0, 1.0, "must lie in [0, 1]", "Scale the grades to [0, 1]; leave ungraded cells empty.")
    schema["quality"] = number(grade, required=True)
    schema["cost_usd"] = number(at_least_0, nullable=False, required=True)
    features = [c for c in columns if c.startswith("x_") and c != "x_"]
    for name in features:
        limits = [within(low, high, f"must lie in [{low:g}, {high:g}]", r) for low, high, r in _limits(name)]
        schema[name] = number(*limits, *([at_least_0] if name.startswith(LOAD) else []), nullable=False)
    constant = [c for c in ("prompt", "task", "split", *features) if c in columns]
    same = "must be the same for all providers of a prompt"
    checks = [check(lambda d, c=c: _agrees(d, c), same, "Correct it, or use two prompt_ids.", c) for c in constant]
    return pa.DataFrameSchema(schema, checks=checks, strict=True, unique=list(KEYS))


def _limits(name: str) -> list[tuple[float, float, str]]:
    return [RESERVED[name]] if name in RESERVED else []


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _agrees(frame: pd.DataFrame, column: str) -> pd.Series[bool]:
    """Rows whose ``column`` equals that of the first row of their prompt."""
    first = frame.groupby("prompt_id", sort=False, dropna=False)[column].transform("first")
    return frame[column].eq(first) | frame[column].isna()


def _explain(errors: Sequence[Any], frame: pd.DataFrame) -> str:
    """The most basic of the broken rules, in words."""
    order = ["DATATYPE_COERCION", "SERIES_CONTAINS_NULLS"]
    rank = {reason: place for place, reason in enumerate(order)}
    first = min(errors, key=lambda error: rank.get(error.reason_code.name, len(order)))
    reason, cases = first.reason_code.name, first.failure_cases
    rows = list(dict.fromkeys(int(i) for i in cases["index"]))
    if reason == "DUPLICATES":
        return offence("prompt_id", "must be unique together with provider", rows, frame, "Keep one of the rows.")
    column = str(first.column_name or first.schema.name or first.check.name)
    if reason == "DATATYPE_COERCION":
        return offence(column, "must hold numbers", rows, frame, _number_remedy(column, frame[column].iloc[rows]))
    if reason == "SERIES_CONTAINS_NULLS":
        remedy = _REMEDIES.get(column, "Fill these cells, or drop the column.")
        return offence(column, "must not be empty", rows, frame, remedy)
    rule, remedy = first.check.error.split("\n")
    return offence(column, rule, rows, frame, remedy)


def _number_remedy(column: str, values: pd.Series[Any]) -> str:
    """What to write instead of ``values``, none of which is a number."""
    if any(re.fullmatch(r"\s*[+-]?\d*,\d+\s*", str(value)) for value in values):
        return "Write a decimal point instead of the comma, such as 0.75."
    if column == "quality":
        return "Write numbers in [0, 1], such as 0.75; leave ungraded cells empty."
    return "Write plain numbers, such as 0.01; no unit."


def _check_whole(frame: pd.DataFrame, origin: str) -> None:
    """The rules on the table as a whole: two providers, and something to learn from."""
    providers = frame["provider"].unique().tolist()
    if len(providers) < 2:
        raise TableError(
            f"{origin}: column 'provider' names only {providers[0]!r}. Routing needs two or more providers."
        )
    loads = [c for c in frame.columns if c.startswith(LOAD)]
    own = [c for c in frame.columns if c.startswith("x_") and c not in RESERVED and c not in loads]
    if "prompt" not in frame and not own:
        raise TableError(f"{origin}: no features. Add the column 'prompt', or x_… columns of your own.")
