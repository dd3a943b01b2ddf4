"""Reading the performance log: as one frame for evaluation, as matrices for training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from routelab.db_schema import decisions, drifts, outcomes
from routelab.errors import DatabaseError

Floats = NDArray[np.float64]

_ROWS_PER_READ = 20_000
_SEEN_BY_TRAINING = [
    *(decisions.c[name] for name in ("request_id", "decided_at", "provider", "providers", "propensity")),
    *(decisions.c[name] for name in ("features", "feature_set", "prompt_sha256")),
    *(outcomes.c[name] for name in ("quality", "quality_se", "cost_usd", "latency_s")),
]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Joined decisions and outcomes: n rows in order of decision, k providers in order of appearance.

    Args:
        request_ids: (n,) str.
        providers: (k,) names.
        X: (n, p) float32 features.
        quality: (n, k) in [0, 1]; NaN = unobserved or not graded.
        cost: (n, k) USD; NaN = unobserved.
        latency: (n, k) seconds; NaN = unobserved or unknown.
        propensity: (n, k) probability of the arm that was chosen; NaN = not chosen.
        decided_at: (n,) unix seconds of the row's first decision.
        prompt_sha256: (n,) str, or None where the prompt's hash was not recorded.
        quality_se: (n, k) standard error of ``quality``; NaN = unobserved or not stated.
    """

    request_ids: NDArray[np.object_]
    providers: tuple[str, ...]
    X: NDArray[np.float32]
    quality: Floats
    cost: Floats
    latency: Floats
    propensity: Floats
    decided_at: Floats
    prompt_sha256: NDArray[np.object_]
    quality_se: Floats


def read_log(connection: sa.Connection) -> pd.DataFrame:
    """Every decision with its outcome, where there is one; see :meth:`PerformanceDB.log`."""
    later = [column for column in outcomes.columns if column.name != "decision_id"]
    frame = _read(connection, sa.select(decisions, *later).outerjoin_from(decisions, outcomes))
    for name in ("providers", "probabilities", "objective"):
        frame[name] = frame[name].map(json.loads).astype(object)
    frame["features"] = frame["features"].map(lambda blob: np.frombuffer(blob, "<f4"))
    return frame


def read_drifts(connection: sa.Connection) -> pd.DataFrame:
    """Every drift; see :meth:`PerformanceDB.drifts`."""
    return pd.read_sql_query(sa.select(drifts).order_by(drifts.c.drift_id), connection).drop(columns="drift_id")


def read_training_data(connection: sa.Connection, feature_set: str | None) -> TrainingData:
    """Every decision that has an outcome, as matrices; see :meth:`PerformanceDB.get_training_data`."""
    query = sa.select(*_SEEN_BY_TRAINING).join_from(decisions, outcomes)
    if feature_set is not None:
        query = query.where(decisions.c.feature_set == feature_set)
    frame = _read(connection, query)
    if frame.empty:
        asked = "" if feature_set is None else f" for feature_set={feature_set!r}"
        raise DatabaseError(f"no decision{asked} has an outcome yet; record outcomes first")
    held = sorted(frame["feature_set"].unique())
    if len(held) > 1:
        raise DatabaseError(f"the log holds the feature sets {held}; pass feature_set=… to pick one")
    if len(frame["features"].map(len).unique()) > 1:
        raise DatabaseError(f"feature_set {held[0]!r} has rows of several lengths; record each as its own set")
    return _matrices(frame)


def _read(connection: sa.Connection, query: sa.Select[Any]) -> pd.DataFrame:
    """Rows in order of decision, streamed in batches; numbers are float64, NaN where unknown."""
    query = query.order_by(decisions.c.decided_at, decisions.c.decision_id)
    numbers = [c.name for c in query.selected_columns if isinstance(c.type, sa.Double | sa.BigInteger)]
    streamed = connection.execution_options(yield_per=_ROWS_PER_READ)
    batches = pd.read_sql_query(query, streamed, chunksize=_ROWS_PER_READ, dtype=dict.fromkeys(numbers, "float64"))
    return pd.concat(batches, ignore_index=True)


def _matrices(frame: pd.DataFrame) -> TrainingData:
    """One row per request and features; a provider chosen again for them opens another row."""
    repeat = frame.groupby(["request_id", "features", "provider"], sort=False).cumcount()
    row = frame.groupby([frame["request_id"], frame["features"], repeat], sort=False).ngroup().to_numpy()
    first = frame.iloc[np.unique(row, return_index=True)[1]]
    arms = frame["providers"].unique()
    providers = tuple(dict.fromkeys(name for names in arms for name in json.loads(names)))
    arm = pd.Index(providers).get_indexer(pd.Index(frame["provider"]))

    def matrix(column: str) -> Floats:
        cells = np.full((len(first), len(providers)), np.nan)
        cells[row, arm] = frame[column]
        return cells

    width = len(first["features"].iloc[0]) // 4
    return TrainingData(
        request_ids=first["request_id"].to_numpy(dtype=object),
        providers=providers,
        X=np.frombuffer(b"".join(first["features"]), "<f4").reshape(len(first), width).astype(np.float32),
        quality=matrix("quality"),
        cost=matrix("cost_usd"),
        latency=matrix("latency_s"),
        propensity=matrix("propensity"),
        decided_at=first["decided_at"].to_numpy(dtype=np.float64),
        prompt_sha256=first["prompt_sha256"].astype(object).where(first["prompt_sha256"].notna(), None).to_numpy(),
        quality_se=matrix("quality_se"),
    )
