"""OnlineMLRouter: routes, learns from every outcome, and retrains in the background behind a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from routelab.db_reading import TrainingData
from routelab.drift import Drift, DriftMonitor
from routelab.errors import RoutelabError
from routelab.evaluators import Grade, QualityEvaluator
from routelab.html import Card, Shown, number, short
from routelab.policies import EpsilonGreedyPolicy, ForestPolicy, Objective, Policy
from routelab.providers import Completion, Provider, ProviderPool
from routelab.request import LLMRequest
from routelab.routers.base import introduce
from routelab.routers.decision import RoutingDecision
from routelab.routers.ml import Prices
from routelab.routers.pending import Pending
from routelab.routers.retraining import RetrainingRouter
from routelab.routers.settings import Settings

Grader = QualityEvaluator | Callable[[LLMRequest, Completion], "float | Grade | Awaitable[float | Grade | None] | None"]


@dataclass(frozen=True, slots=True, repr=False)
class RoutingResult(Shown):
    """What came of one request: the decision, the answer, and its grade in [0, 1] (None: it waits for ``grade``)."""

    decision: RoutingDecision
    completion: Completion
    quality: float | None

    def _card(self) -> Card:
        said = self.completion
        grade = "waits for its grade" if self.quality is None else f"quality {number(self.quality)}"
        facts = f"{number(1e3 * said.cost_usd)} USD per 1,000, {number(said.latency_s, 3)} s, {grade}"
        text = said.text if said.error is None else said.error
        title = f"{short(said.provider)} {'answered' if said.error is None else 'failed'}: {facts}"
        return Card(title, notes=[short(text, 300)] if text else [], below=self.decision._card())


class OnlineMLRouter(RetrainingRouter):
    """Routes each request, learns from its outcome, and keeps its policy up to date while it serves.

    A policy that learns by ``update`` (a bandit) learns every outcome at once. In addition, or else, the router
    retrains after ``retrain_after`` outcomes, ``retrain_every_s`` seconds or a drift, in a thread and one at a time.
    A challenger is fitted on all but the later half of the champion's last 500 outcomes (of each provider's). It
    replaces the champion only if it forecasts that half at least as well (``gate.judge``), and is then served refitted
    on everything: the held-out half is the freshest evidence there is. What came during the fit is learned by both.
    The first fit of all replaces the rules without a gate. When a provider drifts (``DriftMonitor``), its outcomes
    from before are no longer trained on; a bandit forgets most of what it knows of it, any other policy is retrained.

    Args:
        providers: the arms; a pool, or providers that one is made of.
        policy: ``EpsilonGreedyPolicy(0.1, ForestPolicy())`` unless told otherwise: a forest that explores, so that its
            log stays usable for evaluation. A bandit starts at once, other policies by rules until they are trained.
        grader: a ``QualityEvaluator``, or a function that gives a number in [0, 1] or a ``Grade``, at once or as an
            awaitable. It grades the answers that their provider did not grade; None from it, or an exception, leaves
            an answer waiting for ``grade``. The answer is handed on once it is graded.
        retrain_after: outcomes, or None for never by their number.
        retrain_every_s: seconds of ``clock``, or None.
        monitor: of drifts.
        models_dir: folder that every version that is served is saved to.
        on_event: called with "version", "drift" or "grading failed" and a dict that says more; what it raises is
            logged, not passed on.
        heldout: share of the requests that ``train`` evaluates on.
        settings: ``featurizer``, ``db``, ``objective``, ``pacer``, ``horizon``, ``deadline_s``, ``retry_share``,
            ``stickiness``, ``seed``, ``clock``: see ``Router``. Only a bandit can do without the ``db``, which is
            retrained on.

    Attributes:
        versions: the last 1,000 attempts at a version, and rollbacks; ``on_event`` is told of all.

    Raises:
        RoutelabError: an argument is out of range, or the policy could never learn.

    >>> import asyncio
    >>> from routelab import PerformanceDB, simulated_providers
    >>> router = OnlineMLRouter(simulated_providers(), db=PerformanceDB("sqlite://"))
    >>> result = asyncio.run(router.route_and_learn(LLMRequest("Translate 'cheese' into French.")))
    >>> result.completion.provider == result.decision.provider.name, router.db.count()
    (True, (1, 1))
    """

    def __init__(
        self,
        providers: ProviderPool | Iterable[Provider],
        policy: Policy | None = None,
        *,
        grader: Grader | None = None,
        retrain_after: int | None = 200,
        retrain_every_s: float | None = None,
        monitor: DriftMonitor | None = None,
        models_dir: str | Path | None = None,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        heldout: float = 0.2,
        **settings: Unpack[Settings],
    ) -> None:
        policy = EpsilonGreedyPolicy(0.1, ForestPolicy()) if policy is None else policy
        if settings.get("db") is None and not policy.online:
            raise RoutelabError(f"{type(policy).__name__} learns from a log only; give db=PerformanceDB(…)")
        pool = providers if isinstance(providers, ProviderPool) else ProviderPool(providers)
        if policy.online:
            introduce(policy, pool)
        super().__init__(
            pool,
            policy,
            retrain_after=retrain_after,
            retrain_every_s=retrain_every_s,
            models_dir=models_dir,
            on_event=on_event,
            heldout=heldout,
            **settings,
        )
        self.grader = grader
        self.monitor = DriftMonitor() if monitor is None else monitor
        self._drifted: set[str] = set()  # since the present version began

    async def route_and_learn(
        self, request: LLMRequest, *, objective: Objective | None = None, deadline_s: float | None = None
    ) -> RoutingResult:
        """Route ``request``, have it answered and graded, record and learn the outcome, and retrain when it is time.

        Args:
            request: to be answered.
            objective: the trade-off of this request, instead of the router's.
            deadline_s: seconds for the answer, instead of the router's; grading may take longer.

        Raises:
            ProviderError: every provider failed.
            RoutelabError: the grader gave no number in [0, 1]; the answer waits for ``grade`` then.
        """
        decision, completion = await self.complete(request, objective=objective, deadline_s=deadline_s)
        quality = await self.grade_answer(request, decision, completion)
        if self.training:
            await asyncio.sleep(0)  # providers that answer at once must not starve the fit
        return RoutingResult(decision, completion, quality)

    async def grade_answer(
        self, request: LLMRequest, decision: RoutingDecision, completion: Completion
    ) -> float | None:
        """Have the grader grade an answer that its provider did not grade, record and learn that; see ``Router``.

        Raises:
            RoutelabError: the grader gave no number in [0, 1], or the answer has got another grade in the meantime.
        """
        if completion.quality is not None or (grade := await self._ask_grader(request, completion)) is None:
            return completion.quality
        self.grade(decision.decision_id, grade)
        return grade.quality if isinstance(grade, Grade) else grade

    async def _ask_grader(self, request: LLMRequest, completion: Completion) -> float | Grade | None:
        if self.grader is None:
            return None
        ask = self.grader.grade if isinstance(self.grader, QualityEvaluator) else self.grader
        try:
            grade = ask(request, completion)
            return await grade if isinstance(grade, Awaitable) else grade
        except Exception as error:  # an answer without a grade is still an answer
            told = {"provider": completion.provider, "error": f"{type(error).__name__}: {error}"}
            self._tell("grading failed", told | self._now("grading failed"))
            return None

    def remove_provider(self, name: str) -> None:
        """Remove a provider at run time; outcomes still to come from it are recorded, not learned."""
        super().remove_provider(name)
        self.monitor.restart(name)
        self._forget_observed(name)

    def _learn(self, decided: Pending, quality: float, cost: float, se: float | None) -> None:
        """Learn one outcome, look for a drift, and retrain where it is time."""
        self._count(decided, quality, cost, se)
        if self.policy.online:
            self._update_policy(decided, quality, cost, se)
        if decided.version == self.policy_version:
            drift = self.monitor.update(decided.provider, quality - decided.expected[0])
            if drift is not None:
                self._react(drift)
        self._retrain_if_due()

    def _react(self, drift: Drift) -> None:
        """Log a drift; what was learned of the provider before no longer counts."""
        at, version = self.clock(), str(self.policy_version)
        if self.db is not None:
            self.db.record_drift(drift, detected_at=at, decisions=self.pending.count, policy_version=version)
        self._drifted.add(drift.provider)
        self._outdated = True
        self._forget_observed(drift.provider, keep=drift.recent)
        if self.policy.online:
            self.policy.forget_provider(drift.provider, shift=drift.after - drift.before)
        else:
            self._due = f"drift of {drift.provider}"
        self._tell("drift", asdict(drift) | self._now(f"drift of {drift.provider}"))

    def _serve(self, policy: Policy, data: TrainingData, prices: Prices) -> None:
        """Replace the policy; what is expected of providers that drifted has changed with it."""
        super()._serve(policy, data, prices)
        for name in self._drifted:
            self.monitor.restart(name)
        self._drifted.clear()
