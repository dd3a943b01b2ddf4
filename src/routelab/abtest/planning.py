"""Planning from a pilot: the power of a test, the smallest effect that it finds, and how long it must run.

In units of the standard error at the planned size, the difference over looks is a Brownian motion with drift, for the
fixed test and the sequential ones alike: it finds the effect if the path leaves the method's interval at some look.
20,000 paths with one seed give powers to ±.01. Planned is the first treatment against the control, with α for it alone:
with several metrics or treatments, Holm's correction takes some power, and so does, of rare events, the wait for 10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from routelab.abtest.effect import Effect, effect_of, ratio
from routelab.abtest.inference import inference
from routelab.abtest.outcomes import unit_moments
from routelab.abtest.plan import Metric, Plan
from routelab.arrays import Floats, float_array
from routelab.errors import ExperimentError
from routelab.request import is_finite

_PATHS = 20_000
_MOST_UNITS = 10**12


@dataclass(frozen=True, slots=True)
class Pilot:
    """What planning must know of a metric.

    Args:
        metric: its name.
        mean: its value.
        sd: standard deviation of a unit, > 0; of a ratio that of its linearisation, with a covariate what that leaves.

    >>> outcomes = pd.DataFrame({"unit": ["a", "b", "c", "d"], "solved": [1.0, 0.0, 0.0, 1.0]})
    >>> Pilot.of(outcomes, Metric("solved"))
    Pilot(metric='solved', mean=0.5, sd=0.577...)
    """

    metric: str
    mean: float
    sd: float

    def __post_init__(self) -> None:
        """Check the spread."""
        if not (is_finite(self.sd) and self.sd > 0.0):
            raise ExperimentError(f"Pilot.sd of {self.metric!r} is {self.sd!r}; give a pilot in which it varies")

    @classmethod
    def of(cls, outcomes: pd.DataFrame, metric: Metric) -> Pilot:
        """From outcomes before the test, one row each, as the analysis takes them; ``variant`` is not needed."""
        plan = Plan({"pilot": 1.0, "none": 1.0}, (metric,), units=2)
        arm = unit_moments(outcomes.assign(variant="pilot"), plan)["pilot"]
        columns = tuple(range(len(arm.mean)))
        variance = float(effect_of(arm, arm, columns).treatment_variance) * arm.count
        return cls(metric.name, ratio(arm, columns), variance**0.5)


@dataclass(frozen=True, slots=True)
class RunLength:
    """How long a test must run.

    Args:
        units: to plan, in all variants together.
        expected: mean number after which it ends if the effect is as assumed, stopping at the first finding.
    """

    units: int
    expected: float


def power(effect: float, pilot: Pilot, plan: Plan, *, looks: int = 40) -> float:
    """Probability that ``plan`` finds a difference of ``effect``, in units of the metric, by its planned end.

    >>> plan = Plan({"a": 0.5, "b": 0.5}, (Metric("solved"),), units=4_000)
    >>> pilot = Pilot("solved", mean=0.30, sd=0.46)
    >>> round(power(0.05, pilot, plan), 2), round(power(0.05, pilot, replace(plan, method="welch")), 2)
    (0.79, 0.93)
    """
    return float((_needed_drifts(pilot, plan, looks) <= abs(effect) / _final_error(pilot, plan)).mean())


def minimum_effect(pilot: Pilot, plan: Plan, *, power: float = 0.8, looks: int = 40) -> float:
    """The smallest difference, in units of the metric, that ``plan`` finds with probability ``power``.

    >>> plan = Plan({"a": 0.5, "b": 0.5}, (Metric("solved"),), units=4_000)
    >>> round(minimum_effect(Pilot("solved", mean=0.30, sd=0.46), plan), 3)
    0.051
    """
    needed = np.quantile(_needed_drifts(pilot, plan, looks), _share("power", power), method="higher")
    return float(needed) * _final_error(pilot, plan)


def run_length(effect: float, pilot: Pilot, plan: Plan, *, power: float = 0.8, looks: int = 40) -> RunLength:
    """The units with which ``plan``, whatever it plans now, finds ``effect`` with probability ``power``.

    Raises:
        ExperimentError: no effect, or one that 10¹² units do not find.

    >>> plan = Plan({"a": 0.5, "b": 0.5}, (Metric("solved"),), units=4_000)
    >>> run_length(0.05, Pilot("solved", mean=0.30, sd=0.46), plan)
    RunLength(units=4096, expected=2599.8...)
    """
    if not is_finite(effect) or effect == 0.0:
        raise ExperimentError(f"the effect to be found is {effect!r}; give a difference other than 0")
    low, high = 2, 4
    while minimum_effect(pilot, replace(plan, units=high), power=power, looks=looks) > abs(effect):
        low, high = high, 2 * high
        if high > _MOST_UNITS:
            raise ExperimentError(f"{_MOST_UNITS:,} units do not find an effect of {effect!r}; look for a larger one")
    while high - low > max(1, high // 1_000):
        middle = (low + high) // 2
        short = minimum_effect(pilot, replace(plan, units=middle), power=power, looks=looks) > abs(effect)
        low, high = (middle, high) if short else (low, middle)
    planned = replace(plan, units=high)
    return RunLength(high, high * _mean_stop(abs(effect) / _final_error(pilot, planned), pilot, planned, looks))


def quantile_guardrail(latencies: ArrayLike, margin: float, *, column: str = "latency_s", q: float = 0.95) -> Metric:
    """A guardrail on a quantile of a column: no more outcomes above the pilot's quantile than a shift would bring.

    Its metric is the share of requests above the pilot's q-quantile, a mean of 0 and 1 that every method here holds
    for, with several requests per unit, too. Its margin is the share that comes above when the pilot's outcomes all
    rise by ``margin``. So it is exact for a shift; of a change of shape it sees what passes that threshold, not how
    far.

    Args:
        latencies: (n,) outcomes of the control before the test.
        margin: rise > 0 that is tolerated, in units of the column.
        column: of the outcomes.
        q: in (0, 1).

    Raises:
        ExperimentError: a margin that no outcome of the pilot lies within.

    >>> quantile_guardrail(np.linspace(0.0, 2.0, 201), margin=0.1)
    Metric(name='latency_s p95', column='latency_s', per='request', lower_is_better=True, margin=0.0497..., ...)
    """
    values = float_array("latencies", latencies, ndim=1)
    if not len(values):
        raise ExperimentError("the pilot has no outcome; give some of the control from before the test")
    above = float(np.quantile(values, _share("q", q)))
    share = float((values > above - margin).mean() - (values > above).mean())
    if not share > 0.0:
        raise ExperimentError(f"no outcome of the pilot lies within {margin!r} below {above:.6g}; give a larger margin")
    return Metric(f"{column} p{100.0 * q:g}", column, lower_is_better=True, margin=share, above=above)


def _share(name: str, value: float) -> float:
    if not (is_finite(value) and 0.0 < value < 1.0):
        raise ExperimentError(f"{name} is {value!r}; give a number in (0, 1)")
    return value


def _final_error(pilot: Pilot, plan: Plan) -> float:
    """Standard error of the difference at the planned size."""
    units = np.array([plan.planned(variant) for variant in (plan.control, plan.treatments[0])])
    return float(pilot.sd * np.sqrt((1.0 / units).sum()))


def _fractions(plan: Plan, looks: int) -> Floats:
    """Shares (k,) of the planned units at the looks that count."""
    looks = 1 if plan.method == "welch" else looks
    return np.arange(1, looks + 1) / looks


def _paths(looks: int) -> Floats:
    """Brownian motions at equal looks up to time 1, (20,000, k)."""
    steps = np.random.default_rng(0).normal(size=(_PATHS, looks))
    return np.asarray(np.cumsum(steps, axis=1) / np.sqrt(looks))


def _bounds(pilot: Pilot, plan: Plan, t: Floats) -> Floats:
    """What the motion must exceed at each look (k,)."""
    control, treatment = (plan.planned(v) * t for v in (plan.control, plan.treatments[0]))
    effect = Effect(0.0, pilot.sd**2 / control, pilot.sd**2 / treatment, control, treatment)
    radius = inference(plan, plan.treatments[0], pilot.metric).radius(effect)
    return np.asarray(radius / np.sqrt(effect.variance) * np.sqrt(t))


def _needed_drifts(pilot: Pilot, plan: Plan, looks: int) -> Floats:
    """The smallest drift (20,000,) with which each path crosses the upper bound at some look."""
    t = _fractions(plan, looks)
    return np.asarray(((_bounds(pilot, plan, t) - _paths(len(t))) / t).min(axis=1))


def _mean_stop(drift: float, pilot: Pilot, plan: Plan, looks: int) -> float:
    """Mean share of the planned units after which a test ends."""
    t = _fractions(plan, looks)
    crossed = np.abs(_paths(len(t)) + drift * t) >= _bounds(pilot, plan, t)
    return float(np.where(crossed.any(axis=1), t[crossed.argmax(axis=1)], 1.0).mean())
