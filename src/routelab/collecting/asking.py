"""Workers that ask providers one prompt after another, and again where they failed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from routelab.collecting.journal import Pair
from routelab.collecting.paying import Metered, NoRoom, Till, with_judges
from routelab.errors import RoutelabError
from routelab.evaluators import Grade, QualityEvaluator
from routelab.providers import Completion, Provider, ProviderError
from routelab.redaction import redacted
from routelab.request import LLMRequest

_GRACE_S = 10.0  # for what is in flight when it is interrupted


@dataclass(frozen=True, slots=True)
class Patience:
    """How many at once, and how hard to try.

    Args:
        concurrency: requests in flight to each provider at most.
        attempts: at one prompt of a provider, before it has failed.
        backoff_s: seconds before the second attempt, twice that before the third, and so on.
        give_up_s: a provider that has failed for so long without an answer in between, or asks to be left alone for
            longer, is not asked the rest; where it is the judge, nobody is.
    """

    concurrency: int = 8
    attempts: int = 6
    backoff_s: float = 1.0
    give_up_s: float = 60.0


class Asking:
    """One run of a collection.

    Args:
        evaluator: grades the answers; None: as a provider grades itself.
        till: pays for them.
        patience: how many at once, and how hard to try.
        keep_answers: whether the journal gets the texts of all answers.
        bar: shows how far it is.

    Attributes:
        failed: (prompt_id, provider) → the last error.
        capped: whether it stopped since the cap leaves no room.
    """

    def __init__(
        self,
        evaluator: QualityEvaluator | None,
        till: Till,
        patience: Patience,
        bar: tqdm[Any],
        *,
        keep_answers: bool = False,
    ) -> None:
        self.evaluator, self.till, self.patience = evaluator, till, patience
        self.bar, self.keep_answers = bar, keep_answers
        self.failed = dict[Pair, str]()
        self.capped = False
        self._stopping = False
        self._judges = list[str]()
        if evaluator is not None:
            with_judges(evaluator, self._is_judge)
        self._in_flight = set[asyncio.Task[Any] | None]()

    async def run(self, requests: Sequence[LLMRequest], providers: Sequence[Provider]) -> None:
        """Ask every provider all that it has not answered; when cancelled, wait shortly for what is in flight.

        Raises:
            RoutelabError: a provider or the evaluator cannot be used at all.
        """
        workers = list[asyncio.Task[None]]()
        for provider in providers:
            left = iter([request for request in requests if self._is_left((str(request.request_id), provider.name))])
            workers += [asyncio.create_task(self._work(provider, left)) for _ in range(self._slots(provider))]
        grace_s: float | None = _GRACE_S
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            with suppress(NoRoom):
                for worker in done:
                    worker.result()
            self.capped = any(isinstance(worker.exception(), NoRoom) for worker in done)
            grace_s = None  # what is in flight is paid for
        finally:
            self._stopping = True
            if self._in_flight:
                await asyncio.wait({task for task in self._in_flight if task}, timeout=grace_s)
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _is_left(self, pair: Pair) -> bool:
        """Whether there is no answer, or one that a judge gave no score, and may look at again."""
        held = self.till.journal.answered.get(pair)
        return held is None or (bool(self._judges) and held["quality"] is None and "answer" in held)

    def _slots(self, provider: Provider) -> int:
        """Requests to ``provider`` in flight at most."""
        limits = getattr(provider, "limits", None)
        own = None if limits is None else limits.concurrency
        return min(self.patience.concurrency, own or self.patience.concurrency)

    def _is_judge(self, judge: Provider) -> Provider:
        self._judges.append(judge.name)
        return judge

    async def _work(self, provider: Provider, requests: Iterator[LLMRequest]) -> None:
        """One of the workers that take a provider's requests from the same iterator."""
        for request in requests:
            if self._is_over(provider.name):
                return
            pair = (str(request.request_id), provider.name)
            if pair in self.till.journal.answered:
                await self._grade_again(pair, request)
                continue
            error = await self._insist(provider.name, request)
            if error is not None and not self._stopping:
                self.failed[pair] = error
            self.bar.update(error is None)

    def _is_over(self, name: str) -> bool:
        """Whether the provider ``name`` is asked no more: nor is anybody whose answers cannot be graded."""
        return self._stopping or not self.till.given_up.keys().isdisjoint([name, *self._judges])

    async def _insist(self, name: str, request: LLMRequest) -> str | None:
        """Ask until there is an answer, the attempts are used up, or it must stop; returns the last error."""
        error = ""
        for attempt in range(self.patience.attempts):
            if attempt:
                await asyncio.sleep(self.patience.backoff_s * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0))
            try:
                await self.till.ready(name, request)
                if self._is_over(name):
                    return error or "not asked"
                await self._ask(name, request)
            except NoRoom:
                raise
            except ProviderError as failure:
                error = redacted(str(failure), *request.texts())
                if failure.refused:
                    return error
            else:
                return None
        return error

    async def _ask(self, name: str, request: LLMRequest) -> None:
        """One attempt: pay, grade, note.

        Raises:
            NoRoom: the cap leaves no room for the answer, or for grading it.
            ProviderError: no answer came, or its judge failed.
        """
        pair = (str(request.request_id), name)
        with self._flying():
            completion = await self.till.pay(pair, name, request)
            try:
                grade = await self._grade(pair, request, completion)
            except ProviderError as failure:
                self.till.journal.has_failed(pair, completion.cost_usd, redacted(str(failure), *request.texts()))
                raise
            self.till.journal.has_answered(pair, self._values(completion, grade))

    @contextmanager
    def _flying(self) -> Iterator[None]:
        """What is paid for meanwhile; an interruption waits for it."""
        task = asyncio.current_task()
        self._in_flight.add(task)
        try:
            yield
        finally:
            self._in_flight.discard(task)
            self.bar.set_postfix_str(f"{self.till.spending.spent_usd:.4f} USD", refresh=False)

    async def _grade_again(self, pair: Pair, request: LLMRequest) -> None:
        """Show the judge once more an answer that it gave no score in an earlier run, which stays whatever comes.

        Raises:
            NoRoom: the cap leaves no room for grading it.
        """
        held = self.till.journal.answered[pair]
        counts = (held[name] for name in ("input_tokens", "output_tokens", "cost_usd", "latency_s"))
        with self._flying():
            try:
                grade = await self._grade(pair, request, Completion(held["answer"], pair[1], *counts))
            except ProviderError as failure:  # of the judge; the next run tries again
                if isinstance(failure, NoRoom):
                    raise
                return
            if grade is not None:
                self.till.journal.has_graded(pair, grade.quality, grade.se)

    async def _grade(self, pair: Pair, request: LLMRequest, completion: Completion) -> Grade | None:
        """What the answer is worth; NoRoom where its judge cannot be paid, ProviderError where it failed."""
        if self.evaluator is None:
            return None if completion.quality is None else Grade(completion.quality)
        meters = list[Metered]()

        def metered(judge: Provider) -> Provider:
            meters.append(Metered(judge, self.till))
            return meters[-1]

        grade = await with_judges(self.evaluator, metered).grade(request, completion)
        failed = [meter for meter in meters if meter.failure is not None]
        unpaid = any(isinstance(meter.failure, NoRoom) for meter in failed)
        if unpaid or (failed and grade is None):
            error = "the cap leaves no room to grade it" if unpaid else self._not_graded(failed)
            raise NoRoom(error) if unpaid else ProviderError(error, refused=True)
        if grade is not None and not meters:
            self.till.charge(pair, grade.cost_usd)
        return grade

    def _not_graded(self, failed: Sequence[Metered]) -> str:
        """Why there is no grade; a judge that turns away its very first questions is given up.

        Raises:
            RoutelabError: the judge cannot be used at all.
        """
        for judge in failed:
            if isinstance(judge.failure, RoutelabError):
                raise judge.failure
            if isinstance(judge.failure, ProviderError) and judge.failure.refused and judge.name not in self.till.voted:
                self.till.given_up.setdefault(judge.name, judge.error)
        return f"its judge gave no grade: {failed[0].error}"

    def _values(self, completion: Completion, grade: Grade | None) -> dict[str, Any]:
        """What the journal keeps of an answer; of one that a judge gave no score the text, to be judged again."""
        kept = {"answer": completion.text} if self.keep_answers or (grade is None and self._judges) else {}
        return {
            "quality": None if grade is None else grade.quality,
            "quality_se": None if grade is None else grade.se,
            "cost_usd": completion.cost_usd,
            "input_tokens": completion.input_tokens,
            "output_tokens": completion.output_tokens,
            "latency_s": completion.latency_s,
            **kept,
        }
