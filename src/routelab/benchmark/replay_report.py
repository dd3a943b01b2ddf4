"""A table, a scenario and a policy in, a report out: what ``routelab replay`` does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from routelab.benchmark.harness import TrainSplit, read_table, splits_of
from routelab.benchmark.replay_scores import phase_summaries, summary
from routelab.benchmark.replays import Plan, SeedRun, run_plans
from routelab.drift import DriftMonitor
from routelab.errors import RoutelabError, TableError
from routelab.evaluation.split import Split, cut_at_date
from routelab.features import RequestFeaturizer
from routelab.reduction import COMPONENTS
from routelab.tables.splitting import same_texts
from routelab.tables.table import PerformanceTable

_NAMES = ("provider", "task")  # settings that are text whatever they look like


def report_of(plan: Plan, runs: Sequence[SeedRun], table: str, warm_start: str | None = None) -> dict[str, Any]:
    """The runs of one plan as JSON.

    Returns:
        ``table``, ``scenario``, ``policy``, ``budget``, ``seeds``, ``feedback``, ``warm_start``, ``summary`` and
        ``phases`` over seeds, and ``per_seed``.
    """
    rows = [run.scores for run in runs]
    return {
        "table": table,
        "scenario": plan.scenario,
        "policy": plan.policy,
        "budget": plan.budget,
        "seeds": len(runs),
        "feedback": "bandit",
        "warm_start": warm_start,
        "summary": summary(rows),
        "phases": phase_summaries(rows),
        "per_seed": rows,
    }


def replay_table(
    table: PerformanceTable,
    name: str,
    *,
    scenario: str,
    policy: str,
    budgets: Sequence[float] = (),
    cost_weight: float | None = None,
    settings: Mapping[str, Any] | None = None,
    seeds: int = 20,
    seed: int = 0,
    train_split: TrainSplit = None,
    warm_start: str | None = None,
    drift: bool = True,
    n_jobs: int | None = None,
) -> list[dict[str, Any]]:
    """Replay a scenario on a table: one report per budget, or one for the trade-off ``cost_weight``.

    Args:
        table: with every outcome of the prompts that are replayed; incomplete ones are left out.
        name: what reports call it.
        scenario: one of ``SCENARIOS``; ``drift`` cuts the table at its date instead of by ``train_split``.
        policy: one of ``POLICIES``; one that does not learn online needs ``warm_start``.
        budgets: USD per request.
        cost_weight: λ, instead of budgets.
        settings: of the scenario.
        seeds: how many.
        seed: the first; also of a random split.
        train_split: share of the learning part, "split" for the table's own split, None for what suits the table.
        warm_start: a table that the policy is fitted on beforehand, with every provider's outcomes. ``name`` itself
            means its learning part, which is then not streamed again.
        drift: whether a ``DriftMonitor`` watches the rewards, and the policy forgets a provider that drifts.
        n_jobs: processes; None = one per core.

    Raises:
        RoutelabError: names, settings, budgets or tables with which this cannot be done.
    """
    if bool(budgets) == (cost_weight is not None):
        raise RoutelabError("give either --budget, in USD per request, or --cost-weight, in quality per USD")
    if scenario == "drift" and train_split is not None:
        raise RoutelabError("scenario 'drift' cuts a table at its date; leave --train-split out")
    train_table, held_table = (
        cut_at_date(table) if scenario == "drift" else splits_of(table, train_split, seed, repeats=1)[0]
    )
    train, held, featurizer = parts(train_table, held_table, seed)
    warm = None if warm_start is None else train
    if warm_start not in (None, name):
        warm = Split.of(_unseen(str(warm_start), held_table), featurizer)
    plan = Plan(
        scenario,
        policy,
        cost_weight=cost_weight or 0.0,
        settings=settings or {},
        warm_start=warm,
        learning_part=warm_start != name,
        monitor=DriftMonitor if drift else None,
    )
    plans = [replace(plan, budget=budget) for budget in budgets] or [plan]
    done = run_plans(plans, train, held, seeds=seeds, seed=seed, n_jobs=n_jobs)
    return [report_of(each, runs, name, warm_start) for each, runs in zip(plans, done, strict=True)]


def parts(learning: PerformanceTable, scored: PerformanceTable, seed: int) -> tuple[Split, Split, RequestFeaturizer]:
    """Both parts of a stream, complete, and what bandits see of a request: the embedding in 25 components, every column
    standardised on the learning part.
    """
    featurizer = RequestFeaturizer(n_components=min(COMPONENTS, learning.n), standardize=True, seed=seed).fit(learning)
    train = Split.of(learning, featurizer).complete(f"{learning.origin}, learning part")
    held = Split.of(scored, featurizer).complete(f"{scored.origin}, scored part")
    return train, held, featurizer


def _unseen(name: str, held: PerformanceTable) -> PerformanceTable:
    """The table for a warm start, with the providers of ``held``.

    Raises:
        TableError: it lacks a provider, or has a prompt that will be scored.
    """
    table = read_table(name).select_providers(held.providers)
    if table.prompts is not None and held.prompts is not None:
        known, scored = same_texts(table.prompts), same_texts(held.prompts)
    else:  # without texts, ids are all there is to tell prompts apart
        known, scored = table.prompt_ids, held.prompt_ids
    seen = np.isin(known, scored).sum()
    if seen:
        raise TableError(f"{name}: {seen} of its prompts will be scored in {held.origin}; take them out")
    return table


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``--set key=value`` as a mapping: numbers, true and false as in JSON, all else (and any name) as text.

    Raises:
        RoutelabError: no "=" in it.

    >>> parse_settings(["factor=0.5", "announced=false", "provider=7"])
    {'factor': 0.5, 'announced': False, 'provider': '7'}
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise RoutelabError(f"--set {pair!r} has no '='; write it as factor=0.1")
        try:
            settings[key] = value if key in _NAMES else json.loads(value)
        except json.JSONDecodeError:
            settings[key] = value
    return settings
