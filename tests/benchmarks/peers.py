"""Ours and its peers behind one face: ``choose`` an arm for the features of a request, ``learn`` what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mabwiser.mab import MAB
from pareto_bandit import BanditRouter, FeatureService
from pareto_bandit.budget_pacer import BudgetPacer as TheirPacer
from pareto_bandit.config import BEST_K3_HPARAMS, BEST_K3_TABULA_RASA_HPARAMS, DEFAULT_MODEL_REGISTRY_PATH
from pareto_bandit.storage import EphemeralContextStore
from scipy import stats

from routelab import BudgetPacer, Objective
from routelab.policies import Policy

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Player(Protocol):
    """Chooses arms and learns from their outcomes."""

    def choose(self, x: Floats) -> int: ...

    def learn(self, x: Floats, arm: int, reward: float, cost: float) -> None: ...


class Ours:
    """A policy of this package, inside a budget where there is one."""

    def __init__(self, policy: Policy, arms: int, seed: int, budget: float | None = None) -> None:
        self.policy, self.rng = policy, np.random.default_rng(seed)
        for arm in range(arms):
            policy.add_provider(str(arm))
        self.objective = Objective()
        self.pacer = None if budget is None else BudgetPacer(budget)

    def choose(self, x: Floats) -> int:
        objective = self.objective if self.pacer is None else self.pacer.objective()
        return self.policy.select(x, objective, self.rng).arm

    def learn(self, x: Floats, arm: int, reward: float, cost: float) -> None:
        self.policy.update(x, arm, reward, cost)
        if self.pacer is not None:
            self.pacer.update(cost)

    def new_period(self) -> None:
        """Carry no debt into what follows."""
        if self.pacer is not None:
            self.pacer.forgive()


class MABWiser:
    """A bandit of mabwiser, with context or without; it wants one outcome before it chooses, here one of arm 0."""

    def __init__(self, learning_policy: Any, arms: int, seed: int, *, context: bool = True) -> None:
        self.bandit = MAB(list(range(arms)), learning_policy, seed=seed)
        self.context, self.fitted = context, False

    def choose(self, x: Floats) -> int:
        if not self.fitted:
            return 0
        return int(self.bandit.predict(x[None, :]) if self.context else self.bandit.predict())

    def learn(self, x: Floats, arm: int, reward: float, cost: float) -> None:
        fit = self.bandit.partial_fit if self.fitted else self.bandit.fit
        self.fitted = True
        fit([arm], [reward], x[None, :]) if self.context else fit([arm], [reward])


@cache
def shipped_models() -> dict[str, dict[str, Any]]:
    """Models and prices as paretobandit ships them; without its speed labels, as in its demo."""
    models = json.loads(Path(DEFAULT_MODEL_REGISTRY_PATH).read_text(encoding="utf-8"))["models"]
    return {m["model_id"]: {k: m[k] for k in ("model_id", "input_cost_per_m", "output_cost_per_m")} for m in models}


class ParetoBandit:
    """The router of paretobandit, set up as its demo does for paced budgets, fed ready feature vectors.

    Args:
        models: names of the arms in its registry, in the order of the columns.
        width: number of features, without the constant that it wants last.
        priors: "none" starts cold, with what its authors found best for that; a path (or "warmup", the priors it
            ships) starts warm, with what they found best for that.
    """

    def __init__(
        self, models: tuple[str, ...], width: int, seed: int, budget: float | None = None, *, priors: str = "none"
    ) -> None:
        best = BEST_K3_TABULA_RASA_HPARAMS if priors == "none" else BEST_K3_HPARAMS
        self.models = models
        self.router = BanditRouter.create(
            model_registry={model: shipped_models()[model] for model in models},
            feature_service=FeatureService.for_precomputed(width + 1),
            context_store=EphemeralContextStore(),
            priors=priors,
            prior_n_effective=best["prior_n_effective"],
            alpha=best["alpha"],
            forgetting_factor=best["forgetting_factor"],
            cost_penalty=0.0,
            budget_pacer=None if budget is None else TheirPacer(budget),
            bandit_seed=seed,
        )

    def choose(self, x: Floats) -> int:
        model, self.log = self.router.route(np.append(x, 1.0))
        return self.models.index(model)

    def learn(self, x: Floats, arm: int, reward: float, cost: float) -> None:
        self.log.cost_usd = cost
        self.router.process_feedback(self.log.request_id, reward=reward)

    def new_period(self) -> None:
        """Its pacer looks back on some twenty requests: there is no debt to forgive."""


def play(player: Player, X: Floats, rewards: Floats, costs: Floats, order: Iterable[int]) -> Floats:
    """Arms (m,) that ``player`` chose for the requests of ``order`` (m,), while it learned rewards and costs (n, k).

    It sees the outcome of the arm it chose and no other.
    """
    arms = []
    for row in order:
        arm = player.choose(X[row])
        player.learn(X[row], arm, float(rewards[row, arm]), float(costs[row, arm]))
        arms.append(arm)
    return np.array(arms)


def interval(values: Floats) -> tuple[float, float]:
    """Mean and half-width of its 95 % t-interval, over seeds (s,)."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)
