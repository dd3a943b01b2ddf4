"""RecordingRouter: outcomes join their decisions, however late, and are learned from."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from routelab.db_records import Outcome
from routelab.errors import DatabaseError, RoutelabError
from routelab.providers import Completion
from routelab.routers.deciding import DecidingRouter
from routelab.routers.decision import typical_cost
from routelab.routers.pending import Pending, check_same

_UNGRADED: dict[str, Any] = {"quality": None, "quality_se": None, "grading_cost_usd": 0.0}
_log = logging.getLogger(__name__)


class RecordingRouter(DecidingRouter):
    """Joins outcomes to decisions; ``Router`` says what the arguments are."""

    def record_outcome(
        self,
        decision_id: str,
        *,
        quality: float | None,
        cost_usd: float,
        latency_s: float | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        error: str | None = None,
        quality_se: float | None = None,
        grading_cost_usd: float = 0.0,
    ) -> None:
        """Join the outcome of a decision, however late, and let the policy learn from it.

        An answer that the router brought has its outcome already; ``grade`` it.

        The same outcome again changes nothing. That of a decision which the router no longer remembers (older than
        its ``horizon``, or made before a restart) goes to the log and is not learned; that of one which the log did
        not take is learned only.

        Raises:
            RoutelabError: the decision is unknown to router and log, it has another outcome already, or a value is
                out of range; nothing is recorded or learned then.
        """
        told = (latency_s, input_tokens, output_tokens, error, quality_se, grading_cost_usd)
        self._record(Outcome(decision_id, quality, cost_usd, self.clock(), *told))

    def _record(self, outcome: Outcome, *, final: bool = True, must_log: bool = True) -> None:
        """Record and learn; not ``final`` is the outcome of a provider that failed, while others are still asked.

        Where it need not be logged, as of a call, a log that fails is told of by ``logging``, and costs no answer.
        """
        decided = self.pending.get(outcome.decision_id)
        if isinstance(decided, Outcome):
            check_same(decided, outcome)
            return
        if decided is None:
            if must_log:
                self._record_forgotten(outcome)
            else:
                self._write(outcome, answered=False, must_log=False)
            return
        if decided.completion is not None:
            check_same(self._outcome(outcome.decision_id, decided.completion, None), replace(outcome, **_UNGRADED))
        if decided.logged:
            self._write(outcome, answered=decided.completion is not None, must_log=must_log)
        self.pending.settle(outcome)
        self.grading_cost_usd += outcome.grading_cost_usd
        if decided.owed is not None:
            self._reserve(-decided.expected[1], -1)
            if final:
                self._pay(decided.owed, outcome.cost_usd, outcome.quality, outcome.latency_s)
            else:
                self._reserve(outcome.cost_usd, 0)
        joined = self._joined.get(decided.provider, 0)  # another of the same name may have left before
        if outcome.quality is not None and decided.provider in self.pool and decided.number > joined:
            self._learn(decided, outcome.quality, outcome.cost_usd, outcome.quality_se)

    def _write(self, outcome: Outcome, *, answered: bool, must_log: bool) -> bool:
        """Have an outcome in the log, or the grade of an answer that is there; whether the log took it."""
        try:
            if self.db is not None and not answered:
                self.db.record_outcome(outcome)
            elif self.db is not None and outcome.quality is not None:
                self.db.record_grade(outcome)
        except DatabaseError:
            if must_log:
                raise
            _log.exception("the outcome of decision %r could not be recorded", outcome.decision_id)
            return False
        return True

    def _record_forgotten(self, outcome: Outcome) -> None:
        if self.db is None:
            raise RoutelabError(
                f"decision {outcome.decision_id!r} is unknown: the router remembers its last {self.pending.horizon} "
                "decisions; give it a db to keep them all"
            )
        self.db.record_outcome(outcome)
        self.db.flush()  # which refuses what the log does not know, or knows otherwise

    def _pay(self, owed: float, cost: float, quality: float | None, latency: float | None) -> None:
        """Tell the pacer what one request came to, with what is ``owed`` (USD, reserved) to providers that failed."""
        if self.pacer is not None:
            self.pacer.reserve(-owed, 0)
            self.pacer.update(owed + cost, quality=quality, latency=latency)

    def _learn(self, decided: Pending, quality: float, cost: float, se: float | None) -> None:
        """Learn from one graded outcome; routers that learn in batches do nothing here."""

    def _update_policy(self, decided: Pending, quality: float, cost: float, se: float | None) -> None:
        """Let the policy, a bandit, learn one outcome, at the present price of its provider."""
        arm, factor = self.policy.providers_.index(decided.provider), self._price_factor(decided)
        now = None if factor is None else factor * cost
        self.policy.update(decided.x.astype(np.float64), arm, quality, now, age=self.pending.age(decided), se=se)

    def _price_factor(self, decided: Pending) -> float | None:
        """Typical cost of the provider now over that of then; None where it was free then and is not now."""
        now = typical_cost(self.pool[decided.provider].price)
        if now == decided.typical:
            return 1.0
        return now / decided.typical if decided.typical else None

    def _outcome(
        self, decision_id: str, completion: Completion | None, quality: float | None, error: str | None = None
    ) -> Outcome:
        """What a call came to; one that brought nothing cost nothing."""
        if completion is None:
            return Outcome(decision_id, quality, 0.0, self.clock(), error=error)
        return Outcome(
            decision_id,
            quality,
            completion.cost_usd,
            self.clock(),
            completion.latency_s,
            completion.input_tokens,
            completion.output_tokens,
            error,
            first_token_s=completion.first_token_s,
            cached_tokens=completion.cached_tokens,
        )

    def _await_grade(self, outcome: Outcome, completion: Completion) -> None:
        """Record an answer, and keep it until its grade comes; a budget counts its cost now."""
        decided = self.pending.get(outcome.decision_id)
        if isinstance(decided, Outcome):
            return  # told by the caller while the provider answered
        logged = (decided is None or decided.logged) and self._write(outcome, answered=False, must_log=False)
        if decided is None:
            return  # expired meanwhile
        if decided.owed is not None and self.pacer is not None and self.pacer.budget is not None:
            self._reserve(-decided.expected[1], -1)
            self._pay(decided.owed, completion.cost_usd, None, completion.latency_s)
            decided = replace(decided, owed=None)
        self.pending.change(outcome.decision_id, replace(decided, completion=completion, logged=logged))
