"""ABReport: the state of an A/B test at one look, for machines, terminals and notebooks."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from routelab.abtest.plan import Plan
from routelab.abtest.verdict import MetricResult, Verdict
from routelab.files import rounded
from routelab.html import Card, Shown

_HEADER = ("metric", "variant", "control", "treatment", "difference", "interval", "p", "claim")
_AT_ALL_LOOKS = (
    "The intervals hold at all looks at once from {start} units a variant and 10 events in the smallest on, so "
    "stopping early biases no claim, except where a small variant alone has long tails: plan a later start; quote "
    "the interval: the difference itself is flattered by an early stop."
)
_GUARANTEE = {
    "sequence": _AT_ALL_LOOKS,
    "msprt": _AT_ALL_LOOKS,
    "welch": "The intervals hold at one look, at {units:,} units; before and after, they are no evidence.",
}


@dataclass(frozen=True, slots=True, repr=False)
class ABReport(Shown):
    """What an A/B test has shown so far.

    Args:
        plan: by which it was analysed.
        units: that each variant has, the control first.
        exposed: units that were exposed to each variant, those without an outcome included.
        results: one for each metric and treatment.
        srm_p: p-value of the assignment being as planned.
        verdict: what to do.
    """

    plan: Plan
    units: dict[str, int]
    exposed: dict[str, int]
    results: tuple[MetricResult, ...]
    srm_p: float
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, the whole plan among them; what is unknown or infinite is None."""
        told = {"verdict": asdict(self.verdict), "units": self.units, "exposed": self.exposed, "srm_p": self.srm_p}
        result: dict[str, Any] = rounded(told | {"results": [asdict(r) for r in self.results]})
        plan = asdict(self.plan) | {"srm_concentration": self.plan.concentration}
        return result | {"plan": plan}  # exact: a unix second has ten digits

    def to_json(self) -> str:
        """The report as JSON, its results with 9 significant digits."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _card(self) -> Card:
        verdict = self.verdict
        counts = ", ".join(f"{name} {n:,}" for name, n in self.exposed.items())
        notes = [f"sample ratio: {counts} (p = {self.srm_p:.2g})"]
        if verdict.decision == "blocked":
            notes.append("The intervals and p mean nothing then.")
        else:
            notes += [
                f"{100.0 * (1.0 - self.plan.alpha):.4g} % intervals; p is corrected for {len(self.results)} "
                "comparisons (Holm), and a guardrail's is of its whole margin being used up",
                _GUARANTEE[self.plan.method].format(start=self.plan.start, units=self.plan.units),
            ]
            if unknown := dict.fromkeys(row.metric for row in self.results if not math.isfinite(row.high)):
                notes.append(f"No interval yet of {', '.join(unknown)}: too few units or events, or it never varied.")
        return Card(f"{verdict.decision}: {verdict.reason}", [_cells(row) for row in self.results], _HEADER, notes)


def _cells(row: MetricResult) -> tuple[str, ...]:
    numbers = (f"{row.control:.4g}", f"{row.treatment:.4g}", f"{row.difference:+.3g}")
    interval = f"{row.low:+.3g} to {row.high:+.3g}" if math.isfinite(row.high) else ""
    name = row.metric if row.role == "goal" else f"{row.metric} (guardrail)"
    return (name, row.variant, *numbers, interval, f"{row.p_holm:.2g}", row.claim)
