"""Router: decisions that are executed by the providers of a pool, which grows, shrinks and changes its prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from routelab.db_records import Outcome
from routelab.errors import RoutelabError
from routelab.evaluators import Grade
from routelab.html import Card, Shown
from routelab.policies import Policy
from routelab.providers import Completion, Price, Provider, ProviderPool
from routelab.request import LLMRequest, is_finite
from routelab.routers.answering import AnsweringRouter
from routelab.routers.decision import PriceChange, RoutingDecision, typical_cost
from routelab.routers.explanation import Explanation, explain
from routelab.routers.pending import Pending, check_same

_KEPT_CHANGES = 100  # of the prices of a provider


class Router(AnsweringRouter, Shown):
    """What all routers share: decide, record, execute, learn.

    Args:
        providers: the arms; a pool, or providers that one is made of.
        policy: chooses among them.
        featurizer: fitted; None makes one that needs no training data (wordllama, a load slot per provider).
        db: log of decisions and outcomes; None keeps no log.
        objective: the trade-off.
        pacer: gives the trade-off of each decision instead, so that mean cost keeps to its budget. What failed
            providers charged counts to the request that they failed; a decision whose outcome never comes, as expected.
        horizon: decisions that are remembered: a later outcome is recorded in the log, not learned.
        deadline_s: seconds for one request, over all its attempts and while it waits; None is no deadline.
        retry_share: requests that may be tried once more when every provider failed them, as a share of all.
        stickiness: keeps a conversation where its prompt is cached, as far as that is worth it.
        seed: of the policy's draws, and of what else a router leaves to chance.
        clock: unix seconds.

    Attributes:
        pending: the decisions that are remembered.
        typical_costs: USD of each provider at the price that the router was last told; its names are those that it was
            told of. Routers may share a pool: each is to be told of a change, before any of them decides again.
        price_changes: those at run time, in their order, the last 100 of each provider.
        grading_cost_usd: what the grades cost so far; no pacer counts it.

    Raises:
        RoutelabError: the fitted policy knows other providers than the pool holds.
    """

    def _card(self) -> Card:
        policy, trained = type(self.policy).__name__, bool(self.policy.providers_)
        decided, came = self.pending.count, self.pending.count - self.pending.waiting - self.pending.expired
        facts = {
            "router": type(self).__name__,
            "policy": policy if trained else f"{policy}, not trained yet: rules decide",
            "version": str(self.policy_version or ""),
            "objective": str(self.objective) if self.pacer is None else repr(self.pacer),
            "decisions": f"{decided}; {came} with an outcome, {self.expired} forgotten before it came",
            "log": "none" if self.db is None else repr(self.db),
        }
        return Card(
            f"{policy}{'' if trained else ', not trained yet'}; {len(self.pool)} providers",
            [(name, told) for name, told in facts.items() if told],
            below=self.pool._card(),
        )

    def estimates(self, request: LLMRequest) -> dict[str, tuple[float, float]]:
        """Expected quality in [0, 1] and cost in USD of each provider for ``request``, by name."""
        policy = self.acting_policy()
        expected = policy.predict(self.features(request)[None, :])
        pairs = zip(expected.quality[0].tolist(), expected.cost[0].tolist(), strict=True)
        return dict(zip(policy.providers_, pairs, strict=True))

    def explain(self, request: LLMRequest) -> Explanation:
        """Why ``request`` would go where it would go now; nothing is drawn, recorded or learned."""
        x, names = self.features(request), self.featurizer.feature_names_
        policy = self.acting_policy()  # another than the router's own stands in for it and has learned nothing
        return explain(policy, x, self.present_objective(), names, self.background, known=policy is self.policy)

    def grade(self, decision_id: str, quality: float | Grade) -> None:
        """Grade in [0, 1] an answer that ``complete`` brought and its provider did not grade: its outcome is whole now.

        That of a decision which the router no longer remembers goes to the log, where that has the answer, and is not
        learned. The same grade again changes nothing. A ``Grade`` also tells its standard error, by which it counts
        for less, and its cost, which is part of ``grading_cost_usd`` and of no budget: a budget is for answers.

        Raises:
            RoutelabError: the decision is unknown to router and log, has another outcome already, or was not answered
                through ``complete``.
        """
        decided: Pending | Outcome | None = self.pending.get(decision_id)
        if decided is None and self.db is not None:
            decided = self.db.outcome(decision_id)
        grade = quality if isinstance(quality, Grade) else None
        told = (quality, None, 0.0) if grade is None else (grade.quality, grade.se, grade.cost_usd)
        if decided is None:
            raise RoutelabError(
                f"decision {decision_id!r} is unknown, or older than the last {self.pending.horizon} and without an "
                "answer in the log; give its outcome with record_outcome"
            )
        if isinstance(decided, Pending) and decided.completion is None:
            raise RoutelabError(f"decision {decision_id!r} has no answer yet; record its cost with record_outcome")
        if not is_finite(told[0]):
            raise RoutelabError(f"grade {quality!r} of decision {decision_id!r} is no number; grade it again")
        if isinstance(decided, Outcome):
            self._grade_late(decided, _graded(decided, *told))
        else:
            self._record(_graded(self._outcome(decision_id, decided.completion, None), *told))

    def _grade_late(self, known: Outcome, graded: Outcome) -> None:
        """Grade an answer that only the log remembers; any other outcome stays as it is."""
        remembered = self.pending.get(known.decision_id) is not None
        if self.db is None or remembered or known.quality is not None or known.error is not None:
            check_same(known, graded)
        else:
            self.db.record_grade(graded)
            self.db.flush()  # which refuses it where another grade came first

    async def grade_answer(
        self, request: LLMRequest, decision: RoutingDecision, completion: Completion
    ) -> float | None:
        """The grade of an answer that ``complete`` or ``stream`` brought; None: it waits for ``grade``.

        It is the provider's own where that grades itself. Else an ``OnlineMLRouter`` asks its grader, and records and
        learns what it says.
        """
        return completion.quality

    def add_provider(self, provider: Provider, *, quality: float = 0.5, latency: float | None = None) -> None:
        """Add a provider at run time, believed to have ``quality`` and ``latency`` (seconds) until it is observed.

        It may be in the pool already, where another router shares that.

        Raises:
            RoutelabError: its name is taken, or the policy cannot add it; nothing changes then.
        """
        name, cost = provider.name, typical_cost(provider.price)
        shared = name in self.pool and self.pool[name] is provider and name not in self.typical_costs
        if not shared:
            self.pool.add(provider)
        try:
            if self.policy.providers_:
                self.policy.add_provider(name, quality=quality, cost=cost, latency=latency)
        except RoutelabError:
            if not shared:
                self.pool.remove(name)
            raise
        self.typical_costs[name] = cost
        self._joined[name] = self.pending.count

    def remove_provider(self, name: str) -> None:
        """Remove a provider at run time; outcomes still to come from it are recorded, not learned.

        It may have left the pool already, where another router shares that. Its connections are its owner's to close
        (``OpenAIProvider.close``), once nothing of it is in flight.
        """
        if self.policy.providers_:
            self.policy.remove_provider(name)
        if name in self.pool or name not in self.typical_costs:
            self.pool.remove(name)
        self.typical_costs.pop(name, None)
        self._joined.pop(name, None)

    def reprice_provider(self, name: str, price: Price) -> None:
        """Set the price of a provider at run time; its expected cost changes by the factor of its typical cost.

        The factor is from the price that this router was last told, whatever another one has made of the pool's since.
        Outcomes of decisions from before are learned at the present price. A provider that was free has no such
        factor: its cost is learned from the next outcomes on.

        Raises:
            RoutelabError: the provider is unknown or sets its prices itself, the policy cannot be repriced, or the
                price falls to 0, from where no factor leads back (give a tiny one); nothing changes then.
        """
        before, cost = self.pool[name].price, typical_cost(price)
        told = self.typical_costs.get(name, 0.0)
        factor = cost / told if told else np.nan
        if factor == 0.0:
            raise RoutelabError(f"the price of {name!r} cannot fall to 0; give a tiny one, such as Price(1e-6, 1e-6)")
        self.pool.reprice(name, price)
        try:
            if self.policy.providers_ and np.isfinite(factor):
                self.policy.reprice_provider(name, factor)
        except RoutelabError:
            self.pool.reprice(name, before)
            raise
        self.typical_costs[name] = cost
        self._note(PriceChange(self.clock(), name, factor))

    def _note(self, change: PriceChange) -> None:
        """Keep the last changes of a provider; what it cost before them then tells nothing any more."""
        own = [index for index, known in enumerate(self.price_changes) if known.provider == change.provider]
        if len(own) == _KEPT_CHANGES:
            self.price_changes[own[1]] = replace(self.price_changes[own[1]], factor=np.nan)
            del self.price_changes[own[0]]
        self.price_changes.append(change)


def _graded(outcome: Outcome, quality: float, se: float | None, cost: float) -> Outcome:
    return replace(outcome, quality=quality, quality_se=se, grading_cost_usd=cost)


def introduce(policy: Policy, pool: ProviderPool) -> None:
    """Give a policy that knows no provider those of ``pool`` as arms, with what their prices tell."""
    if not policy.providers_:
        for provider in pool:
            policy.add_provider(provider.name, cost=typical_cost(provider.price))
