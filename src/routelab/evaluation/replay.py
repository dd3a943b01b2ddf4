"""Prequential replay: a policy meets recorded prompts one by one and sees only the outcome of the arm it chose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from routelab.arrays import Floats
from routelab.drift import Drift
from routelab.errors import RoutelabError
from routelab.evaluation.regret import regret_objective, regrets
from routelab.evaluation.stream import NEVER, Event, Stream
from routelab.html import Card, Shown, number
from routelab.policies.base import Features, Policy
from routelab.policies.budget import BudgetPacer
from routelab.policies.objective import Objective

_KEEP = 0.1  # of the evidence of an arm that drifted


class DriftDetector(Protocol):
    """Tells when a provider's rewards leave what was expected of them."""

    def update(self, provider: str, residual: float) -> Drift | None:
        """Learn reward − expected quality of one outcome; what has changed, if that shows now."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Replay(Shown):
    """What happened in one pass over n steps.

    Args:
        arms: (n,) chosen columns of the stream.
        reward: (n,) quality of the chosen arm in [0, 1].
        cost: (n,) USD of the chosen arm.
        regret: (n,) cumulative utility lost against the best arm of each prompt in hindsight.
        fixed_regret: (n,) cumulative utility lost against the best single arm in hindsight, where it is there; may be
            negative.
        cost_weight: λ of the utility that regrets are measured in.
        propensity: (n,) of the chosen arms, or None where it was not asked for.
        drifts: (step, provider) of each drift that was detected.
    """

    arms: NDArray[np.intp]
    reward: Floats
    cost: Floats
    regret: Floats
    fixed_regret: Floats
    cost_weight: float
    propensity: Floats | None
    drifts: tuple[tuple[int, str], ...]

    def _card(self) -> Card:
        n = len(self.arms)
        if not n:
            return Card("no step")
        arms, counts = np.unique(self.arms, return_counts=True)
        chosen = ", ".join(f"{arm}: {count / n:.1%}" for arm, count in zip(arms[:12], counts, strict=False))
        facts = {
            "mean quality": number(float(self.reward.mean())),
            "USD per 1,000": number(1e3 * float(self.cost.mean())),
            "regret": f"{number(float(self.regret[-1]))} against the best arm of each prompt",
            "": f"{number(float(self.fixed_regret[-1]))} against the best single arm (at λ = {self.cost_weight:g})",
            "arms chosen": chosen + (", …" if len(arms) > 12 else ""),
            "drifts": ", ".join(f"{name} at step {step}" for step, name in self.drifts[:5]) or "none found",
        }
        return Card(f"{n} steps, mean quality {facts['mean quality']}", list(facts.items()))


def replay_stream(
    policy: Policy,
    stream: Stream,
    trade_off: Objective | BudgetPacer,
    rng: np.random.Generator,
    *,
    learn: bool = True,
    monitor: DriftDetector | None = None,
    propensities: bool = False,
) -> Replay:
    """Let ``policy`` choose and learn through a stream; it (and a pacer) is updated in place.

    A step is: events; the choice; its cost, which a pacer learns at once; then every feedback that is due, with the
    number of decisions made since its own and a cost at the prices announced by now. A pacer starts a new accounting
    period at the first scored step.

    Regret is measured in the utility of the objective, within a budget of that in hindsight (``regret_objective``).

    Args:
        policy: knows the arms ``stream.present``, cold or warm.
        stream: what happens.
        trade_off: an objective, or a pacer that gives one for each step.
        rng: of the policy's own draws.
        learn: False for a policy that only chooses.
        monitor: sees reward less expected quality; where it tells a drift the policy forgets what it knew of that arm.
        propensities: whether to compute those of the choices.

    Raises:
        RoutelabError: the policy has other arms than the stream, or a chosen outcome is missing.
    """
    if set(policy.providers_) != set(stream.present):
        raise RoutelabError(
            f"the policy has the arms {', '.join(policy.providers_) or 'none'}, "
            f"the stream {', '.join(stream.present)}; add them to the policy first"
        )
    pacer = trade_off if isinstance(trade_off, BudgetPacer) else None
    objective = trade_off if isinstance(trade_off, Objective) else Objective()
    events: defaultdict[int, list[Event]] = defaultdict(list)
    for event in stream.events:
        events[event.step].append(event)
    feedback = _Feedback(policy, stream, monitor)
    columns = [stream.providers.index(name) for name in policy.providers_]
    costs = feedback.costs
    missing = (np.isnan(stream.quality) | np.isnan(stream.cost)).tolist()
    arms, chances = [], []
    for step, x in enumerate(stream.X):
        if step in events:
            for event in events[step]:
                feedback.happen(event)
            columns = [stream.providers.index(name) for name in policy.providers_]
        if pacer is not None:
            if step == stream.start:
                pacer.forgive()
            objective = pacer.objective()
        choice = policy.select(x, objective, rng)
        column = columns[choice.arm]
        if missing[step][column]:
            name = stream.providers[column]
            raise RoutelabError(f"step {step}: the policy chose {name!r}, whose outcome is missing; drop that prompt")
        arms.append(column)
        if propensities:
            chances.append(choice.propensity)
        if pacer is not None:
            pacer.update(costs[step][column])
        if learn:
            expected = float(choice.estimates.quality[0, choice.arm]) if monitor is not None else 0.0
            feedback.await_outcome(step, column, expected)
            feedback.arrive(step)
    drifts = tuple(feedback.drifts)
    return _told(stream, arms, trade_off, np.array(chances) if propensities else None, drifts)


def replay(
    policy: Policy, X: Features, quality: Floats, cost: Floats, objective: Objective, rng: np.random.Generator
) -> Replay:
    """Let ``policy`` choose and learn through complete rows in their order; it is updated in place.

    Args:
        policy: a bandit that knows its k arms (``add_provider``), cold or warm.
        X: (n, p) features.
        quality: (n, k) in [0, 1], complete.
        cost: (n, k) USD, complete.
        objective: the trade-off; regret is measured in its utility.
        rng: of the policy's own draws.

    Raises:
        RoutelabError: an outcome is missing, shapes disagree, or the policy has another number of arms.

    >>> from routelab.policies import ThompsonPolicy
    >>> policy = ThompsonPolicy().add_provider("good").add_provider("bad")
    >>> quality = np.tile([0.9, 0.1], (200, 1))
    >>> run = replay(policy, np.zeros((200, 1)), quality, np.zeros((200, 2)), Objective(), np.random.default_rng(0))
    >>> bool((run.arms[-50:] == 0).mean() > 0.95)
    True
    """
    if np.isnan(quality).any() or np.isnan(cost).any():
        raise RoutelabError("replay needs every outcome; drop the prompts with a missing quality or cost")
    if len(policy.providers_) != quality.shape[1]:
        raise RoutelabError(f"the policy has {len(policy.providers_)} arms, the outcomes {quality.shape[1]} columns")
    return replay_stream(policy, Stream(X, quality, cost, policy.providers_), objective, rng)


class _Feedback:
    """Outcomes on their way to the policy."""

    def __init__(self, policy: Policy, stream: Stream, monitor: DriftDetector | None) -> None:
        self.policy, self.stream, self.monitor = policy, stream, monitor
        # Python's own floats: indexing them is several times as fast
        self.rewards = (stream.quality if stream.shown is None else stream.shown).tolist()
        self.costs = stream.cost.tolist()
        self.delay = [0] * len(stream.X) if stream.delay is None else stream.delay.tolist()
        self.due: dict[int, list[tuple[int, int, float, float]]] = {}
        self.price_levels = [1.0] * len(stream.providers)
        self.drifts: list[tuple[int, str]] = []

    def await_outcome(self, step: int, column: int, expected: float) -> None:
        """Note when the outcome of the decision of ``step`` is due."""
        if self.delay[step] != NEVER:
            outcome = step, column, expected, self.price_levels[column]
            self.due.setdefault(step + self.delay[step], []).append(outcome)

    def arrive(self, now: int) -> None:
        """Tell the policy what is due, at present prices; outcomes of providers that have gone since are lost."""
        for step, column, expected, level in self.due.pop(now, ()):
            name = self.stream.providers[column]
            reward, cost = self.rewards[step][column], self.costs[step][column] * (self.price_levels[column] / level)
            if name not in self.policy.providers_:
                continue
            arm = self.policy.providers_.index(name)
            self.policy.update(self.stream.X[step], arm, reward, cost, age=now - step)
            drift = None if self.monitor is None else self.monitor.update(name, reward - expected)
            if drift is not None:
                self.policy.forget_provider(name, _KEEP, drift.after - drift.before)
                self.drifts.append((now, name))

    def happen(self, event: Event) -> None:
        """Tell the policy of an event."""
        if event.action == "add":
            self.policy.add_provider(event.provider, cost=event.number)
        elif event.action == "remove":
            self.policy.remove_provider(event.provider)
        else:
            self.policy.reprice_provider(event.provider, event.number)
            self.price_levels[self.stream.providers.index(event.provider)] *= event.number


def _told(
    stream: Stream,
    chosen: Sequence[int],
    trade_off: Objective | BudgetPacer,
    propensity: Floats | None,
    drifts: tuple[tuple[int, str], ...],
) -> Replay:
    """The choices with what they came to."""
    rows, arms, objective = np.arange(len(chosen)), np.array(chosen, dtype=np.intp), regret_objective(stream, trade_off)
    regret, fixed_regret = regrets(objective.utility(stream.quality, stream.cost), arms)
    return Replay(
        arms=arms,
        reward=stream.quality[rows, arms],
        cost=stream.cost[rows, arms],
        regret=regret,
        fixed_regret=fixed_regret,
        cost_weight=objective.cost_weight,
        propensity=propensity,
        drifts=drifts,
    )
