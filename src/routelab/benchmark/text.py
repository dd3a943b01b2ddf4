"""A report as lines of fixed width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from routelab.hull import upper_hull

_HEADER = (
    "policy",
    "gap captured [95 % CI]",
    "AIQ",
    "PerfGain",
    "CostSave",
    "−1 point",
    "ECE",
    "less the strongest other",
)
_BUDGET_HEADER = (
    "USD per request",
    "policy",
    "mean reward",
    "published",
    "less the single hull at the same cost",
    "cost of budget",
)
_NO_CHOICE = ("oracle", "best-single", "random-mix", "rule")  # no policy that learned whom to ask
_REFERENCES = {"oracle": "ceiling, no policy"}
_FEW = 50  # evaluation prompts: below, the interval of a gap spans most of the scale
_UNLIKE = (
    "published: ParetoBandit learned online from the outcomes of its own choices, after warm-up priors; "
    "ours saw every outcome of the training split"
)


def gap_order(policies: Mapping[str, Any]) -> list[str]:
    """Names by hull gap captured, the greatest first; by AIQ where there is no gap.

    >>> gap = {"estimate": None}
    >>> gap_order({"low": {"aiq": 0.5, "hull_gap_captured": gap}, "high": {"aiq": 0.6, "hull_gap_captured": gap}})
    ['high', 'low']
    """

    def height(name: str) -> float:
        estimate = policies[name]["hull_gap_captured"]["estimate"]
        return float(policies[name]["aiq"] if estimate is None else estimate)

    return sorted(policies, key=height, reverse=True)


def report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report of ``evaluate_table`` for a terminal: what was measured, a row per policy, and what was left out.

    Where too few prompts were scored to tell policies apart, the first line says so.
    """
    split = (
        "the table's own split" if report["split"] == "own" else f"random split, {float(report['split']):.0%} to train"
    )
    if report["repeats"] > 1:
        split += f", mean of {report['repeats']}"
    if report["n_eval"] < _FEW:
        yield f"only {report['n_eval']} evaluation prompts: differences between policies, and their order, are noise"
    yield (
        f"{report['table']}: {report['n_train']:,} training and {report['n_eval']:,} evaluation prompts × "
        f"{report['providers']} providers ({split})"
    )
    if report["n_eval_incomplete"]:
        many = report["n_eval_incomplete"] > report["n_eval"]
        advice = "; drop providers that few prompts were put to: `routelab recommend` names them" if many else ""
        yield f"{report['n_eval_incomplete']:,} more evaluation prompts lack an outcome and are not scored{advice}"
    yield f"AIQ of the single hull {report['single_hull_aiq']:.4f}, of the oracle {report['oracle_aiq']:.4f}"
    if "no_gap" in report:
        yield f"no gap to capture: {report['no_gap']}"
    yield ""
    policies = report["policies"]
    rows = [_HEADER, *(_row(name, policies[name]) for name in gap_order(policies))]
    yield from aligned(rows)
    yield from _shares(policies)
    if any(scores.get("apgr") is not None for scores in policies.values()):
        yield ""
        yield from aligned([("two providers", "APGR", "CPT(50 %)", "CPT(80 %)"), *_call_rows(report)])
        yield from dict.fromkeys(f"published in {figures['source']}" for figures in report.get("published", []))
    if "budgets" in report:
        yield ""
        yield from aligned([_BUDGET_HEADER, *map(_budget_row, report["budgets"])])
        if any(row["published"] is not None for row in report["budgets"]):
            yield _UNLIKE
    for name, reason in report["left_out"].items():
        yield f"left out: {name}: {reason}"


def _row(name: str, scores: Mapping[str, Any]) -> tuple[str, ...]:
    other = scores.get("difference_to_strongest_other")
    return (
        f"{name} ({_REFERENCES[name]})" if name in _REFERENCES else name,
        _interval(scores["hull_gap_captured"]),
        f"{scores['aiq']:.4f}",
        *(_number(scores[key], "{:+.1%}") for key in ("perf_gain", "cost_save", "cost_save_1pt")),
        f"{np.mean(list(scores['ece'].values())):.3f}" if scores["ece"] else "-",
        f"{_interval(other)} {other['policy']}" if other else "-",
    )


def _shares(policies: Mapping[str, Any]) -> Iterator[str]:
    """Who answers under the cheapest, the middle and the dearest setting on the hull of the policy of most gap."""
    best = next((name for name in gap_order(policies) if name not in _NO_CHOICE), None)
    if best is None or "curve" not in policies[best]:
        return
    points, shares = np.array(policies[best]["curve"]), policies[best]["shares"]
    hull = upper_hull(points[:, 0], points[:, 1])
    yield ""
    for setting in dict.fromkeys(hull[[0, len(hull) // 2, -1]].tolist()):
        told = sorted(((of[setting], provider) for provider, of in shares.items()), reverse=True)[:3]
        most = ", ".join(f"{provider} {share:.0%}" for share, provider in told if share >= 0.005)
        yield f"{best} at {points[setting, 0]:.3g} USD per request: {most}"
    yield "curves and shares of all policies: routelab evaluate --json"


def _budget_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    figures = f"{row['budget']:g}", row["policy"], f"{row['reward']:.4f}", _number(row["published"], "{:.4f}")
    return *figures, _interval(row["lead"], 4), f"{row['cost'] / row['budget']:.1%}"


def _call_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """APGR and CPT of our policies, then those published."""
    ours = [(name, report["policies"][name]) for name in gap_order(report["policies"])]
    theirs = [(f"published: {figures['router']}", figures) for figures in report.get("published", [])]
    for name, figures in ours + theirs:
        yield name, *(_number(figures.get(key), form) for key, form in _CALLS)


_CALLS = (("apgr", "{:.3f}"), ("cpt50", "{:.1%}"), ("cpt80", "{:.1%}"))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _interval(values: Mapping[str, Any], digits: int = 3) -> str:
    if values["estimate"] is None:
        return "-"
    estimate, low, high = (f"{values[key]:+.{digits}f}" for key in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"


def aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Rows of cells as lines whose columns start at the same place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
