"""ShadowRouter: other routers decide on every request as well; their choices are logged, not executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from routelab.abtest.delegating import DelegatingRouter, named, share_log
from routelab.abtest.shadow_report import ShadowReport, shadow_report
from routelab.db_records import Decision, new_decision_id
from routelab.errors import ExperimentError
from routelab.performance_db import PerformanceDB
from routelab.policies import Choice
from routelab.request import LLMRequest
from routelab.routers import Router, RoutingDecision


class ShadowRouter(DelegatingRouter):
    """Routes by ``live``, and logs with what probabilities each shadow would have chosen which provider.

    A shadow sees every request and no outcome: it decides as it is, and learns nothing. Give it the pool of ``live``,
    so that it sees the same load. One that raises harms nobody.
    Its choices stand apart from the log of decisions (``PerformanceDB.shadows``), joined by ``request_id``, which is
    therefore to name each request once.

    Args:
        live: decides, is executed and learns.
        shadows: routers that are tried, by name.
        db: log of decisions, outcomes and shadow choices; ``live`` gets it where it has none.

    Attributes:
        failures: how often each shadow raised.
        last_error: of each shadow that ever raised.

    Raises:
        ExperimentError: ``live`` has another log, or is its own shadow.

    >>> import asyncio
    >>> from routelab import BanditRouter, simulated_providers
    >>> live = BanditRouter(simulated_providers(), epsilon=0.2)
    >>> router = ShadowRouter(live, {"bold": BanditRouter(simulated_providers(), epsilon=0.9)}, PerformanceDB("sqlite://"))
    >>> for _ in range(20):
    ...     decision, _ = asyncio.run(router.complete(LLMRequest("Why is the sky blue?")))
    >>> router.report("bold").requests, router.report("bold").supported
    (20, 1.0)
    """

    def __init__(self, live: Router, shadows: Mapping[str, Router], db: PerformanceDB) -> None:
        if any(shadow is live for shadow in shadows.values()):
            raise ExperimentError("the live router is its own shadow; give the shadow a router of its own")
        self.db = db
        self.live = share_log("live", live, db)
        self.clock = live.clock
        self.shadows = dict(shadows)
        self.failures: Counter[str] = Counter()
        self.last_error: dict[str, str] = {}

    def report(self, shadow: str) -> ShadowReport:
        """What the log answers about ``shadow``, and what it cannot.

        Raises:
            ExperimentError: the log has no choice of a shadow of this name.
        """
        return shadow_report(self.db, shadow)

    def _enter(self, request: LLMRequest) -> tuple[Router, LLMRequest]:
        """Let the shadows choose."""
        request = named(request)
        for name, router in self.shadows.items():
            try:
                self.db.record_shadow(name, would_choose(router, request))
            except Exception as error:  # live goes on whatever a shadow does
                self.failures[name] += 1
                self.last_error[name] = f"{type(error).__name__}: {error}"
        return self.live, request

    def _named(self) -> dict[str, Router]:
        return {"live": self.live} | {f"shadow {name}": router for name, router in self.shadows.items()}

    def _held(self) -> list[Router]:
        return [self.live, *self.shadows.values()]

    def _decider(self, decision_id: str) -> Router:
        return self.live


def would_choose(router: Router, request: LLMRequest) -> Decision:
    """What ``router`` would decide, without a trace in its log, its memory or its policy; only its ``rng`` moves on."""
    policy, x, objective = router.acting_policy(), router.features(request), router.present_objective()
    # not by `select`, with which a bandit counts a decision and forgets
    probabilities = policy.propensities(x, objective)()
    arm = int(router.rng.choice(len(probabilities), p=probabilities / probabilities.sum()))
    decision = RoutingDecision(
        decision_id=new_decision_id(),
        provider=router.pool[policy.providers_[arm]],
        providers=policy.providers_,
        choice=Choice(arm, probabilities, policy.predict(x[None, :])),
        objective=objective,
        policy=type(policy).__name__,
    )
    return decision.record(
        request,
        x,
        decided_at=router.clock(),
        feature_set=router.featurizer.feature_set_,
        policy_version=router.policy_version,
    )
