"""What experiments add to the performance log: who was exposed to what, and what shadows would have chosen."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pandas as pd
import sqlalchemy as sa

from routelab.db_records import CANCELLED, check_number, check_text
from routelab.db_schema import decisions, exposures, outcomes, shadows
from routelab.errors import DatabaseError

_UNIT = exposures.c.unit_id.label("unit")


@dataclass(frozen=True, slots=True)
class Exposure:
    """The first time that an experiment treated a unit.

    Args:
        experiment: its name.
        unit_id: whoever is treated alike.
        variant: that the unit gets.
        exposed_at: unix seconds.

    Raises:
        DatabaseError: a name is no text, or the time is not finite.
    """

    experiment: str
    unit_id: str
    variant: str
    exposed_at: float

    def __post_init__(self) -> None:
        """Check every field."""
        check_text(self, "experiment", "unit_id", "variant")
        object.__setattr__(self, "exposed_at", check_number(self, "exposed_at", -math.inf, math.inf))


def read_exposures(connection: sa.Connection, experiment: str | None) -> pd.DataFrame:
    """Every exposure in its order; see :meth:`PerformanceDB.exposures`."""
    query = sa.select(exposures.c.experiment, _UNIT, exposures.c.variant, exposures.c.exposed_at)
    if experiment is not None:
        query = query.where(exposures.c.experiment == experiment)
    return pd.read_sql_query(query.order_by(exposures.c.exposed_at, exposures.c.unit_id), connection)


def read_experiment(connection: sa.Connection, experiment: str) -> pd.DataFrame:
    """One row for each answered request of an experiment; see :meth:`PerformanceDB.experiment`."""
    known = connection.scalars(sa.select(exposures.c.experiment).distinct()).all()
    if experiment not in known:
        raise DatabaseError(f"nobody was exposed to experiment {experiment!r}, only to {sorted(known)}; check its name")
    same_unit = (exposures.c.experiment == decisions.c.experiment) & (exposures.c.unit_id == decisions.c.unit_id)
    query = sa.select(
        _UNIT,
        *(exposures.c.variant, exposures.c.exposed_at),
        *(decisions.c[name] for name in ("request_id", "decision_id", "decided_at")),
        *(outcomes.c[name] for name in ("observed_at", "quality", "cost_usd", "latency_s")),
        outcomes.c.error.is_not(None).label("failed"),
        sa.func.coalesce(outcomes.c.error == CANCELLED, sa.false()).label("cancelled"),
    )
    query = query.select_from(decisions.join(exposures, same_unit).outerjoin(outcomes))
    query = query.where(decisions.c.experiment == experiment)
    query = query.order_by(decisions.c.decided_at, outcomes.c.error.is_(None), decisions.c.decision_id)
    numbers = dict.fromkeys(("observed_at", "quality", "cost_usd", "latency_s"), "float64")
    numbers |= {"failed": "bool", "cancelled": "bool"}
    return _per_request(pd.read_sql_query(query, connection, dtype=numbers))


def _per_request(attempts: pd.DataFrame) -> pd.DataFrame:
    """One row per finished request: what all its attempts cost and took, and what the one that answered came to."""
    request = ["unit", "request_id"]
    attempts = attempts.assign(
        **attempts.groupby(request, sort=False)[["cost_usd", "latency_s"]].transform("sum", min_count=1),
        pending=attempts["observed_at"].isna(),
    )
    waiting = attempts.groupby(request, sort=False)["pending"].transform("last").astype(bool)
    answered_last = attempts[~waiting].sort_values("failed", ascending=False, kind="stable")
    ends = answered_last.drop_duplicates(request, keep="last").sort_index()
    return ends[~ends["cancelled"]].drop(columns=["pending", "cancelled"]).reset_index(drop=True)


def read_shadows(connection: sa.Connection) -> pd.DataFrame:
    """Every choice of a shadow in its order; see :meth:`PerformanceDB.shadows`."""
    frame = pd.read_sql_query(sa.select(shadows).order_by(shadows.c.decided_at, shadows.c.decision_id), connection)
    for name in ("providers", "probabilities", "objective"):
        frame[name] = frame[name].map(json.loads).astype(object)
    return frame
