"""Which router for a table: chosen within its training prompts, judged once on prompts that nobody has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from routelab.arrays import Floats
from routelab.benchmark.harness import RESAMPLES, TrainSplit, splits_of
from routelab.benchmark.recommendation import Recommendation
from routelab.benchmark.runs import learned
from routelab.errors import PolicyError, RoutelabError
from routelab.evaluation.bootstrap import Interval, percentile_interval, resample_weights
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.curves import policy_curve
from routelab.evaluation.split import Split, check_outcomes
from routelab.features import RequestFeaturizer
from routelab.policies import POLICIES, FixedPolicy, Policy
from routelab.policies.objective import Objective, cost_weight_sweep
from routelab.tables.splitting import same_texts
from routelab.tables.table import PerformanceTable

#: Policies of which one fit serves every trade-off.
CANDIDATES = ("forest", "ridge", "knn", "cluster", "plug-in")
FOLDS = 5
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


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
    evaluation prompts, which had no part in the choice, with a paired bootstrap over prompts.

    Args:
        table: of your own, or a registered one.
        tolerance: quality in [0, 1] that may be lost on average.
        baseline: provider to be compared with, such as the one that serves today; None for the best on the training
            prompts.
        policies: names out of ``CANDIDATES``.
        train_split: as in ``evaluate_table``: by default the table's own split if there is one, else 0.7.
        seed: of everything random.

    Raises:
        PolicyError: a policy that is no candidate.
        RoutelabError: an unknown baseline or one that is free, a negative tolerance, or a table on which nothing can
            be learned or scored.

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
    [(train_table, held_table)] = splits_of(table, train_split, seed, 1)
    check_outcomes(train_table, f"{table.origin}, training split")
    check_outcomes(held_table, f"{table.origin}, evaluation split")
    featurizer = RequestFeaturizer(seed=seed).fit(train_table)
    train, everything = (Split.of(side, featurizer) for side in (train_table, held_table))
    held = everything.complete(f"{table.origin}, evaluation split")
    name = baseline or train.providers[int(np.nanmean(train.quality, axis=0).argmax())]
    arm = train.providers.index(name)
    if not held.cost[:, arm].mean() > 0.0:
        raise RoutelabError(f"{table.origin}: {name!r} costs nothing (column 'cost_usd'); there is nothing to save")
    with threadpool_limits(limits=1):
        compared = _compare(train, arm, policies, fold_numbers(train_table, FOLDS, seed), seed)
        policy, weight = _cheapest(compared, tolerance, f"always {name}")
        objective = Objective(cost_weight=weight)
        fitted = _fit(policy, train, objective, seed)
        curve = policy_curve(policy, fitted, held.X, held.quality, held.cost, np.array([weight]))
    nothing = Interval(0.0, 0.0, 0.0)  # the baseline is surely as good as itself
    same = policy == f"always {name}"
    saving, difference = (nothing, nothing) if same else _judged(curve.outcomes, held, arm, seed)
    return Recommendation(
        table=table.origin,
        policy=policy,
        baseline=name,
        tolerance=tolerance,
        objective=objective,
        n_train=len(train.X),
        n_eval=len(held.X),
        saving=saving,
        quality_difference=difference,
        cost=float(curve.points[0, 0]),
        quality=float(curve.points[0, 1]),
        shares=dict(zip(held.providers, curve.shares[0].tolist(), strict=True)),
        compared=compared,
        fitted=fitted,
        featurizer=featurizer,
    )


def fold_numbers(table: PerformanceTable, folds: int, seed: int) -> NDArray[np.intp]:
    """The fold (n,) of each prompt, at random; prompts of the same text stay together."""
    texts = table.prompt_ids if table.prompts is None else same_texts(table.prompts)
    groups, group = np.unique(np.asarray(texts, dtype=str), return_inverse=True)
    return np.random.default_rng(seed).permutation(len(groups))[group] % folds


def _compare(train: Split, arm: int, policies: Sequence[str], folds: NDArray[np.intp], seed: int) -> pd.DataFrame:
    """A row per provider and per policy and λ: its cost, and its quality less that of ``arm`` with standard error."""
    sweep = cost_weight_sweep(train.cost)
    parts: dict[str, list[Curve]] = {name: [] for name in ("", *policies)}
    scored = []
    numbers = np.unique(folds)
    for number in tqdm(numbers, desc="cross-validation", disable=None):
        inner, outer = train.rows(folds != number), train.rows(folds == number).complete("a fold of the training split")
        scored.append(outer)
        parts[""].append(Curve(outer.quality, outer.cost))
        for name in policies:
            fitted = learned(POLICIES[name], inner, Objective(), seed)
            parts[name].append(policy_curve(name, fitted, outer.X, outer.quality, outer.cost, sweep).outcomes)
    reference = np.concatenate([outer.quality[:, arm] for outer in scored])
    rows: list[dict[str, Any]] = []
    for name, curves in parts.items():
        quality, cost = (np.concatenate(matrices) for matrices in zip(*curves, strict=True))
        singles = [(f"always {provider}", 0.0) for provider in train.providers]
        labels = [(name, float(weight)) for weight in sweep] if name else singles
        for column, (policy, weight) in enumerate(labels):
            difference = quality[:, column] - reference
            error = _and_two(difference).std(ddof=1) / np.sqrt(len(difference) + 2)
            row = {"policy": policy, "cost_weight": weight, "cost": cost[:, column].mean()}
            rows.append(row | {"difference": difference.mean(), "se": error})
    return pd.DataFrame(rows)


def _cheapest(compared: pd.DataFrame, tolerance: float, baseline: str) -> tuple[str, float]:
    """Policy and λ of the cheapest row that is surely as good as ``baseline``, which itself always is."""
    good = compared["difference"] - _Z * compared["se"] >= -tolerance
    first = compared[good | (compared["policy"] == baseline)].sort_values("cost", kind="stable").head(1)
    return str(first["policy"].item()), float(first["cost_weight"].item())


def _fit(name: str, train: Split, objective: Objective, seed: int) -> Policy:
    if name in POLICIES:
        return learned(POLICIES[name], train, objective, seed)
    policy = FixedPolicy(name.removeprefix("always "))
    return policy.fit(train.X, train.quality, train.cost, train.latency, providers=train.providers)


def _judged(outcomes: Curve, held: Split, arm: int, seed: int) -> tuple[Interval, Interval]:
    """Share of the baseline's cost that is saved, and the difference in quality, with paired 95 % intervals."""
    cost = np.column_stack([outcomes.cost[:, 0], held.cost[:, arm]])
    difference = outcomes.quality[:, 0] - held.quality[:, arm]
    rng = np.random.default_rng([seed, 1])
    means = np.vstack([cost.mean(axis=0), *(drawn @ cost / len(cost) for drawn in _draws(len(cost), rng))])
    saving = 1.0 - means[:, 0] / means[:, 1]
    doubted = _and_two(difference)
    means = np.concatenate([drawn @ doubted / len(doubted) for drawn in _draws(len(doubted), rng)])
    return percentile_interval(saving[0], saving[1:]), percentile_interval(float(difference.mean()), means)


def _draws(n: int, rng: np.random.Generator) -> Iterator[Floats]:
    return resample_weights(n, RESAMPLES, rng)


def _and_two(difference: Floats) -> Floats:
    """Differences (n + 2,) with one prompt more that was won, and one that was lost.

    A handful of prompts on which two providers happen to be equal would otherwise prove them equal. After the adjusted
    interval for paired proportions of Bonett and Price (2012), doi 10.3102/1076998611411915.
    """
    return np.append(difference, [1.0, -1.0])
