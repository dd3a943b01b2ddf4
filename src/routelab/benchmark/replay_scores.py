"""What replays came to: the figures of one seed, and their means and intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from routelab.arrays import Floats
from routelab.evaluation.replay import Replay
from routelab.evaluation.stream import Phase, Stream
from routelab.hull import upper_hull
from routelab.policies.objective import Objective

MEASURES = ("reward", "cost", "cost_over_budget", "regret")
WINDOW = 50  # decisions over which a reaction is judged
_REGAINED, _ADOPTED = 0.95, 1.0 / 3.0


def seed_scores(stream: Stream, run: Replay, budget: float | None, seed: int) -> dict[str, Any]:
    """Figures of one seed over the scored steps, and of each phase.

    Returns:
        ``seed``, means ``reward`` and ``cost``, ``cost_over_budget`` (None without a budget), ``regret`` (its sum),
        ``cost_weight`` (of the utility that regret is measured in), ``shares`` by provider, ``drifts`` (scored step,
        provider), ``reaction`` by phase (see ``reaction``), and ``phases``, each with the same means and
        ``best_static`` (see there).
    """
    whole = Phase("all", 0, len(stream.X) - stream.start)
    phases = [
        {"phase": phase.name, **_figures(stream, run, phase, budget)}
        | {"best_static": best_static(*_outcomes(stream, phase), budget, run.cost_weight)}
        for phase in stream.phases
    ]
    for phase, figures in zip(stream.phases, phases, strict=True):
        figures["reaction"] = reaction(stream, run, phase, figures["best_static"])
    return {
        "seed": seed,
        **_figures(stream, run, whole, budget),
        "cost_weight": run.cost_weight,
        "drifts": [[step - stream.start, name] for step, name in run.drifts],
        "reaction": {figures["phase"]: figures["reaction"] for figures in phases},
        "phases": phases,
    }


def best_static(quality: Floats, cost: Floats, budget: float | None, cost_weight: float = 0.0) -> float:
    """Mean reward of who knows a phase but not its prompts: the best random mixture of providers within the budget in
    hindsight; without a budget the provider of the highest mean utility.

    Args:
        quality: (m, k) of the phase; providers that are not always there (NaN) are left out.
        cost: (m, k) USD.
        budget: USD per request, or None.
        cost_weight: λ without a budget.

    >>> best_static(np.array([[0.5, 1.0]]), np.array([[0.0, 2.0]]), budget=1.0)
    0.75
    """
    q, c = quality.mean(axis=0), cost.mean(axis=0)
    q, c = q[~np.isnan(q + c)], c[~np.isnan(q + c)]
    if budget is None:
        return float(q[Objective(cost_weight=cost_weight).utility(q, c).argmax()])
    hull = upper_hull(c, q)
    return float(np.interp(budget, c[hull], q[hull]))


def reaction(stream: Stream, run: Replay, phase: Phase, level: float) -> int | None:
    """Decisions from the start of a phase until the mean reward of the last 50 is 95 % of ``level``, all 50 in it.

    Where the phase starts with a new provider: until more than a third of the last 50 decisions choose it, those
    before the start among them. None where that does not come.
    """
    begin, stop = stream.start + phase.start, stream.start + phase.stop
    added = [event.provider for event in stream.events if event.step == begin and event.action == "add"]
    if added:
        chosen = (run.arms[begin:stop] == stream.providers.index(added[0])).astype(float)
        return _first(np.concatenate([np.zeros(WINDOW - 1), chosen]), _ADOPTED, 1)
    return _first(run.reward[begin:stop], _REGAINED * level, WINDOW)


def _first(values: Floats, level: float, earliest: int) -> int | None:
    """Place of the first window whose mean passes ``level``, the first window counted as ``earliest``."""
    if len(values) < WINDOW:
        return None
    means = np.convolve(values, np.full(WINDOW, 1.0 / WINDOW), mode="valid")
    passed = np.flatnonzero(means > level - 1e-9)
    return int(passed[0]) + earliest if passed.size else None


def _outcomes(stream: Stream, phase: Phase) -> tuple[Floats, Floats]:
    steps = slice(stream.start + phase.start, stream.start + phase.stop)
    return stream.quality[steps], stream.cost[steps]


def _figures(stream: Stream, run: Replay, phase: Phase, budget: float | None) -> dict[str, Any]:
    begin, stop = stream.start + phase.start, stream.start + phase.stop
    cost = float(run.cost[begin:stop].mean())
    counts = np.bincount(run.arms[begin:stop], minlength=len(stream.providers)) / (stop - begin)
    return {
        "reward": float(run.reward[begin:stop].mean()),
        "cost": cost,
        "cost_over_budget": None if budget is None else cost / budget,
        "regret": float(run.regret[stop - 1] - (run.regret[begin - 1] if begin else 0.0)),
        "shares": dict(zip(stream.providers, counts.tolist(), strict=True)),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """``MEASURES`` over seeds, each as ``t_interval``."""
    return {name: t_interval([row[name] for row in rows]) for name in MEASURES}


def phase_summaries(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The phases over seeds: ``MEASURES`` and ``best_static`` as ``t_interval``, mean ``shares``, and ``reaction``:
    its median (None where half of the seeds or more never react) and the share of seeds that ``reached`` it.
    """
    return [_phase_summary(list(phase)) for phase in zip(*(row["phases"] for row in rows), strict=True)]


def _phase_summary(phase: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    steps = np.array([np.inf if each["reaction"] is None else each["reaction"] for each in phase])
    median = float(np.quantile(steps, 0.5, method="higher"))
    return {
        "name": phase[0]["phase"],
        **summary(phase),
        "best_static": t_interval([each["best_static"] for each in phase]),
        "shares": {name: float(np.mean([each["shares"][name] for each in phase])) for name in phase[0]["shares"]},
        "reaction": {
            "median": median if np.isfinite(median) else None,
            "reached": float(np.isfinite(steps).mean()),
        },
    }


def t_interval(values: Sequence[float | None]) -> dict[str, float | None]:
    """``mean`` over seeds with its 95 % t-interval ``low`` to ``high``, which one seed alone has not.

    >>> t_interval([1.0, 3.0])
    {'mean': 2.0, 'low': -10.7..., 'high': 14.7...}
    """
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return dict.fromkeys(("mean", "low", "high"))
    mean = float(known.mean())
    if known.size == 1:
        return {"mean": mean, "low": None, "high": None}
    margin = float(stats.t.ppf(0.975, known.size - 1) * known.std(ddof=1) / np.sqrt(known.size))
    return {"mean": mean, "low": mean - margin, "high": mean + margin}
