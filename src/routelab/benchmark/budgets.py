"""Policies within budgets: the trade-off chosen by cross-validation on the training prompts, scored on the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from routelab.arrays import Floats
from routelab.benchmark.runs import learned
from routelab.benchmark.scores import Trial
from routelab.errors import RoutelabError
from routelab.evaluation.bootstrap import percentile_interval
from routelab.evaluation.budget import against_singles, mixture_within
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.curves import complete_rows, policy_curve
from routelab.evaluation.split import Split
from routelab.policies import POLICIES
from routelab.policies.objective import Objective
from routelab.policies.outcomes import same_rows

FOLDS = 10  # at 5, a forest fitted on 80 % of the prompts spends so much less than the one on all that it misleads


def check_budgets(budgets: Sequence[float], quality: Floats, cost: Floats) -> None:
    """Refuse what cannot be chosen for, before anything is fitted, given the training outcomes (n, k).

    Raises:
        RoutelabError: not even the cheapest provider keeps a budget, or the complete prompts are too few for folds.
    """
    known = complete_rows(quality, cost)
    if budgets and known.sum() < FOLDS:
        raise RoutelabError(f"{known.sum()} training prompts have every outcome; budgets need {FOLDS} or more")
    for budget in budgets:
        mixture_within(Curve(quality[known], cost[known]), budget, requests=1)


def cross_validated(name: str, train: Split, cost_weights: Floats, seed: int) -> Curve:
    """Quality and cost (n, s) of the complete training prompts under each λ (s,), each by a fit without that prompt.

    Prompts with equal features stay in one of ``FOLDS`` folds.

    Args:
        name: one of ``POLICIES`` that one fit serves.
        train: may lack outcomes.
        cost_weights: (s,) λ.
        seed: of the folds and the policy.

    Raises:
        RoutelabError: the policy cannot learn from a part of the prompts.
    """
    from sklearn.model_selection import GroupKFold

    alike = same_rows(train.X)
    if alike.max() < FOLDS:  # features that tell next to nothing: prompts are not the same for being alike
        alike = np.arange(len(alike))
    known = np.flatnonzero(complete_rows(train.quality, train.cost))
    outcomes = np.empty((2, len(train.X), len(cost_weights)))
    folds = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    for _, fold in folds.split(known, groups=alike[known]):
        out = known[fold]
        policy = learned(POLICIES[name], train.rows(~np.isin(alike, alike[out])), Objective(), seed)
        curve = policy_curve(name, policy, train.X[out], train.quality[out], train.cost[out], cost_weights)
        outcomes[:, out] = curve.outcomes
    return Curve(*outcomes[:, known])


def within_budgets(
    trials: Sequence[Trial],
    budgets: Sequence[float],
    seed: int,
    weights: Sequence[Iterable[Floats]],
    published: Mapping[float, float],
) -> list[dict[str, Any]]:
    """What each policy with a trade-off of its own reaches within each of b budgets; the mean over trials.

    Args:
        trials: splits with their runs.
        budgets: USD per request, on average.
        seed: of the folds of the first trial; the others take the next ones.
        weights: how often each resample draws each evaluation prompt, in blocks, for each trial.
        published: budget → mean reward of others.

    Returns:
        Rows of ``budget``, ``policy``, ``reward`` and ``cost`` on the evaluation prompts, ``single_hull`` (the best
        mixture of providers at that cost, in hindsight), ``lead`` over it with its interval, and ``published``.
    """
    names = [name for name, run in trials[0].runs.items() if run.ranks and name != "oracle"]
    if not names:
        return []
    found = []
    for place, (trial, drawn) in enumerate(zip(trials, weights, strict=True)):
        mixtures = [_mixtures(name, trial, budgets, seed + place) for name in names]
        outcomes = Curve(*(np.hstack(matrices) for matrices in zip(*mixtures, strict=True)))
        found.append(against_singles(outcomes, Curve(trial.held.quality, trial.held.cost), drawn))
    reward, cost, single = np.mean(found, axis=0)
    lead = reward - single
    return [
        {
            "budget": budget,
            "policy": name,
            "reward": float(reward[0, column]),
            "cost": float(cost[0, column]),
            "single_hull": float(single[0, column]),
            "lead": percentile_interval(lead[0, column], lead[1:, column]).as_dict(),
            "published": published.get(budget),
        }
        for row, budget in enumerate(budgets)
        for column, name in zip(range(row, lead.shape[1], len(budgets)), names, strict=True)
    ]


def _mixtures(name: str, trial: Trial, budgets: Sequence[float], seed: int) -> Curve:
    """Expected outcomes (n, b) of the evaluation prompts, the trade-off chosen on the training prompts."""
    run, seen = trial.runs[name], trial.train.complete("training split")
    cheapest = seen.cost.mean(axis=0).argmin()
    rehearsed = _beside(seen, cheapest, cross_validated(name, trial.train, run.cost_weights, seed))
    shares = np.column_stack([mixture_within(rehearsed, budget, len(trial.held.X)) for budget in budgets])
    return Curve(*(matrix @ shares for matrix in _beside(trial.held, cheapest, run.outcomes)))


def _beside(split: Split, provider: np.intp, settings: Curve) -> Curve:
    """``settings`` after one provider that answers everything."""
    singles = split.quality[:, provider], split.cost[:, provider]
    return Curve(*(np.column_stack(pair) for pair in zip(singles, settings, strict=True)))
