"""The analysis of an A/B test: from outcomes to a report, at one look or over many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from routelab.abtest.effect import effect_of, ratio
from routelab.abtest.holm import holm
from routelab.abtest.inference import inference
from routelab.abtest.moments import Moments
from routelab.abtest.outcomes import columns_of, unit_moments
from routelab.abtest.plan import Metric, Plan
from routelab.abtest.report import ABReport
from routelab.abtest.srm import srm_p_value
from routelab.abtest.verdict import Claim, MetricResult, blocked, decide
from routelab.errors import ExperimentError


def analyse(
    data: pd.DataFrame | Iterable[pd.DataFrame],
    plan: Plan,
    *,
    exposed: Mapping[str, int] | pd.Series[int] | None = None,
) -> ABReport:
    """What an A/B test has shown so far, and what to do.

    Args:
        data: one row per outcome: ``unit``, ``variant``, the metrics' columns, and, where there are, ``decision_id``
            (needed where a unit has several outcomes; found twice only within a chunk) and ``exposed_at`` (needed
            where the plan ``ends_at`` some time). A frame; or chunks of one ordered by
            ``unit``, which are read once, so that memory holds the largest chunk only. A unit may go on sending
            requests between looks: with 10 to 30 of them spread over the test, .02 to .04 of 1,500 null experiments
            erred at any of 40 to 60 looks.
        plan: written before the test.
        exposed: units exposed to each variant, for the sample-ratio test, as ``db.exposures(name)["variant"]
            .value_counts()`` gives them; None counts those that have an outcome.

    Raises:
        ExperimentError: the data is broken (an unknown variant, an outcome twice, NaN, an empty arm, an exposure after
            the end, …), so that there is no verdict. A metric that has not varied yet has an infinite interval.

    >>> rng = np.random.default_rng(0)
    >>> variant = np.tile(["rules", "forest"], 2_000)
    >>> outcomes = pd.DataFrame({"unit": range(4_000), "variant": variant})
    >>> outcomes["solved"] = (rng.random(4_000) < np.where(variant == "forest", 0.40, 0.30)).astype(float)
    >>> report = analyse(outcomes, Plan({"rules": 0.5, "forest": 0.5}, (Metric("solved"),), units=4_000))
    >>> print(report)
    ship: forest: solved better (+0.0524 to +0.139)
    metric  variant  control  treatment  difference  interval           p        claim
    solved  forest   0.3095   0.405      +0.0955     +0.0524 to +0.139  4.7e-08  better
    sample ratio: rules 2,000, forest 2,000 (p = 1)
    95 % intervals; p is corrected for 1 comparisons (Holm), ...
    """
    arms = unit_moments(data, plan)
    _check_arms(arms, plan)
    return _report(arms, plan, None if exposed is None else {str(name): n for name, n in exposed.items()})


def analyse_over_time(frame: pd.DataFrame, plan: Plan, looks: int | Sequence[int] = 40) -> pd.DataFrame:
    """What each look would have told, for a figure of the sequence.

    Args:
        frame: as :func:`analyse` takes it, in order of ``observed_at`` where that is a column, else as it stands.
        plan: of the test.
        looks: number of equal looks, or how many outcomes each has seen, ascending.

    Returns:
        One row per look, metric and treatment: ``outcomes``, ``units``, the fields of MetricResult, ``srm_p``,
        ``verdict`` and ``reason``. Where a look has too few units the interval is infinite, and
        NaN where an arm has none.

    Raises:
        ExperimentError: as :func:`analyse` on the whole frame; or looks that are not ascending within it.
    """
    analyse(frame, plan)
    ordered = frame.sort_values("observed_at", kind="stable") if "observed_at" in frame else frame
    counts = np.linspace(0, len(frame), looks + 1).astype(int)[1:] if isinstance(looks, int) else np.asarray(looks)
    if not (len(counts) and counts[0] >= 1 and counts[-1] <= len(frame) and (np.diff(counts) > 0).all()):
        raise ExperimentError(f"looks are {looks!r}; give ascending numbers of the {len(frame)} outcomes")
    rows = []
    for count in map(int, counts):
        report = _report(unit_moments(ordered.iloc[:count], plan), plan, None)
        told = {"srm_p": report.srm_p, "verdict": report.verdict.decision, "reason": report.verdict.reason}
        seen = {"outcomes": count, "units": sum(report.units.values())}
        rows += [seen | asdict(result) | told for result in report.results]
    return pd.DataFrame(rows)


def _check_arms(arms: Mapping[str, Moments], plan: Plan) -> None:
    """Refuse an empty arm, and a denominator without a sum."""
    for variant, arm in arms.items():
        if not arm.count:
            raise ExperimentError(f"variant {variant!r} has no outcome; wait for some, or leave it out of the plan")
    for metric, columns in columns_of(plan).items():
        for variant, arm in arms.items():
            if not arm.mean[columns[1]] > 0.0:
                raise ExperimentError(f"the denominator of metric {metric!r} sums to ≤ 0 in variant {variant!r}")


def _report(arms: Mapping[str, Moments], plan: Plan, exposed: Mapping[str, int] | None) -> ABReport:
    units = {variant: arm.count for variant, arm in arms.items()}
    counted = units if exposed is None else _exposed(exposed, units)
    srm_p = float(srm_p_value(list(counted.values()), list(plan.shares.values()), plan.concentration))
    mismatch = srm_p <= plan.srm_alpha
    results = _results(arms, plan, not mismatch and plan.counts(sum(units.values())))
    verdict = blocked(plan, counted, srm_p) if mismatch else decide(plan, units, results)
    return ABReport(plan, units, counted, results, srm_p, verdict)


def _exposed(exposed: Mapping[str, int], units: Mapping[str, int]) -> dict[str, int]:
    """Exposures per variant, in the plan's order; there are at least as many as units with outcomes."""
    if unknown := sorted(set(exposed) - set(units)):
        raise ExperimentError(f"`exposed` names {unknown[0]!r}; the test knows {', '.join(units)}; leave others out")
    for variant, count in units.items():
        if exposed.get(variant, 0) < count:
            raise ExperimentError(
                f"variant {variant!r} has outcomes of {count} units, but {exposed.get(variant, 0)} were exposed; "
                "leave out outcomes of unknown units"
            )
    return {variant: int(exposed[variant]) for variant in units}


def _results(arms: Mapping[str, Moments], plan: Plan, counts: bool) -> tuple[MetricResult, ...]:
    """One for each treatment and metric, corrected for their number; without a claim where none ``counts``."""
    columns = columns_of(plan)
    pairs = [(variant, metric) for variant in plan.treatments for metric in plan.metrics]
    effects = [effect_of(arms[plan.control], arms[variant], columns[metric.name]) for variant, metric in pairs]
    tests = [inference(plan, variant, metric.name) for variant, metric in pairs]
    p = [float(test.p_value(e, m.null)) for test, e, (_, m) in zip(tests, effects, pairs, strict=True)]
    results = []
    for (variant, metric), effect, test, raw, adjusted in zip(pairs, effects, tests, p, holm(p), strict=True):
        radius, difference = float(test.radius(effect)), float(effect.difference)
        results.append(
            MetricResult(
                metric=metric.name,
                variant=variant,
                role="goal" if metric.margin is None else "guardrail",
                control=ratio(arms[plan.control], columns[metric.name]),
                treatment=ratio(arms[variant], columns[metric.name]),
                difference=difference,
                low=difference - radius,
                high=difference + radius,
                null=metric.null,
                p=raw,
                p_holm=float(adjusted),
                claim=_claim(metric, difference, counts and float(adjusted) <= plan.alpha),
            )
        )
    return tuple(results)


def _claim(metric: Metric, difference: float, proven: bool) -> Claim:
    if not proven:
        return "open"
    good = metric.sign * (difference - metric.null) > 0.0
    if metric.margin is None:
        return "better" if good else "worse"
    return "holds" if good else "broken"
