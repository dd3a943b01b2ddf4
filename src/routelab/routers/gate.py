"""The gate between champion and challenger: losses on outcomes that neither had learned from when it forecast them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from routelab.errors import RoutelabError
from routelab.policies import Policy
from routelab.policies.base import Features, Floats

LEAST_OUTCOMES = 20


@dataclass(frozen=True, slots=True)
class Observed:
    """A graded outcome, and what the champion expected when it decided.

    Args:
        number: of the decision.
        request_id: as the log keeps it.
        provider: that answered.
        x: features (p,).
        quality: in [0, 1].
        cost: USD.
        expected: the champion's forecast of quality and cost.
        se: standard error of ``quality``, where its grader stated one.
    """

    number: int
    request_id: str
    provider: str
    x: Features
    quality: float
    cost: float
    expected: tuple[float, float]
    se: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Mean losses of both on the same outcomes; the challenger passes where its loss is not the larger one."""

    n: int
    challenger: float
    champion: float

    @property
    def passed(self) -> bool:
        """Whether the challenger may replace the champion."""
        return self.challenger <= self.champion


def latest_half(observed: Iterable[Observed]) -> list[Observed]:
    """Of each provider the later half of its outcomes, by decision: what a challenger must not be fitted on."""
    outcomes = dict[str, list[Observed]]()
    for one in sorted(observed, key=lambda one: one.number):
        outcomes.setdefault(one.provider, []).append(one)
    held = [one for of_provider in outcomes.values() for one in of_provider[len(of_provider) // 2 :]]
    return sorted(held, key=lambda one: one.number)


def judge(challenger: Policy, held: Sequence[Observed]) -> Verdict:
    """Prequential losses of champion and challenger on ``held`` outcomes, in order of decision.

    The loss of a forecast is its squared error of quality plus that of cost, each in units of the variance of these
    outcomes, so that both weigh alike. The champion's forecasts are those that it decided by. A challenger that learns
    online forecasts an outcome before it learns it.

    Raises:
        RoutelabError: fewer than 20 of the outcomes are of providers that the challenger knows.
    """
    held = [one for one in held if one.provider in challenger.providers_]
    if len(held) < LEAST_OUTCOMES:
        raise RoutelabError(f"{len(held)} held-out outcomes are too few to judge on; record at least {LEAST_OUTCOMES}")
    truth = np.array([(one.quality, one.cost) for one in held])
    unit = truth.std(axis=0)
    unit[unit == 0.0] = 1.0
    champion = np.array([one.expected for one in held])
    losses = [
        float((((forecast - truth) / unit) ** 2).sum(axis=1).mean())
        for forecast in (_forecasts(challenger, held), champion)
    ]
    return Verdict(len(held), *losses)


def _forecasts(policy: Policy, held: Sequence[Observed]) -> Floats:
    """Expected quality and cost (m, 2) of each outcome."""
    arms = [policy.providers_.index(one.provider) for one in held]
    if not policy.online:
        expected, rows = policy.predict(np.stack([one.x for one in held])), np.arange(len(held))
        return np.column_stack([expected.quality[rows, arms], expected.cost[rows, arms]])
    forecasts = np.empty((len(held), 2))
    for row, (one, arm) in enumerate(zip(held, arms, strict=True)):
        expected = policy.predict(one.x[None, :])
        forecasts[row] = expected.quality[0, arm], expected.cost[0, arm]
        policy.update(one.x.astype(np.float64), arm, one.quality, one.cost, se=one.se)
    return forecasts
