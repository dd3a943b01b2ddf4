"""Logs with a known truth, the mean of a table: its prompts drawn with replacement, one provider each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from routelab import Objective, RequestFeaturizer, load_source
from routelab.evaluation.ope import LoggedData, LowSampleWarning, evaluate, predicted_rewards, rank
from routelab.evaluation.split import Split
from routelab.policies import POLICIES
from routelab.stages.off_policy import draw
from routelab.tables.synthetic import World

Floats = NDArray[np.float64]
# Each is sometimes best somewhere: quality per USD.
QUALITY = Objective()
OBJECTIVES = {"paretobandit": Objective(cost_weight=5.0), "synthetic": Objective(cost_weight=20.0)}
#: All that are fitted on a table, but for variants of the forest and the bandits.
NAMES = (
    "best-single",
    "train-means",
    "random-mix",
    "rule",
    "knn",
    "ridge",
    "pairwise-forest",
    "cluster",
    "plug-in",
    "forest",
)


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

    def truth(self, name: str, objective: Objective = QUALITY) -> float:
        return float((self.policies[name] * objective.utility(self.quality, self.cost)).sum(axis=1).mean())

    def draw(self, n: int, epsilon: float, seed: int) -> tuple[LoggedData, NDArray[np.intp]]:
        """A log of n decisions, and the prompt of each."""
        logging = epsilon / len(self.providers) + (1.0 - epsilon) * self.base
        held = Split(self.X, self.quality, self.cost, None, np.full(len(self.X), ""), self.providers)
        return draw(held, self.X, logging, n, np.random.default_rng(seed))


def replayed(source: str, objective: Objective | None = None) -> Replayed:
    """The ten policies of ``NAMES`` at an objective (None: the source's); a ridge regression for quality alone logs."""
    table = World().generate(6000, seed=0).table if source == "synthetic" else load_source(source)
    train, evaluation = table.split(0.5, seed=0)
    featurizer = RequestFeaturizer(n_components=25)
    X, Z = featurizer.fit_transform(train), featurizer.transform(evaluation)
    scaler = StandardScaler().fit(X)
    few = PCA(16, svd_solver="full").fit(scaler.transform(X)).transform(scaler.transform(Z))
    served = OBJECTIVES[source] if objective is None else objective
    fitted = {name: POLICIES[name]().fit(X, train.quality, train.cost, providers=train.providers) for name in NAMES}
    policies = {name: policy.action_probabilities(Z, served) for name, policy in fitted.items()}
    base = fitted["ridge"].action_probabilities(Z, QUALITY)
    return Replayed(few, evaluation.quality, evaluation.cost, evaluation.providers, policies, base)


def coverage(
    world: Replayed, epsilon: float, logs: int, *, name: str = "forest", decisions: int = 2000, first: int = 0
) -> pd.DataFrame:
    """How often intervals of the mean quality of a policy hold the truth, and whether the log warned.

    A row per log, kind of interval and estimator: covered, width, value and few.
    """
    truth, rows = world.truth(name), []
    for seed in range(first, first + logs):
        log, prompt = world.draw(decisions, epsilon, seed)
        target = {name: world.policies[name][prompt]}
        predictions = predicted_rewards(log, ["quality"], seed=seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LowSampleWarning)
            for interval in ("bootstrap", "bernstein"):
                found = evaluate(
                    log,
                    target,
                    estimators=["dr", "snips"],
                    metrics=["quality"],
                    interval=interval,
                    n_resamples=400,
                    predictions=predictions,
                    seed=seed,
                )
                covered = (found["low"] <= truth) & (truth <= found["high"])
                width, few = found["high"] - found["low"], len(caught) > 0
                rows.append(
                    found[["estimator", "value"]].assign(interval=interval, covered=covered, width=width, few=few)
                )
    return pd.concat(rows, ignore_index=True).assign(error=lambda held: held["value"] - truth)


def rank_agreement(world: Replayed, objective: Objective, logs: int, *, first: int = 0) -> Floats:
    """Kendall's τ (logs,) between the ranking of the ten policies and the truth; ties within .005 do not count."""
    truth = np.array([world.truth(name, objective) for name in world.policies])
    agreement = []
    for seed in range(first, first + logs):
        log, prompt = world.draw(5000, 0.1, seed)
        targets = {name: probabilities[prompt] for name, probabilities in world.policies.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LowSampleWarning)
            ranked = rank(log, targets, objective=objective, n_resamples=100, seed=seed)
        value = ranked.set_index("policy")["value"].loc[list(targets)].to_numpy()
        true_gap, gap = (np.subtract.outer(one, one)[np.triu_indices(len(one), 1)] for one in (truth, value))
        counted = abs(true_gap) > 0.005
        agreement.append(np.sign(true_gap * gap)[counted].mean())
    return np.array(agreement)
