"""Logs as frames: the columns of a router's log, or those of a file, as the arguments of ``LoggedData``."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from routelab.arrays import Floats
from routelab.db_records import AFTER_FAILURE
from routelab.errors import OffPolicyError


def columns_of(frame: pd.DataFrame, providers: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The arguments of ``LoggedData`` from a frame with a row per decision, as ``PerformanceDB.log`` gives it.

    ``provider``, ``propensity`` and ``quality`` are required. Used where present: ``cost_usd``, ``latency_s``;
    ``providers`` with ``probabilities`` (a list each, in files also as JSON); ``features`` (a list) or columns ``x_…``;
    ``unit_id``, else ``request_id``. Rows without any outcome wait for it and are left out, as are choices after a
    failure (``policy`` says so).

    Args:
        frame: n rows.
        providers: names in the order of the columns; None takes those of the log.

    Raises:
        OffPolicyError: a column is missing, no row has an outcome, or there are several feature sets.

    >>> frame = pd.DataFrame({"provider": ["b", "a"], "propensity": [0.5, 0.5], "quality": [1.0, None]})
    >>> columns_of(frame)["providers"], columns_of(frame)["action"]
    (('b',), array([0]))
    """
    missing = [name for name in ("provider", "propensity", "quality") if name not in frame]
    if missing:
        raise OffPolicyError(
            f"the log has no column {', '.join(map(repr, missing))}; it has {', '.join(map(str, frame.columns))}"
        )
    frame = frame[_has_outcome(frame)]
    if "policy" in frame:
        frame = frame[~frame["policy"].astype(str).str.endswith(AFTER_FAILURE)]
    if frame.empty:
        raise OffPolicyError("no decision of the log has an outcome yet; record outcomes first")
    listed = "providers" in frame and "probabilities" in frame
    names = providers or _names(frame, listed)
    action = pd.Index(names).get_indexer(pd.Index(frame["provider"].astype(str)))
    if (action < 0).any():
        stranger = frame["provider"].iloc[int((action < 0).argmax())]
        raise OffPolicyError(f"provider {stranger!r} of the log is none of {', '.join(names)}; name them all")
    return {
        "action": action,
        "quality": _numbers(frame, "quality"),
        "propensity": _numbers(frame, "propensity"),
        "providers": names,
        "cost": _numbers(frame, "cost_usd") if "cost_usd" in frame else None,
        "latency": _numbers(frame, "latency_s") if "latency_s" in frame else None,
        "X": _features(frame),
        "probabilities": _probabilities(frame, names) if listed else None,
        "units": _units(frame),
        "rows": frame.index,
    }


def kept(frame: pd.DataFrame, **only: str | None) -> pd.DataFrame:
    """The rows whose columns hold the values of ``only``, None = any.

    Raises:
        OffPolicyError: there is no such column, or no such row.

    >>> kept(pd.DataFrame({"policy": ["x", "y"]}), policy="y", feature_set=None).index.tolist()
    [1]
    """
    for name, value in only.items():
        if value is None:
            continue
        if name not in frame:
            raise OffPolicyError(f"the log has no column {name!r}; leave that filter out")
        held = frame[name].astype(str)
        frame = frame[held == value]
        if frame.empty:
            raise OffPolicyError(
                f"no decision of the log has {name} {value!r}; it holds {', '.join(sorted(set(held)))}"
            )
    return frame


def _has_outcome(frame: pd.DataFrame) -> pd.Series[bool]:
    outcomes = [name for name in ("quality", "cost_usd", "latency_s") if name in frame]
    return frame[outcomes].notna().any(axis=1)


def _numbers(frame: pd.DataFrame, name: str) -> Floats:
    try:
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise OffPolicyError(f"column {name!r} of the log is not all numbers ({error})") from None


def _names(frame: pd.DataFrame, listed: bool) -> tuple[str, ...]:
    """All providers in order of appearance in the lists, or sorted where there are none."""
    if not listed:
        return tuple(sorted(frame["provider"].astype(str).unique()))
    return tuple(dict.fromkeys(name for names in frame["providers"].map(_list).unique() for name in names))


def _list(value: Any) -> tuple[Any, ...]:
    """A list of a cell, which files hold as an array or as JSON."""
    try:
        return tuple(json.loads(value)) if isinstance(value, str) else tuple(value)
    except (TypeError, ValueError):
        raise OffPolicyError(f"{value!r} is no list; give lists, or JSON in a CSV file") from None


def _probabilities(frame: pd.DataFrame, names: tuple[str, ...]) -> Floats:
    """Logged probabilities (n, k), 0 for providers that a decision did not know."""
    logged, column = np.zeros((len(frame), len(names))), {name: j for j, name in enumerate(names)}
    there = frame["providers"].map(_list)
    given = frame["probabilities"].map(_list).to_numpy()
    for arms in there.unique():
        rows = np.flatnonzero(there == arms)
        try:
            columns = np.array([column[str(arm)] for arm in arms])
            logged[rows[:, None], columns] = np.stack([given[row] for row in rows])
        except (KeyError, ValueError) as error:
            raise OffPolicyError(f"probabilities and providers of the log disagree ({error})") from None
    return logged


def _features(frame: pd.DataFrame) -> Floats | None:
    if "features" in frame:
        held = sorted(frame["feature_set"].unique()) if "feature_set" in frame else []
        if len(held) > 1:
            raise OffPolicyError(f"the log holds the feature sets {', '.join(held)}; keep the rows of one")
        rows = frame["features"].map(_list)
        if len(rows.map(len).unique()) > 1:
            raise OffPolicyError("column 'features' has rows of several lengths; keep the rows of one feature set")
        return np.array(rows.to_list(), dtype=np.float64)
    own = [name for name in frame.columns if str(name).startswith("x_")]
    return frame[own].to_numpy(dtype=np.float64) if own else None


def _units(frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Number of the unit of each row: its user, else its request, else the row itself."""
    unit = pd.Series(np.arange(len(frame)), index=frame.index).map("row {}".format)
    for name in ("request_id", "unit_id"):
        if name in frame:
            unit = frame[name].astype(object).map(f"{name} {{}}".format, na_action="ignore").fillna(unit)
    return pd.factorize(unit)[0]
