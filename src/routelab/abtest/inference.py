"""The statistical method that a plan names."""

from __future__ import annotations

from typing import Protocol

from routelab.abtest.confidence_sequence import ConfidenceSequence
from routelab.abtest.effect import Effect
from routelab.abtest.msprt import MSPRT
from routelab.abtest.plan import Plan
from routelab.abtest.welch import Welch
from routelab.arrays import Floats


class Inference(Protocol):
    """An interval and its p-value; both take effects over looks, too."""

    def radius(self, effect: Effect) -> Floats:
        """Half the width of the interval."""
        ...

    def p_value(self, effect: Effect, null: float = 0.0) -> Floats:
        """P-value of the difference being ``null``."""
        ...


def inference(plan: Plan, variant: str, metric: str) -> Inference:
    """The method of ``plan`` for one treatment and metric.

    >>> from routelab.abtest.plan import Metric
    >>> inference(Plan({"a": 0.5, "b": 0.5}, (Metric("q"),), units=4_000), "b", "q")
    ConfidenceSequence(planned=(2000.0, 2000.0), alpha=0.05, start=50)
    """
    if plan.method == "welch":
        return Welch(plan.alpha, plan.start)
    if plan.method == "msprt":
        return MSPRT((plan.tau or {})[metric], plan.alpha, plan.start)
    return ConfidenceSequence((plan.planned(plan.control), plan.planned(variant)), plan.alpha, plan.start)
