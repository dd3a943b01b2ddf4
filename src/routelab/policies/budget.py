"""BudgetPacer: a price on cost (and latency) that is steered so that a mean keeps to its bound."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from routelab.errors import RoutelabError
from routelab.policies.objective import Objective
from routelab.request import is_finite

_PROPORTIONAL, _INTEGRAL = 0.07, 5e-4  # of a debt in units of what one request may add to it
_MEMORY = 200  # requests over which that unit is averaged
_START = math.log(0.1)
_LEAST, _MOST = math.log(1e-3), math.log(30.0)


@dataclass(slots=True)
class Dual:
    """The price of one bounded mean, as a factor: a proportional-integral controller on the debt.

    With excess e_t = value_t/bound − 1, its root mean square s and the debt D_t = Σ e, the log of the factor is
    I_t + 0.07·D_t/s, and I_t grows by 5e-4·D_t/s with each request. The first term alone is dual ascent on
    the Lagrangian in its exponentiated-gradient form (Balseiro & Gur, *Learning in Repeated Auctions with Budgets*,
    2019) with steps in units of s; the integral lets a price stay where it is needed without a lasting debt.
    The factor keeps within 0.001 and 30, and the debt within what moves it from end to end.

    Args:
        bound: on the mean, > 0.
        level: I.
        debt: D.
        square: s².
        seen: requests that s² averages, at most 200.
    """

    bound: float
    level: float = _START
    debt: float = 0.0
    square: float = 1.0
    seen: int = 0

    @property
    def factor(self) -> float:
        """What the price is a multiple of its unit by."""
        return math.exp(_within(self.level + _PROPORTIONAL * self.debt / math.sqrt(self.square)))

    def update(self, value: float) -> None:
        """Learn the value of one request."""
        excess = value / self.bound - 1.0
        self.seen = min(self.seen + 1, _MEMORY)
        self.square = max(self.square + (excess * excess - self.square) / (self.seen + 1), 1e-4)
        spread = math.sqrt(self.square)
        most = (_MOST - _LEAST) * spread / _PROPORTIONAL
        self.debt = min(max(self.debt + excess, -most), most)
        self.level = _within(self.level + _INTEGRAL * self.debt / spread)

    def forgive(self) -> None:
        """Keep the price, forget the debt."""
        self.level, self.debt = math.log(self.factor), 0.0


def _within(log: float) -> float:
    return min(max(log, _LEAST), _MOST)


class BudgetPacer:
    """Trade-offs for one request after the other, so that mean cost keeps to a budget while quality is maximised.

    Instead of a budget it may hold a floor of mean quality at the least cost, and beside either a ceiling of mean
    latency. The prices are steered by what happened (see ``Dual``), whatever the policy; no horizon is needed. A
    budget below the cheapest cost cannot be kept: the price then stays at its upper end, which chooses the cheapest.

    Args:
        budget: USD per request on average, > 0, or None with ``min_quality``.
        base: weights and constraints that are kept; its cost weight is the least price of cost.
        mode: "soft" steers the mean; "hard" also refuses arms whose expected cost would take the mean of all
            requests so far above the budget, those in flight (``reserve``) counted at what they are expected to cost.
            It can still be exceeded by what requests cost beyond expectation, and where no arm is cheap enough.
        min_quality: floor of mean quality in (0, 1], instead of a budget.
        max_latency: ceiling of mean latency in seconds, > 0.

    Raises:
        RoutelabError: not exactly one of ``budget`` and ``min_quality``, a bound out of range, or an unknown mode.

    >>> pacer = BudgetPacer(budget=0.001)
    >>> before = pacer.objective().cost_weight
    >>> for _ in range(20):
    ...     pacer.update(0.002)
    >>> pacer.objective().cost_weight > before
    True
    """

    def __init__(
        self,
        budget: float | None = None,
        base: Objective = Objective(),
        *,
        mode: Literal["soft", "hard"] = "soft",
        min_quality: float | None = None,
        max_latency: float | None = None,
    ) -> None:
        if (budget is None) == (min_quality is None):
            raise RoutelabError("BudgetPacer takes either a budget or min_quality; give exactly one of them")
        for name, value in (("budget", budget), ("min_quality", min_quality), ("max_latency", max_latency)):
            if value is not None and not (is_finite(value) and value > 0.0):
                raise RoutelabError(f"BudgetPacer.{name} is {value!r}; give a finite number > 0")
        if min_quality is not None and min_quality > 1.0:
            raise RoutelabError(f"BudgetPacer.min_quality is {min_quality!r}; give a number in (0, 1]")
        if mode not in ("soft", "hard") or (mode == "hard" and budget is None):
            raise RoutelabError(f"BudgetPacer.mode is {mode!r}; give 'soft', or 'hard' with a budget")
        self.budget, self.base, self.mode = budget, base, mode
        self.min_quality, self.max_latency = min_quality, max_latency
        self.requests = self.in_flight = 0
        self.spent = self.reserved = 0.0
        # of cost; where quality is above its floor, cost may weigh more
        self._dual = Dual(budget or min_quality or 0.0)
        self._latency = None if max_latency is None else Dual(max_latency)

    def __repr__(self) -> str:
        """Its bounds."""
        bounds = {name: getattr(self, name) for name in ("budget", "min_quality", "max_latency")}
        return f"BudgetPacer({', '.join(f'{name}={bound:g}' for name, bound in bounds.items() if bound is not None)})"

    def objective(self) -> Objective:
        """The trade-off for the next choice."""
        unit = self.budget or self.spent / max(self.requests, 1)
        price = self._dual.factor / unit if unit else 0.0
        changes: dict[str, Any] = {"cost_weight": max(price, self.base.cost_weight)}
        if self._latency is not None and self.max_latency is not None:
            changes["latency_weight"] = max(self._latency.factor / self.max_latency, self.base.latency_weight)
        if self.mode == "hard" and self.budget is not None:
            room = max((self.requests + self.in_flight + 1) * self.budget - self.spent - self.reserved, 0.0)
            changes["max_cost"] = room if self.base.max_cost is None else min(room, self.base.max_cost)
        return replace(self.base, **changes)

    def reserve(self, cost: float, requests: int = 1) -> None:
        """Count requests in flight and the USD that they are expected to cost; negative numbers take them back."""
        self.in_flight += requests
        self.reserved += cost

    def update(self, cost: float, *, quality: float | None = None, latency: float | None = None) -> None:
        """Learn what one request came to: USD, and quality in [0, 1] and seconds where they have a bound.

        A quality or latency that is not known leaves its price as it is.

        Raises:
            RoutelabError: a value is negative or not finite; nothing is learned then.
        """
        for name, value in (("cost", cost), ("quality", quality), ("latency", latency)):
            if value is not None and not (is_finite(value) and value >= 0.0):
                raise RoutelabError(f"BudgetPacer.update got the {name} {value!r}; give a finite number ≥ 0")
        self.requests += 1
        self.spent += cost
        if self.budget is not None:
            self._dual.update(cost)
        elif quality is not None:
            self._dual.update(quality)
        if self._latency is not None and latency is not None:
            self._latency.update(latency)

    def forgive(self) -> None:
        """Start a new accounting period: prices stay, debts and savings of the past no longer count."""
        if self.budget is not None:  # a floor keeps them: they tell what a request costs
            self.requests, self.spent = 0, 0.0
        self._dual.forgive()
        if self._latency is not None:
            self._latency.forgive()

    def state(self) -> dict[str, Any]:
        """Everything as JSON: ``BudgetPacer.restored(state)`` goes on as this one would."""
        return {
            "budget": self.budget,
            "base": asdict(self.base),
            "mode": self.mode,
            "min_quality": self.min_quality,
            "max_latency": self.max_latency,
            "requests": self.requests,
            "spent": self.spent,
            "in_flight": self.in_flight,
            "reserved": self.reserved,
            "dual": asdict(self._dual),
            "latency": None if self._latency is None else asdict(self._latency),
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Inverse of ``state``."""
        self = cls(
            state["budget"],
            Objective(**state["base"]),
            mode=state["mode"],
            min_quality=state["min_quality"],
            max_latency=state["max_latency"],
        )
        for name in ("requests", "spent", "in_flight", "reserved"):
            setattr(self, name, state[name])
        self._dual = Dual(**state["dual"])
        self._latency = None if state["latency"] is None else Dual(**state["latency"])
        return self
