"""Reading the performance log: as matrices for training, and what else it holds."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from routelab.db_batches import ROWS, Connect, read_batches
from routelab.db_schema import decisions, drifts, outcomes
from routelab.errors import DatabaseError

Floats = NDArray[np.float64]

_SEEN_BY_TRAINING = [
    *(decisions.c[name] for name in ("decision_id", "request_id", "decided_at", "provider", "providers")),
    *(decisions.c[name] for name in ("propensity", "features", "feature_set", "prompt_sha256")),
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


def read_drifts(connection: sa.Connection) -> pd.DataFrame:
    """Every drift; see :meth:`PerformanceDB.drifts`."""
    return pd.read_sql_query(sa.select(drifts).order_by(drifts.c.drift_id), connection).drop(columns="drift_id")


def read_training_data(connect: Connect, feature_set: str | None, rows: int = ROWS) -> TrainingData:
    """Every decision that has an outcome, as matrices; see :meth:`PerformanceDB.get_training_data`."""
    query = sa.select(*_SEEN_BY_TRAINING).join_from(decisions, outcomes)
    if feature_set is not None:
        query = query.where(decisions.c.feature_set == feature_set)
    providers: dict[str, None] = {}
    frames: list[pd.DataFrame] = []
    blocks: list[NDArray[np.float32]] = []
    sets: set[str] = set()
    for frame in read_batches(connect, query, rows):
        sets |= set(frame["feature_set"])
        if len(sets) > 1:
            raise DatabaseError(f"the log holds the feature sets {sorted(sets)}; pass feature_set=… to pick one")
        if len({*frame["features"].map(len), *(4 * block.shape[1] for block in blocks[:1])}) > 1:
            raise DatabaseError(f"feature_set {min(sets)!r} has rows of several lengths; record each as its own set")
        if len(frame):
            blocks.append(_features(frame))
            providers |= dict.fromkeys(name for names in frame["providers"].unique() for name in json.loads(names))
            frames.append(_compact(frame, tuple(providers)))
    if not frames:
        asked = "" if feature_set is None else f" for feature_set={feature_set!r}"
        raise DatabaseError(f"no decision{asked} has an outcome yet; record outcomes first")
    return _matrices(pd.concat(frames, ignore_index=True), tuple(providers), np.concatenate(blocks))


def _features(frame: pd.DataFrame) -> NDArray[np.float32]:
    """(rows, p) float32."""
    return np.frombuffer(b"".join(frame["features"]), "<f4").reshape(len(frame), -1).astype(np.float32, copy=False)


def _compact(frame: pd.DataFrame, providers: tuple[str, ...]) -> pd.DataFrame:
    """What is needed of a batch beside its features; these only to be told apart within a request, for which their
    64-bit hash does."""
    arm = pd.Index(providers).get_indexer(pd.Index(frame["provider"]))
    same = frame["features"].map(hash).astype(np.int64)
    return frame.drop(columns=["decision_id", "provider", "providers", "feature_set"]).assign(arm=arm, features=same)


def _matrices(frame: pd.DataFrame, providers: tuple[str, ...], X: NDArray[np.float32]) -> TrainingData:
    """One row per request and features; a provider chosen again for them opens another row."""
    repeat = frame.groupby(["request_id", "features", "arm"], sort=False).cumcount()
    row = frame.groupby([frame["request_id"], frame["features"], repeat], sort=False).ngroup().to_numpy()
    at = np.unique(row, return_index=True)[1]
    first = frame[["request_id", "decided_at", "prompt_sha256"]].iloc[at]

    def matrix(column: str) -> Floats:
        cells = np.full((len(first), len(providers)), np.nan)
        cells[row, frame["arm"]] = frame[column]
        return cells

    return TrainingData(
        request_ids=first["request_id"].to_numpy(dtype=object),
        providers=providers,
        X=X if len(at) == len(X) else X[at],
        quality=matrix("quality"),
        cost=matrix("cost_usd"),
        latency=matrix("latency_s"),
        propensity=matrix("propensity"),
        decided_at=first["decided_at"].to_numpy(dtype=np.float64),
        prompt_sha256=first["prompt_sha256"].astype(object).where(first["prompt_sha256"].notna(), None).to_numpy(),
        quality_se=matrix("quality_se"),
    )
