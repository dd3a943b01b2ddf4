"""AnsweringRouter: decisions that are executed, from one provider to the next until one answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from routelab.db_records import AFTER_FAILURE, CANCELLED, Outcome
from routelab.policies import Choice, Objective
from routelab.providers import Chunk, Completion, DeadlineError, ProviderError
from routelab.providers.limits import CHARACTERS_PER_TOKEN, input_tokens
from routelab.providers.waiting import unanswered
from routelab.redaction import redacted
from routelab.request import LLMRequest
from routelab.routers.course import Course, Streamed
from routelab.routers.decision import RoutingDecision
from routelab.routers.diverting import next_best
from routelab.routers.recording import RecordingRouter

_PAUSE_S = 0.1  # before a second try, and up to twice as long


class AnsweringRouter(RecordingRouter):
    """Has requests answered; ``Router`` says what the arguments are."""

    async def complete(
        self, request: LLMRequest, *, objective: Objective | None = None, deadline_s: float | None = None
    ) -> tuple[RoutingDecision, Completion]:
        """Route ``request`` and have it answered; a provider that fails, in whatever way, falls to the next best.

        Where no provider can be asked now (limits, or it asked to be left alone), the request waits for the first that
        can; where all are left alone since they kept failing, it fails at once. An attempt
        has half of the time left while others remain. When every provider failed, one is asked once more, as far as
        the router's ``retry_share`` allows. Each attempt is a decision with an outcome. A failure is an outcome of
        quality 0, with 200 characters of its error, cut where they quote the request or show a key (``redacted``);
        what is raised says all. An answer that its provider did not grade is recorded, and waits for ``grade``. A log
        that fails costs no answer: the error goes to ``logging``, and what was to be recorded is learned all the same.

        Args:
            request: to be answered.
            objective: the trade-off of this request, instead of the router's.
            deadline_s: seconds for all attempts together, instead of the router's.

        Raises:
            FailingError: every provider is left alone since it kept failing.
            ProviderError: every provider failed, or none can be asked in time (``retry_after_s`` says when, where that
                is known); the message says what happened at each. Or one refused the request itself (``refused``):
                no other is asked then.
            DeadlineError: the time is over.
        """
        course = self._course(request, objective, deadline_s)
        while True:
            decision = await self._next(course)
            name, timeout_s = decision.provider.name, course.attempt_s(self._others(course))
            try:
                completion = await self.pool.complete(name, request, timeout_s=timeout_s)
                outcome = self._checked(decision, completion)
            except asyncio.CancelledError:
                self._record(Outcome(decision.decision_id, None, 0.0, self.clock(), error=CANCELLED), must_log=False)
                raise
            except Exception as error:
                self._failed(course, decision, error)
            else:
                self._answered(course, outcome, completion)
                return decision, completion

    async def stream(
        self, request: LLMRequest, *, objective: Objective | None = None, deadline_s: float | None = None
    ) -> Streamed:
        """The same, piece by piece: returns when the first chunk has come, and until then falls to the next best.

        An answer that breaks off later is a failure, with the cost that the provider told or, else, an estimate of
        what came (four characters a token). One that its reader closes early costs as much; nobody failed.

        Args:
            request: to be answered.
            objective: the trade-off of this request, instead of the router's.
            deadline_s: seconds until the last chunk, instead of the router's.

        Raises:
            ProviderError: as ``complete``; of an answer that breaks off, from its ``chunks``.
        """
        course = self._course(request, objective, deadline_s)
        chunks = self._relay(course)
        await anext(chunks)
        return Streamed(chunks, course)

    async def _relay(self, course: Course) -> AsyncGenerator[Chunk, None]:
        """An empty chunk once an answer begins, then the answer."""
        while True:
            decision = await self._next(course)
            name, first_s = decision.provider.name, course.attempt_s(self._others(course))
            total_s = None if first_s is None else course.left_s
            came: list[str] | None = None
            try:
                async with aclosing(self.pool.stream(name, course.request, first_s=first_s, total_s=total_s)) as answer:
                    async for piece in answer:
                        if came is None:
                            came = []
                            yield Chunk("")
                        if isinstance(piece, Completion):
                            outcome, completion = self._checked(decision, piece), piece
                        else:
                            came.append(piece.text)
                            yield piece
            except (asyncio.CancelledError, GeneratorExit):
                cost = self._estimated_cost(decision, course.request, came)
                self._record(Outcome(decision.decision_id, None, cost, self.clock(), error=CANCELLED), must_log=False)
                raise
            except Exception as error:
                self._failed(course, decision, error, came)
            else:
                self._answered(course, outcome, completion)
                return

    def _course(self, request: LLMRequest, objective: Objective | None, deadline_s: float | None) -> Course:
        self.retries.deposit()
        return Course(request, objective, self.deadline_s if deadline_s is None else deadline_s)

    def _others(self, course: Course) -> bool:
        """Whether somebody beside the one that is asked now has not been asked yet."""
        return len(self.pool) - len(course.failures) > 1

    async def _next(self, course: Course) -> RoutingDecision:
        """The next decision, once somebody can be asked.

        Raises:
            ProviderError: nobody is left, or can be asked in time.
        """
        left = [name for name in self.pool.names if name not in course.failures]
        try:
            if course.left_s <= 0.0:
                raise ProviderError("the time is over")
            if not left and await self._may_retry(course):
                left = list(course.failures)
            await self.pool.wait(left, self.pool.tokens(course.request), timeout_s=course.left_s)
        except (asyncio.CancelledError, ProviderError) as error:
            if course.failures:  # they were paid for; without a decision there was no request
                self._pay(course.owed, 0.0, 0.0, None)
            if isinstance(error, ProviderError):
                raise self._given_up(course, error) from None
            raise
        if not course.failures:
            course.decision = self.decide(course.request, objective=course.objective)
        else:
            course.decision = self._next_best(course, left)
        return course.decision

    async def _may_retry(self, course: Course) -> bool:
        """Whether a request that all have failed is tried once more, after a pause."""
        pause_s = self._jitter.uniform(_PAUSE_S, 2.0 * _PAUSE_S)
        if course.retried or course.left_s <= pause_s or not self.retries.withdraw():
            return False
        course.retried = True
        await asyncio.sleep(pause_s)
        return True

    def _given_up(self, course: Course, nobody: ProviderError) -> ProviderError:
        """What is raised: what happened at each provider, and when to come back, where they all said so."""
        told = "; ".join(f"{name}: {error}" for name, error in course.failures.items())
        message = f"every provider failed: {told}" if told else str(nobody)
        if told and len(course.failures) < len(self.pool):
            message = f"every provider that could be asked failed: {told}; {nobody}"
        if course.left_s <= 0.0:
            return DeadlineError(f"no answer within {course.deadline_s:g} s: {message}")
        reasons = [why for why in map(self.pool.unavailable, self.pool.names) if why is not None]
        return unanswered(message, reasons) if len(reasons) == len(self.pool) else ProviderError(message)

    def _next_best(self, course: Course, left: Sequence[str]) -> RoutingDecision:
        """The arm of the highest utility among those ``left`` that can be asked now: a decision of its own."""
        request, policy = course.request, self.acting_policy()
        x, objective = self.features(request), self._trade_off(request, policy, course.objective)
        closed = self._closed(request, policy.providers_)
        arms = [arm for arm, name in enumerate(policy.providers_) if name in left]
        expected = policy.predict(x[None, :])
        arm = next_best(expected, objective, [arm for arm in arms if arm not in closed] or arms)
        label = f"{type(policy).__name__}{AFTER_FAILURE}"
        return self._commit(request, x, policy, objective, Choice(arm, 1.0, expected), label, course.owed)

    def _checked(self, decision: RoutingDecision, completion: Completion) -> Outcome:
        """The outcome of an answer; ProviderError where it is none."""
        if completion.error is not None:
            raise ProviderError(completion.error, completion)
        return self._outcome(decision.decision_id, completion, completion.quality)

    def _answered(self, course: Course, outcome: Outcome, completion: Completion) -> None:
        course.completion = completion
        if self.stickiness is not None:
            self.stickiness.note(course.request, completion, self.clock())
        if completion.quality is None:
            self._await_grade(outcome, completion)
        else:
            self._record(outcome, must_log=False)

    def _failed(
        self, course: Course, decision: RoutingDecision, error: Exception, came: list[str] | None = None
    ) -> None:
        """Record a failure; raises where no other provider is to be asked: the request is refused, or chunks came."""
        told = error if isinstance(error, ProviderError) else ProviderError(f"{type(error).__name__}: {error}")
        name, final = decision.provider.name, told.refused or came is not None
        logged = redacted(str(told), *course.request.texts())
        outcome = self._outcome(decision.decision_id, told.completion, None if told.refused else 0.0, logged)
        if told.completion is None:
            outcome = replace(outcome, cost_usd=self._estimated_cost(decision, course.request, came))
        self._record(outcome, final=final, must_log=False)
        if final:
            raise told from None
        course.failures[name] = str(told)
        course.owed += outcome.cost_usd

    def _estimated_cost(self, decision: RoutingDecision, request: LLMRequest, came: list[str] | None) -> float:
        """USD of an answer of which the texts ``came``; None is of one that never began."""
        if came is None:
            return 0.0
        return decision.provider.price.cost_usd(input_tokens(request), len("".join(came)) / CHARACTERS_PER_TOKEN)
