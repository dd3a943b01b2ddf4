"""A replay's report as lines of fixed width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from routelab.benchmark.text import aligned

_HEADER = (
    "phase",
    "mean reward [95 % CI]",
    "of the best static",
    "USD per request",
    "cost of budget",
    "regret",
    "reaction",
)


def replay_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report of ``replay_table`` for a terminal: what was replayed, a row per phase, and who answered."""
    start = f"warm start on {report['warm_start']}" if report["warm_start"] else "cold start"
    budget = f", {report['budget']:g} USD per request" if report["budget"] else ""
    yield (
        f"{report['table']}, {report['scenario']}: {report['policy']}{budget}, {start}, "
        f"outcomes of its own choices only, {report['seeds']} seeds"
    )
    phases = report["phases"]
    rows = [_row(phase) for phase in phases]
    yield from aligned([_HEADER, *rows, *([_row({"name": "all", **report["summary"]})] if len(phases) > 1 else [])])
    for phase in phases:
        told = sorted(((share, provider) for provider, share in phase["shares"].items()), reverse=True)[:3]
        yield f"{phase['name']}: {', '.join(f'{provider} {share:.0%}' for share, provider in told if share >= 0.005)}"


def _row(phase: Mapping[str, Any]) -> tuple[str, ...]:
    reward, cost_of_budget, reaction = phase["reward"], phase["cost_over_budget"]["mean"], phase.get("reaction")
    interval = "" if reward["low"] is None else f" [{reward['low']:.4f}, {reward['high']:.4f}]"
    return (
        phase["name"],
        f"{reward['mean']:.4f}{interval}",
        f"{reward['mean'] / phase['best_static']['mean']:.1%}" if phase.get("best_static", {}).get("mean") else "-",
        f"{phase['cost']['mean']:.4g}",
        "-" if cost_of_budget is None else f"{cost_of_budget:.1%}",
        f"{phase['regret']['mean']:.1f}",
        "-" if reaction is None else _reaction(reaction),
    )


def _reaction(reaction: Mapping[str, Any]) -> str:
    if reaction["median"] is None:
        return f"{reaction['reached']:.0%} of seeds"
    return f"{reaction['median']:.0f} decisions ({reaction['reached']:.0%} of seeds)"
