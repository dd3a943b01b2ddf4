"""Regret: what choices lose against the best in hindsight, and the price of cost at which a budget makes that fair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats
from routelab.evaluation.crossfit import oracle_curve
from routelab.evaluation.stream import Stream
from routelab.policies.budget import BudgetPacer
from routelab.policies.objective import Objective, cost_weight_sweep

_REFINEMENTS = 4  # of a sweep of 32 λ, each within one step of the last


def regrets(utility: Floats, arms: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Cumulative utility (n,) lost against the best arm of each step, and against the best single arm.

    The single arm is that of the highest mean; steps at which it is not there count 0.

    Args:
        utility: (n, k), NaN = the arm is not there.
        arms: (n,) that were chosen.

    >>> regrets(np.array([[1.0, 0.0], [0.0, 0.5]]), np.array([1, 1]))
    (array([1., 1.]), array([1. , 0.5]))
    """
    gained = utility[np.arange(len(arms)), arms]
    there = (~np.isnan(utility)).sum(axis=0)
    mean = np.where(there, np.nansum(utility, axis=0) / np.maximum(there, 1), -np.inf)
    fixed = utility[:, mean.argmax()]
    return np.cumsum(np.nanmax(utility, axis=1) - gained), np.cumsum(np.nan_to_num(fixed - gained))


def regret_objective(stream: Stream, trade_off: Objective | BudgetPacer) -> Objective:
    """The utility that regret is measured in: the objective's own; within a budget, at ``hindsight_price``.

    That price is of the scored steps as they really were, whatever the policy paid; under a floor of quality instead
    of a budget it is the pacer's base.
    """
    if isinstance(trade_off, Objective):
        return trade_off
    if trade_off.budget is None:
        return trade_off.base
    quality, cost = stream.quality[stream.start :], stream.cost[stream.start :]
    return Objective(cost_weight=hindsight_price(quality, cost, trade_off.budget))


def hindsight_price(quality: Floats, cost: Floats, budget: float) -> float:
    """The least λ at which choosing each prompt's arm of the highest quality − λ·cost costs at most ``budget``.

    It is the price of cost at the optimum of the best policy in hindsight; 0 where the budget binds nobody, and the
    end of the default sweep, at which the cheapest provider wins, where it cannot be kept.

    Args:
        quality: (n, k) in [0, 1], NaN = the arm is not there.
        cost: (n, k) USD, alike.
        budget: USD per request.

    >>> quality, cost = np.array([[0.5, 1.0], [0.5, 0.6]]), np.array([[0.0, 1.0], [0.0, 1.0]])
    >>> round(hindsight_price(quality, cost, budget=0.5), 3)
    0.1
    """
    absent = np.isnan(quality) | np.isnan(cost)
    # an arm that is not there: worse and dearer than any that is
    there = np.where(absent, 0.0, quality), np.where(absent, 2.0 * np.nanmax(cost), cost)
    weights = cost_weight_sweep(there[1])
    for _ in range(_REFINEMENTS):
        kept = oracle_curve(*there, weights).cost.mean(axis=0) <= budget
        if kept[0] or not kept.any():
            return float(weights[0 if kept[0] else -1])
        first = int(kept.argmax())
        weights = np.linspace(weights[first - 1], weights[first], 32)
    return float(weights[-1])
