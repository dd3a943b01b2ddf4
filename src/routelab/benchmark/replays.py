"""A scenario over many seeds: streams, policies and pacers put together, and run in parallel."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from routelab.benchmark.replay_scores import seed_scores
from routelab.benchmark.runs import new_policy
from routelab.errors import PolicyError, RoutelabError
from routelab.evaluation.budget import mixture_within
from routelab.evaluation.crossfit import Curve
from routelab.evaluation.replay import DriftDetector, Replay, replay_stream
from routelab.evaluation.scenarios import SCENARIOS, build
from routelab.evaluation.split import Split
from routelab.evaluation.stream import Stream
from routelab.policies import ONLINE, POLICIES, Policy
from routelab.policies.budget import BudgetPacer
from routelab.policies.objective import Objective


@dataclass(frozen=True, slots=True)
class Plan:
    """What is replayed.

    Args:
        scenario: one of ``SCENARIOS``.
        policy: one of ``POLICIES``.
        budget: USD per request on average, or None.
        cost_weight: λ where there is no budget.
        settings: of the scenario, instead of its defaults.
        warm_start: full outcomes that the policy is fitted on before the stream; None = a cold start.
        learning_part: whether the stream has one; without it, the scored part is all.
        monitor: makes the drift detector of each run; None = without one.

    Raises:
        RoutelabError: an unknown scenario or policy, an offline policy without outcomes to be fitted on, or a budget
            or cost weight out of range.
    """

    scenario: str
    policy: str
    budget: float | None = None
    cost_weight: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    warm_start: Split | None = None
    learning_part: bool = True
    monitor: Callable[[], DriftDetector] | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be run."""
        if self.scenario not in SCENARIOS:
            raise RoutelabError(f"no scenario {self.scenario!r}; known are {', '.join(SCENARIOS)}")
        if self.policy not in POLICIES:
            raise PolicyError(f"no policy {self.policy!r}; known are {', '.join(POLICIES)}")
        if self.warm_start is None and self.policy not in ONLINE:
            raise PolicyError(
                f"policy {self.policy!r} does not learn online; those that do are {', '.join(ONLINE)}. "
                "Or fit it beforehand: --warm-start with the name of the table"
            )
        self.trade_off()

    def trade_off(self) -> Objective | BudgetPacer:
        """A pacer of its own for one run, or the objective."""
        return Objective(cost_weight=self.cost_weight) if self.budget is None else BudgetPacer(self.budget)

    def stream(self, train: Split, held: Split, rng: np.random.Generator) -> Stream:
        """The stream of one seed."""
        stream = build(self.scenario, train, held, rng, **self.settings)
        return stream if self.learning_part else stream.scored()

    def new_policy(self, stream: Stream, seed: int) -> Policy:
        """The policy that meets ``stream``."""
        policy = new_policy(POLICIES[self.policy], Objective(cost_weight=self.cost_weight), seed)
        if self.warm_start is None:
            for provider in stream.present:
                policy.add_provider(provider)
            return policy
        known = [self.warm_start.providers.index(name) for name in stream.present]
        outcomes = self.warm_start.quality[:, known], self.warm_start.cost[:, known]
        return policy.fit(self.warm_start.X, *outcomes, providers=stream.present)


@dataclass(frozen=True, slots=True)
class SeedRun:
    """One seed: the pass with all its steps, the first scored step, and ``scores`` (see ``seed_scores``)."""

    replay: Replay
    start: int
    scores: dict[str, Any]


def run_seed(plan: Plan, train: Split, held: Split, seed: int) -> SeedRun:
    """One pass: ``seed`` shuffles each part, and feeds the policy's draws."""
    rng = np.random.default_rng(seed)
    with threadpool_limits(limits=1):
        stream = plan.stream(train, held, rng)
        policy = plan.new_policy(stream, seed)
        monitor = None if plan.monitor is None else plan.monitor()
        run = replay_stream(policy, stream, plan.trade_off(), rng, learn=policy.online, monitor=monitor)
    return SeedRun(run, stream.start, seed_scores(stream, run, plan.budget, seed))


def run_plans(
    plans: Sequence[Plan], train: Split, held: Split, *, seeds: int = 20, seed: int = 0, n_jobs: int | None = None
) -> list[list[SeedRun]]:
    """All plans under the seeds ``seed``, ``seed`` + 1, …, in parallel; the number of processes changes nothing.

    Args:
        plans: what to replay.
        train: the learning part, complete.
        held: the scored part, complete.
        seeds: how many, ≥ 1.
        seed: the first.
        n_jobs: processes; None = one per core, 1 = this one.

    Raises:
        RoutelabError: no seeds, settings that the scenario refuses, or a budget below the cheapest provider's mean
            cost in the learning part.
    """
    if seeds < 1:
        raise RoutelabError(f"{seeds} seeds; give 1 or more")
    for plan in plans:
        stream = build(plan.scenario, train, held, np.random.default_rng(seed), **plan.settings)
        there = [stream.providers.index(name) for name in stream.present]
        learning = Curve(stream.quality[: stream.start, there], stream.cost[: stream.start, there])
        if plan.budget is not None:
            mixture_within(learning, plan.budget, requests=1)  # refuses what cannot be kept
    tasks = [(plan, seed + each) for plan in plans for each in range(seeds)]
    calls = (delayed(run_seed)(plan, train, held, each) for plan, each in tasks)
    parallel = Parallel(n_jobs=n_jobs or os.cpu_count(), return_as="generator")
    done = list(tqdm(parallel(calls), total=len(tasks), disable=None))
    return [done[begin : begin + seeds] for begin in range(0, len(done), seeds)]
