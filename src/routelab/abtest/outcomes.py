"""From outcomes to moments per variant: checked, summed up to units, and forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from routelab.abtest.moments import Moments
from routelab.abtest.plan import Metric, Plan
from routelab.arrays import Floats
from routelab.errors import ExperimentError

Indices = NDArray[np.intp]


def columns_of(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Where each metric's numerator, denominator and covariate stand among the columns of the moments.

    >>> columns_of(Plan({"a": 1, "b": 1}, (Metric("q"), Metric("c", covariate="was")), units=100))
    {'q': (0, 1), 'c': (2, 3, 4)}
    """
    places: dict[str, tuple[int, ...]] = {}
    for metric in plan.metrics:
        begin = sum(map(len, places.values()))
        places[metric.name] = tuple(range(begin, begin + (3 if metric.covariate else 2)))
    return places


def unit_moments(data: pd.DataFrame | Iterable[pd.DataFrame], plan: Plan) -> dict[str, Moments]:
    """The moments of the units of each variant, in one pass.

    Args:
        data: one row per outcome with the columns ``unit``, ``variant`` and those of the metrics, and, where there
            are, ``exposed_at`` (unix seconds; needed where the plan ``ends_at`` some time) and ``decision_id``, without
            which a unit has one row only. A frame; or chunks of one, ordered by ``unit``, of which no more than one is
            held at a time; a decision_id that two units of different chunks share is then not found.
        plan: of the test.

    Raises:
        ExperimentError: the data is broken; names the column, the unit and the value.
    """
    width = sum(map(len, columns_of(plan).values()))
    moments = {variant: Moments.of(np.empty((0, width))) for variant in plan.shares}
    for chunk in _whole_units(data, plan):
        variant, rows = _unit_rows(chunk, plan)
        for code, name in enumerate(plan.shares):
            moments[name] += Moments.of(rows[variant == code])
    return moments


def _whole_units(data: pd.DataFrame | Iterable[pd.DataFrame], plan: Plan) -> Iterator[pd.DataFrame]:
    """Chunks in which the rows of a unit stand together, and all of them."""
    if not isinstance(data, Iterable):
        raise ExperimentError(f"the outcomes are {data!r}; give a frame, or chunks of one")
    if isinstance(data, pd.DataFrame):
        _check_columns(data, plan)
        yield data.iloc[np.argsort(pd.factorize(data["unit"])[0], kind="stable")]
        return
    held = None
    for fresh in data:
        _check_columns(fresh, plan)
        chunk = fresh if held is None else pd.concat([held, fresh])
        units = chunk["unit"].to_numpy()
        if (unordered := _descends(units)).any():
            place = int(unordered.argmax())
            raise ExperimentError(
                f"unit {units[place + 1]!r} comes after {units[place]!r}; order the chunks by unit, or give one frame"
            )
        last = len(units) and int((units != units[-1]).sum())
        yield chunk.iloc[:last]
        held = chunk.iloc[last:].copy()  # a view would keep the chunk
    if held is not None:
        yield held


def _descends(units: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Where a unit is smaller than the one before."""
    try:
        return np.asarray(units[1:] < units[:-1])
    except TypeError:
        raise ExperimentError("the chunks have units of more than one type; give strings, or ints, alone") from None


def _check_columns(frame: pd.DataFrame, plan: Plan) -> None:
    """Refuse what is no frame, one that lacks a column, and a unit without a name."""
    if not isinstance(frame, pd.DataFrame):
        raise ExperimentError(f"the outcomes are {frame!r}; give a frame, or chunks of one")
    used = {"unit", "variant", *(c for metric in plan.metrics for c in _columns(metric))}
    used |= set() if plan.ends_at is None else {"exposed_at"}
    if missing := sorted(used - set(frame.columns)):
        raise ExperimentError(f"the outcomes have no column {missing[0]!r}; they have {', '.join(map(str, frame))}")
    if frame["unit"].isna().any():
        raise ExperimentError("an outcome has no unit; name in `unit` what was assigned: a user, a conversation")


def _columns(metric: Metric) -> list[str]:
    per = [] if metric.per in ("request", "unit") else [metric.per]
    return [metric.column, *per, *([metric.covariate] if metric.covariate else [])]


def _unit_rows(chunk: pd.DataFrame, plan: Plan) -> tuple[Indices, Floats]:
    """Code of the variant (u,) and sums (u, d) of each unit of a chunk."""
    units = chunk["unit"].to_numpy()
    starts = np.flatnonzero(np.append(True, units[1:] != units[:-1])[: len(units)])
    variant = _variants(chunk, starts, plan)
    _check_once(chunk, starts)
    _check_exposure(chunk, plan)
    if not len(chunk):
        return variant, np.empty((0, sum(map(len, columns_of(plan).values()))))
    columns = [column for metric in plan.metrics for column in _unit_columns(chunk, starts, metric)]
    return variant, np.column_stack(columns)


def _variants(chunk: pd.DataFrame, starts: Indices, plan: Plan) -> Indices:
    """Code (u,) of each unit's variant."""
    codes = pd.Index(list(plan.shares), dtype=object).get_indexer(pd.Index(chunk["variant"], dtype=object))
    if (unknown := codes < 0).any():
        row = chunk.iloc[int(unknown.argmax())]
        raise ExperimentError(
            f"outcome of unit {row['unit']!r}, which has variant {row['variant']!r}; the test knows "
            f"{', '.join(plan.shares)}; leave out units that were not exposed"
        )
    first = codes[starts]
    if (moved := codes != np.repeat(first, np.diff(np.append(starts, len(codes))))).any():
        unit = chunk["unit"].iloc[int(moved.argmax())]
        raise ExperimentError(f"unit {unit!r} has outcomes in two variants; find out why its assignment changed")
    return first


def _check_once(chunk: pd.DataFrame, starts: Indices) -> None:
    """Refuse an outcome that is there twice in the chunk: across chunks memory would grow with the data."""
    if "decision_id" in chunk:
        if (twice := chunk["decision_id"].duplicated()).any():
            value = chunk["decision_id"][twice].iloc[0]
            raise ExperimentError(f"decision_id {value!r} has two outcomes; keep one row of each decision")
    elif len(starts) < len(chunk):
        again = np.setdiff1d(np.arange(len(chunk)), starts)[0]
        raise ExperimentError(
            f"unit {chunk['unit'].iloc[again]!r} has two rows; keep one, or, if they are two requests, tell them apart "
            "by a column `decision_id`"
        )


def _check_exposure(chunk: pd.DataFrame, plan: Plan) -> None:
    if plan.ends_at is None:
        return
    # an unknown time is no proof that it was before the end
    if (late := ~(chunk["exposed_at"].to_numpy(float) < plan.ends_at)).any():
        row = chunk.iloc[int(late.argmax())]
        raise ExperimentError(
            f"unit {row['unit']!r} was exposed at {row['exposed_at']}, the test ended at {plan.ends_at}; "
            "leave such units out"
        )


def _unit_columns(chunk: pd.DataFrame, starts: Indices, metric: Metric) -> list[Floats]:
    """Numerator, denominator and covariate (u,) of each unit."""
    values = _numbers(chunk, metric.column)
    if metric.above is not None:
        values = (values > metric.above).astype(float)
    if metric.per == "unit":
        counted = np.ones(len(starts))
    elif metric.per == "request":
        counted = np.diff(np.append(starts, len(chunk))).astype(float)
    else:
        counted = np.add.reduceat(_numbers(chunk, metric.per), starts)
    columns = [np.add.reduceat(values, starts), counted]
    if metric.covariate:
        before = _numbers(chunk, metric.covariate)
        if (np.minimum.reduceat(before, starts) < np.maximum.reduceat(before, starts)).any():
            raise ExperimentError(
                f"covariate {metric.covariate!r} of metric {metric.name!r} changes within a unit; "
                "give what was known before its exposure"
            )
        columns.append(before[starts])
    return columns


def _numbers(chunk: pd.DataFrame, column: str) -> Floats:
    """A column as finite floats."""
    try:
        values = chunk[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise ExperimentError(f"column {column!r} holds {chunk[column].iloc[0]!r}, …; give numbers") from None
    if (broken := ~np.isfinite(values)).any():
        place = int(broken.argmax())
        raise ExperimentError(
            f"{column} of unit {chunk['unit'].iloc[place]!r} is {values[place]}; say what it counts as, or leave out "
            "its units in all variants alike"
        )
    return values
