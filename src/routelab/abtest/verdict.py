"""The verdict: ship, stop or continue, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from routelab.abtest.plan import Plan

Decision = Literal["ship", "stop", "continue", "blocked"]
Claim = Literal["better", "worse", "holds", "broken", "open"]


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What is known of one metric of one treatment at this look.

    Args:
        metric: its name.
        variant: the treatment.
        role: "goal" or "guardrail".
        control: value of the control.
        treatment: value of the treatment.
        difference: treatment − control, adjusted for the covariate where there is one.
        low: of the interval.
        high: of the interval.
        null: the difference that the p-value speaks of: 0, or, of a guardrail, one as large as its margin.
        p: p-value.
        p_holm: the same, corrected for the number of metrics and treatments.
        claim: "better" or "worse" of a goal, "holds" or "broken" of a guardrail, where ``p_holm`` is at most α.
    """

    metric: str
    variant: str
    role: Literal["goal", "guardrail"]
    control: float
    treatment: float
    difference: float
    low: float
    high: float
    null: float
    p: float
    p_holm: float
    claim: Claim


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now.

    Args:
        decision: "ship" the variant, "stop" and keep the control, "continue", or "blocked": the assignment is broken,
            and no claim counts.
        variant: the one to ship, or None.
        reason: in words.
    """

    decision: Decision
    variant: str | None
    reason: str


def blocked(plan: Plan, exposed: Mapping[str, int], srm_p: float) -> Verdict:
    """The verdict on a test whose variants got other shares of the units than planned.

    Whatever moved units between them may have moved the metrics, too (Fabijan et al., *Diagnosing Sample Ratio Mismatch
    in Online Controlled Experiments*, 2019).

    Args:
        plan: of the test.
        exposed: units of each variant.
        srm_p: p-value of the sample-ratio test.
    """
    shares = " : ".join(f"{share / sum(plan.shares.values()):.3g}" for share in plan.shares.values())
    counts = " : ".join(f"{n:,}" for n in exposed.values())
    reason = f"sample-ratio mismatch: {counts} units were to be as {shares} (p = {srm_p:.2g}); no claim counts until "
    return Verdict("blocked", None, reason + "the assignment, or what loses units after it, is mended")


def decide(plan: Plan, units: Mapping[str, int], results: Sequence[MetricResult]) -> Verdict:
    """The verdict on what is known at this look.

    The assignment has been found sound; see :func:`blocked`. A treatment wins when every guardrail holds, no goal is
    worse and, where there are goals, one is better; it loses when a goal is worse or a guardrail is broken. The winner
    with the smallest p-value of a goal is shipped.

    Args:
        plan: of the test.
        units: with an outcome that each variant has.
        results: of each metric and treatment.
    """
    if min(units.values()) < plan.start:
        return Verdict("continue", None, f"a variant has fewer than {plan.start} units; nothing is claimed before")
    total = sum(units.values())
    if not plan.counts(total):
        return _beside_the_look(plan, total)
    per_variant = {variant: [r for r in results if r.variant == variant] for variant in plan.treatments}
    winners = {variant: rows for variant, rows in per_variant.items() if _wins(rows)}
    if winners:
        best = min(winners, key=lambda variant: _evidence(winners[variant]))
        return Verdict("ship", best, _told(winners[best], "better", "holds"))
    losers = {variant: rows for variant, rows in per_variant.items() if _loses(rows)}
    if len(losers) == len(per_variant):
        return Verdict("stop", None, "; ".join(_told(rows, "worse", "broken") for rows in losers.values()))
    if total >= plan.units:
        return Verdict("stop", None, f"the planned {plan.units:,} units are reached, and {_open(per_variant)}")
    return Verdict("continue", None, f"{_open(per_variant)}; {plan.units - total:,} of the planned units are to come")


def _beside_the_look(plan: Plan, total: int) -> Verdict:
    """What Welch's test tells before and after its one look."""
    if total < plan.units:
        return Verdict("continue", None, f"Welch's test is read once, at {plan.units:,} units; there are {total:,}")
    look = f"{plan.units:,} to {plan.last_look:,} units"
    return Verdict("stop", None, f"Welch's one look, at {look}, has passed; there are {total:,}")


def _wins(rows: Sequence[MetricResult]) -> bool:
    goals = [row.claim for row in rows if row.role == "goal"]
    held = all(row.claim == "holds" for row in rows if row.role == "guardrail")
    return held and "worse" not in goals and ("better" in goals or not goals)


def _evidence(rows: Sequence[MetricResult]) -> float:
    """The smallest p-value of a goal, or, where there are none, of a guardrail."""
    goals = [row.p for row in rows if row.role == "goal"]
    return min(goals or [row.p for row in rows])


def _loses(rows: Sequence[MetricResult]) -> bool:
    return any(row.claim in ("worse", "broken") for row in rows)


def _told(rows: Sequence[MetricResult], *claims: Claim) -> str:
    """The claims in words: ``forest: quality better by +0.02 to +0.05``."""
    told = [
        f"{row.metric} {row.claim} ({row.low:+.3g} to {row.high:+.3g})"
        for row in sorted(rows, key=lambda row: row.role != "goal")
        if row.claim in claims
    ]
    return f"{rows[0].variant}: {', '.join(told)}"


def _open(per_variant: dict[str, list[MetricResult]]) -> str:
    """What is not known yet, in words."""
    told = []
    for variant, rows in per_variant.items():
        if _loses(rows):
            told.append(f"{_told(rows, 'worse', 'broken')}")
        else:
            missing = ", ".join(row.metric for row in rows if row.claim == "open")
            told.append(f"{variant}: not shown yet: {missing}")
    return "; ".join(told)
