"""What a router makes of its log: training data as it holds now, a fit, and how good the fit is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from routelab.db_reading import TrainingData
from routelab.errors import RoutelabError
from routelab.html import Card, Shown, number
from routelab.performance_db import PerformanceDB
from routelab.policies import Objective, Policy
from routelab.policies.forest_classifier import best_labels
from routelab.routers.decision import PriceChange

Rows = NDArray[np.intp]

_LEAST_REQUESTS = 20


@dataclass(frozen=True, slots=True, repr=False)
class TrainingReport(Shown):
    """What a fit reached on requests that it did not see.

    Args:
        n_train: requests the evaluated policy was fitted on.
        n_heldout: requests it was evaluated on; the router then serves a fit on all of them.
        quality_mae: mean absolute error of estimated quality over the observed cells.
        cost_mae_usd: the same of cost, in USD.
        accuracy: share of held-out requests with two or more observed providers for which the policy chose the best
            observed one; None where there is no such request.
        utility: mean utility of the policy on the held-out requests that every provider answered; None without any.
        best_single_utility: the same of the provider with the best mean training utility.
    """

    n_train: int
    n_heldout: int
    quality_mae: float
    cost_mae_usd: float
    accuracy: float | None
    utility: float | None
    best_single_utility: float | None

    def _card(self) -> Card:
        facts = {
            "error of estimated quality": number(self.quality_mae),
            "error of estimated cost": f"{number(1e3 * self.cost_mae_usd)} USD per 1,000",
            "best provider chosen": "" if self.accuracy is None else f"{self.accuracy:.1%}",
            "utility": number(self.utility),
            "utility of the best single provider": number(self.best_single_utility),
        }
        title = f"trained on {self.n_train} requests, tested on {self.n_heldout} others"
        return Card(title, [(name, told) for name, told in facts.items() if told])


def read_valid(db: PerformanceDB, feature_set: str, changes: Sequence[PriceChange]) -> TrainingData:
    """The log as it holds now: costs at present prices, and no quality of a provider from before its last drift."""
    data = db.get_training_data(feature_set)
    quality, cost = data.quality.copy(), data.cost.copy()
    column = {name: j for j, name in enumerate(data.providers)}
    for change in changes:
        if change.provider in column:
            cost[data.decided_at < change.at, column[change.provider]] *= change.factor
    drifts = db.drifts()
    for name, at, recent in zip(drifts["provider"], drifts["detected_at"], drifts["recent"], strict=True):
        if name in column:
            seen = np.flatnonzero(~np.isnan(quality[:, column[name]]) & (data.decided_at <= at))
            quality[seen[: len(seen) - int(recent)], column[name]] = np.nan
    return replace(data, quality=quality, cost=cost)


def without(data: TrainingData, request_ids: Collection[str]) -> TrainingData:
    """The data with the answers to these requests ungraded."""
    hidden = np.isin(data.request_ids.astype(str), list(request_ids))
    return replace(data, quality=np.where(hidden[:, None], np.nan, data.quality))


def answered_rows(data: TrainingData, names: Collection[str]) -> Rows:
    """Rows that hold a graded answer by one of the providers ``names``.

    Raises:
        RoutelabError: there are fewer than 20.
    """
    rows = np.flatnonzero(_graded(data, names).any(axis=1))
    if len(rows) < _LEAST_REQUESTS:
        raise RoutelabError(f"{len(rows)} answered requests are too few; record at least {_LEAST_REQUESTS}")
    return rows


def _graded(data: TrainingData, names: Collection[str]) -> NDArray[np.bool_]:
    graded: NDArray[np.bool_] = ~np.isnan(data.quality) & np.array([name in names for name in data.providers])
    return graded


def graded_arms(data: TrainingData, names: Collection[str], rows: Rows) -> Rows:
    """Columns of those of the providers ``names`` that have a graded answer and a known cost within ``rows``.

    Raises:
        RoutelabError: there are fewer than two.
    """
    known = ~np.isnan(data.cost[rows]).all(axis=0)
    arms = np.flatnonzero(_graded(data, names)[rows].any(axis=0) & known)
    if len(arms) < 2:
        raise RoutelabError("fewer than two providers have graded outcomes; route and grade more requests")
    return arms


def fit_rows(policy: Policy, data: TrainingData, arms: Rows, rows: Rows) -> Policy:
    """A fitted clone of ``policy``."""
    quality, cost, latency = (values[np.ix_(rows, arms)] for values in (data.quality, data.cost, data.latency))
    se, names = data.quality_se[np.ix_(rows, arms)], [data.providers[j] for j in arms]
    fresh: Policy = clone(policy)
    return fresh.fit(
        data.X[rows], quality, cost, latency, providers=names, quality_se=None if np.isnan(se).all() else se
    )


def evaluate(
    policy: Policy, data: TrainingData, arms: Rows, train: Rows, held: Rows, objective: Objective
) -> TrainingReport:
    """How good ``policy``, fitted on the rows ``train``, is on the rows ``held``."""
    quality, cost, latency = (values[:, arms] for values in (data.quality, data.cost, data.latency))
    expected = policy.predict(data.X[held])
    chosen = policy.action_probabilities(data.X[held], objective)
    labels = best_labels(quality[held], cost[held], _known(latency[held]), objective)
    labelled = labels >= 0
    utility = objective.utility(quality, cost, latency)
    complete = ~np.isnan(utility[held]).any(axis=1)
    best = int(np.nanmean(utility[train], axis=0).argmax())
    return TrainingReport(
        n_train=len(train),
        n_heldout=len(held),
        quality_mae=float(np.nanmean(np.abs(expected.quality - quality[held]))),
        cost_mae_usd=float(np.nanmean(np.abs(expected.cost - cost[held]))),
        accuracy=float(chosen[labelled, labels[labelled]].mean()) if labelled.any() else None,
        utility=float((chosen * utility[held])[complete].sum(axis=1).mean()) if complete.any() else None,
        best_single_utility=float(utility[held][complete, best].mean()) if complete.any() else None,
    )


def _known(latency: NDArray[np.float64]) -> NDArray[np.float64] | None:
    return None if np.isnan(latency).all(axis=0).any() else latency


def heldout_rows(data: TrainingData, rows: Rows, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """About ``share`` of ``rows``; the same prompt (without its hash: the same features) stays on one side."""
    keys = [data.prompt_sha256[row] or data.X[row].tobytes().hex() for row in rows]
    _, group = np.unique(keys, return_inverse=True)
    held: NDArray[np.bool_] = (rng.random(group.max() + 1) < share)[group]
    if held.all() or not held.any():
        raise RoutelabError(f"a held-out share of {share} leaves one side empty; record more different requests")
    return held
