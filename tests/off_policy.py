"""Logs with a known truth: prompts of a table drawn with replacement, one provider each; the truth is the table's mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from routelab import Objective, PerformanceTable, RequestFeaturizer, load_source
from routelab.evaluation.ope import LoggedData
from routelab.policies import POLICIES, FixedPolicy, Policy, RidgePolicy
from routelab.tables.synthetic import World

Floats = NDArray[np.float64]
# Each is sometimes best somewhere: quality per USD.
OBJECTIVES = {"paretobandit": Objective(cost_weight=5.0), "synthetic": Objective(cost_weight=20.0)}
NAMES = ("train-means", "random-mix", "rule", "knn", "ridge", "cluster", "forest")


@dataclass(frozen=True)
class Replayed:
    """Evaluation prompts with all outcomes, and policies fitted on the training prompts.

    Args:
        X: (n, p) few principal features, for reward models.
        quality: (n, k).
        cost: (n, k) USD.
        providers: names (k,).
        policies: probabilities (n, k) of named policies.
        base: probabilities (n, k) of what logs, less its exploration.
    """

    X: Floats
    quality: Floats
    cost: Floats
    providers: tuple[str, ...]
    policies: dict[str, Floats]
    base: Floats

    def truth(self, name: str, objective: Objective = Objective()) -> float:
        return float((self.policies[name] * objective.utility(self.quality, self.cost)).sum(axis=1).mean())

    def draw(self, n: int, epsilon: float, seed: int) -> tuple[LoggedData, NDArray[np.intp]]:
        """A log of n decisions, and the prompt of each."""
        rng, k = np.random.default_rng(seed), len(self.providers)
        prompt = rng.integers(len(self.X), size=n)
        logged = epsilon / k + (1.0 - epsilon) * self.base[prompt]
        action = (rng.random(n)[:, None] > logged.cumsum(axis=1)).sum(axis=1).clip(0, k - 1)
        log = LoggedData(
            action,
            self.quality[prompt, action],
            logged[np.arange(n), action],
            self.providers,
            cost=self.cost[prompt, action],
            X=self.X[prompt],
            probabilities=logged,
        )
        return log, prompt


def replayed(source: str, *, forest_trees: int = 50) -> Replayed:
    """The ten policies: seven of ``NAMES`` at the source's objective, and three providers fixed.

    A forest at another trade-off (quality alone) logs.
    """
    table = World().generate(6000, seed=0).table if source == "synthetic" else load_source(source)
    train, evaluation = table.split(0.5, seed=0)
    featurizer = RequestFeaturizer(n_components=25)
    X, Z = featurizer.fit_transform(train), featurizer.transform(evaluation)
    scaler = StandardScaler().fit(X)
    few = PCA(16, svd_solver="full").fit(scaler.transform(X)).transform(scaler.transform(Z))
    objective, policies = OBJECTIVES[source], {}
    for name in NAMES:
        policies[name] = fitted(POLICIES[name](), X, train).action_probabilities(Z, objective)
    for provider in picked(train):
        policies[f"fixed:{provider}"] = fitted(FixedPolicy(provider), X, train).action_probabilities(Z, objective)
    base = fitted(RidgePolicy(), X, train).action_probabilities(Z, Objective())
    return Replayed(few, evaluation.quality, evaluation.cost, evaluation.providers, policies, base)


def fitted(policy: Policy, X: Floats, train: PerformanceTable) -> Policy:
    return policy.fit(X, train.quality, train.cost, providers=train.providers)


def picked(table: PerformanceTable) -> list[str]:
    """The cheapest provider, the dearest and one between."""
    order = np.argsort(np.nanmean(table.cost, axis=0))
    return [table.providers[order[place]] for place in (0, len(order) // 2, -1)]
