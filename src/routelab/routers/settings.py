"""The arguments that all routers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from routelab.features import RequestFeaturizer
from routelab.performance_db import PerformanceDB
from routelab.policies import BudgetPacer, Objective
from routelab.routers.stickiness import Stickiness


class Settings(TypedDict, total=False):
    """Arguments that every router takes by name; ``Router`` says what they are."""

    featurizer: RequestFeaturizer | None
    db: PerformanceDB | None
    objective: Objective
    pacer: BudgetPacer | None
    horizon: int
    deadline_s: float | None
    retry_share: float
    stickiness: Stickiness | None
    seed: int
    clock: Callable[[], float]
