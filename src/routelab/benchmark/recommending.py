"""Which router for a table: chosen within its training prompts, judged once on prompts that nobody has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from routelab.arrays import Floats
from routelab.benchmark.harness import RESAMPLES, TrainSplit, splits_of
from routelab.benchmark.paired import Groups, Z, difference_interval, is_dominated, saving_interval, standard_error
from routelab.benchmark.recommendation import Recommendation
from routelab.benchmark.runs import learned
from routelab.errors import PolicyError, RoutelabError
from routelab.evaluation.bootstrap import Interval
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.curves import complete_rows, policy_curve
from routelab.evaluation.split import Split, check_outcomes
from routelab.features import RequestFeaturizer
from routelab.policies import POLICIES, FixedPolicy, Policy
from routelab.policies.objective import Objective, cost_weight_sweep
from routelab.tables.splitting import same_texts
from routelab.tables.table import PerformanceTable

#: Policies of which one fit serves every trade-off.
CANDIDATES = ("forest", "ridge", "knn", "cluster", "plug-in")
FOLDS = 5
_UNEQUAL = 0.05  # shares of graded prompts of two providers differ by more


def recommend(
    table: PerformanceTable,
    *,
    tolerance: float = 0.01,
    baseline: str | None = None,
    policies: Sequence[str] = CANDIDATES,
    train_split: TrainSplit = None,
    seed: int = 0,
) -> Recommendation:
    """The cheapest way to route the prompts of a table at the quality of one provider, and what it saves.

    Policies, trade-offs and single providers are compared by five-fold cross-validation on the training prompts. Out
    of those that surely lose no more than ``tolerance`` of the baseline's quality (lower end of a paired 95 %
    interval), the cheapest is fitted on all training prompts. Its saving and quality are then measured on the
    evaluation prompts, which had no part in the choice, with a paired bootstrap over prompts; those of the same text
    are one draw. Prompts that resemble each other otherwise (of one template, say) are taken for independent.

    Compared are the prompts with an outcome of every provider; one with few outcomes is left out and named.

    Args:
        table: of your own, or a registered one.
        tolerance: quality in [0, 1] that may be lost on average.
        baseline: provider to be compared with, such as the one that serves today; None for the best by its mean on
            the training prompts.
        policies: names out of ``CANDIDATES``.
        train_split: as in ``evaluate_table``: by default the table's own split if there is one, else 0.7.
        seed: of everything random.

    Raises:
        PolicyError: a policy that is no candidate.
        RoutelabError: an unknown baseline, one that is free while another is chosen, a negative tolerance, or a table
            on which nothing can be learned or scored.

    >>> from routelab.tables.synthetic import World
    >>> advice = recommend(World().generate(300, seed=0).table, policies=["ridge"])
    >>> advice.policy, advice.saving.low <= advice.saving.estimate <= advice.saving.high
    ('ridge', True)
    """
    unknown = [name for name in policies if name not in CANDIDATES]
    if unknown:
        raise PolicyError(f"{', '.join(map(repr, unknown))}: no candidate; choose from {', '.join(CANDIDATES)}")
    if not 0.0 <= tolerance < 1.0:
        raise RoutelabError(f"tolerance is {tolerance!r}; give the quality that may be lost, in [0, 1)")
    if baseline is not None and baseline not in table.providers:
        raise RoutelabError(f"{table.origin}: no provider {baseline!r}; there are {', '.join(table.providers)}")
    table, left_out = _often_asked(table, baseline)
    [(train_table, held_table)] = splits_of(table, train_split, seed, 1)
    check_outcomes(train_table, f"{table.origin}, training split")
    check_outcomes(held_table, f"{table.origin}, evaluation split")
    featurizer = RequestFeaturizer(seed=seed).fit(train_table)
    train, everything = (Split.of(side, featurizer) for side in (train_table, held_table))
    known = train.complete(f"{table.origin}, training split")
    held = everything.complete(f"{table.origin}, evaluation split")
    group = text_groups(held_table)[complete_rows(held_table.quality, held_table.cost)]
    best = int(np.lexsort((known.cost.mean(axis=0), -known.quality.mean(axis=0)))[0])  # the cheapest of the best
    name = baseline or train.providers[best]
    arm = train.providers.index(name)
    with threadpool_limits(limits=1):
        compared = _compare(train, arm, policies, text_groups(train_table), seed)
        policy, weight = _cheapest(compared, tolerance, f"always {name}")
        objective = Objective(cost_weight=weight)
        fitted = _fit(policy, train, objective, seed)
        curve = policy_curve(policy, fitted, held.X, held.quality, held.cost, np.array([weight]))
    cost, difference = curve.outcomes.cost[:, 0], curve.outcomes.quality[:, 0] - held.quality[:, arm]
    nothing = Interval(0.0, 0.0, 0.0)  # the baseline is surely as good as itself
    same = policy == f"always {name}"
    if not same and not held.cost[:, arm].any():
        raise RoutelabError(f"{table.origin}: {name!r} costs nothing on the prompts that judge (column 'cost_usd')")
    group = np.unique(group, return_inverse=True)[1]
    return Recommendation(
        table=table.origin,
        policy=policy,
        baseline=name,
        tolerance=tolerance,
        objective=objective,
        n_train=len(known.X),
        n_eval=len(held.X),
        saving=nothing if same else saving_interval(cost, held.cost[:, arm], group, RESAMPLES, seed),
        quality_difference=nothing if same else difference_interval(difference, group, RESAMPLES, seed),
        cost=float(cost.mean()),
        baseline_cost=float(held.cost[:, arm].mean()),
        quality=float(curve.points[0, 1]),
        shares=dict(zip(held.providers, curve.shares[0].tolist(), strict=True)),
        doubts=tuple(_doubts(table, cost, held.cost[:, arm])),
        caveats=(*left_out, *_unused(table, len(known.X) + len(held.X))),
        compared=compared,
        fitted=fitted,
        featurizer=featurizer,
    )


def _often_asked(table: PerformanceTable, baseline: str | None) -> tuple[PerformanceTable, list[str]]:
    """The table without providers that have half as many outcomes as another, unless ``baseline``; and who these are.

    Only prompts with the outcomes of all providers can be compared: a newcomer would leave few of them.
    """
    known = (np.isfinite(table.quality) & np.isfinite(table.cost)).sum(axis=0)
    kept = [
        name for name, count in zip(table.providers, known, strict=True) if 2 * count >= known.max() or name == baseline
    ]
    if len(kept) < 2 or len(kept) == table.k:
        return table, []
    told = [
        f"{name} was left out: it has {count:,} outcomes, others up to {known.max():,}"
        for name, count in zip(table.providers, known, strict=True)
        if name not in kept
    ]
    return table.select_providers(kept), told


def _unused(table: PerformanceTable, used: int) -> Iterator[str]:
    if used < table.n:
        yield f"{table.n - used:,} of {table.n:,} prompts lack an outcome of some provider and were not compared"


def _doubts(table: PerformanceTable, *costs: Floats) -> Iterator[str]:
    """Why an interval may not hold."""
    graded = np.isfinite(table.quality).mean(axis=0)
    if np.ptp(graded) > _UNEQUAL:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(table.providers, graded, strict=True))
        yield f"grades are missing unequally ({shares}), and failures may be what is missing"
    if any(map(is_dominated, costs)):
        yield "a few prompts carry a third of the cost or more, too few to know what it costs on average"


def text_groups(table: PerformanceTable) -> Groups:
    """A number (n,) for each prompt; prompts of the same text, but for case and white space, share it."""
    texts = table.prompt_ids if table.prompts is None else same_texts(table.prompts)
    return np.asarray(np.unique(np.asarray(texts, dtype=str), return_inverse=True)[1])


def fold_numbers(group: Groups, folds: int, seed: int) -> Groups:
    """The fold (n,) of each prompt, at random; those of one group stay together."""
    return np.random.default_rng(seed).permutation(int(group.max()) + 1)[group] % folds


def _compare(train: Split, arm: int, policies: Sequence[str], group: Groups, seed: int) -> pd.DataFrame:
    """A row per provider and per policy and λ: its cost, and its quality less that of ``arm``, with a 95 % interval.

    Scored are the prompts with every outcome; the others teach all the same.
    """
    sweep = cost_weight_sweep(train.cost)
    complete = complete_rows(train.quality, train.cost)
    # folds of what is scored, so that each has its share of it
    folds = np.full(len(complete), -1)
    folds[complete] = fold_numbers(np.unique(group[complete], return_inverse=True)[1], FOLDS, seed)
    folds[~complete & np.isin(group, group[complete])] = -2  # may teach of a text that is scored: left out
    parts: dict[str, list[Curve]] = {name: [] for name in ("", *policies)}
    scored, groups = [], []
    for number in tqdm(np.unique(folds[complete]), desc="cross-validation", disable=None):
        inner, outer = train.rows((folds != number) & (folds != -2)), train.rows(folds == number)
        scored.append(outer)
        groups.append(group[folds == number])
        parts[""].append(Curve(outer.quality, outer.cost))
        for name in policies:
            fitted = learned(POLICIES[name], inner, Objective(), seed)
            parts[name].append(policy_curve(name, fitted, outer.X, outer.quality, outer.cost, sweep).outcomes)
    reference = np.concatenate([outer.quality[:, arm] for outer in scored])
    drawn = np.unique(np.concatenate(groups), return_inverse=True)[1]
    rows: list[dict[str, Any]] = []
    for name, curves in parts.items():
        quality, cost = (np.concatenate(matrices) for matrices in zip(*curves, strict=True))
        singles = [(f"always {provider}", 0.0) for provider in train.providers]
        labels = [(name, float(weight)) for weight in sweep] if name else singles
        for column, (policy, weight) in enumerate(labels):
            difference = quality[:, column] - reference
            mean, half = difference.mean(), Z * standard_error(difference, drawn)
            row = {"policy": policy, "cost_weight": weight, "cost": cost[:, column].mean()}
            rows.append(row | {"difference": mean, "low": mean - half, "high": mean + half})
    return pd.DataFrame(rows)


def _cheapest(compared: pd.DataFrame, tolerance: float, baseline: str) -> tuple[str, float]:
    """Policy and λ of the cheapest row that is surely as good as ``baseline``, which itself always is."""
    good = compared["low"] >= -tolerance
    itself = compared["policy"] == baseline
    first = compared.assign(other=~itself)[good | itself].sort_values(["cost", "other"], kind="stable").head(1)
    return str(first["policy"].item()), float(first["cost_weight"].item())


def _fit(name: str, train: Split, objective: Objective, seed: int) -> Policy:
    if name in POLICIES:
        return learned(POLICIES[name], train, objective, seed)
    policy = FixedPolicy(name.removeprefix("always "))
    return policy.fit(train.X, train.quality, train.cost, train.latency, providers=train.providers)
