"""Workers that ask providers: each request noted before it is sent, within the cap, again where it failed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tqdm.auto import tqdm

from routelab.collecting.journal import Journal, Pair
from routelab.collecting.spending import Bounded, Spending
from routelab.errors import RoutelabError
from routelab.evaluators import Grade, QualityEvaluator
from routelab.providers import Completion, Provider, ProviderError
from routelab.request import LLMRequest
from routelab.routers.redaction import redacted

_GRACE_S = 10.0  # for what is in flight when it is told to stop
_IN_A_ROW = 5  # prompts that a provider fails, each after all its attempts, before it is given up


@dataclass(frozen=True, slots=True)
class Patience:
    """How hard to try.

    Args:
        concurrency: requests in flight at most.
        attempts: at one prompt of a provider, before it has failed.
        backoff_s: seconds before the second attempt; twice that before the third, and so on, or when the provider says.
    """

    concurrency: int = 16
    attempts: int = 6
    backoff_s: float = 1.0


class Asking:
    """One run of a collection.

    Args:
        evaluator: grades the answers; None: as a provider grades itself.
        journal: gets what is asked, and what comes of it.
        spending: the cap.
        patience: how hard to try.
        keep_answers: whether the journal gets the texts of the answers.
        bar: shows how far it is.

    Attributes:
        failed: (prompt_id, provider) → the last error.
        given_up: name of a provider → why it is not asked any more.
        capped: whether it stopped since the cap leaves no room.
    """

    def __init__(
        self,
        evaluator: QualityEvaluator | None,
        journal: Journal,
        spending: Spending,
        patience: Patience,
        bar: tqdm[Any],
        *,
        keep_answers: bool = False,
    ) -> None:
        self.evaluator, self.journal, self.spending = evaluator, journal, spending
        self.patience, self.bar, self.keep_answers = patience, bar, keep_answers
        self.failed = dict[Pair, str]()
        self.given_up = dict[str, str]()
        self.capped = False
        self._in_a_row = Counter[str]()
        self._stop = asyncio.Event()
        self._room = asyncio.Semaphore(patience.concurrency)

    async def run(self, requests: Sequence[LLMRequest], providers: Sequence[Provider]) -> None:
        """Ask every provider all that it has not answered; when cancelled, wait shortly for what is in flight.

        Raises:
            RoutelabError: a provider or the evaluator cannot be used at all.
        """
        workers = list[asyncio.Task[None]]()
        for provider in providers:
            unanswered = [r for r in requests if (str(r.request_id), provider.name) not in self.journal.answered]
            shared = iter(unanswered)
            workers += [asyncio.create_task(self._work(provider, shared)) for _ in range(self._slots(provider))]
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                worker.result()
        except asyncio.CancelledError:
            self._stop.set()
            await asyncio.wait(workers, timeout=_GRACE_S)
            raise
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _slots(self, provider: Provider) -> int:
        """Requests to ``provider`` in flight at most."""
        limit = getattr(getattr(provider, "limits", None), "concurrency", None)
        return min(self.patience.concurrency, limit or self.patience.concurrency)

    async def _work(self, provider: Provider, requests: Iterator[LLMRequest]) -> None:
        """One of the workers that take a provider's requests from the same iterator."""
        for request in requests:
            error = await self._insist(provider, request)
            if self._stop.is_set() or provider.name in self.given_up:
                return
            self.bar.update()
            self._in_a_row[provider.name] = 0 if error is None else self._in_a_row[provider.name] + 1
            if error is not None:
                self.failed[str(request.request_id), provider.name] = error
                if self._in_a_row[provider.name] == _IN_A_ROW:
                    self.given_up[provider.name] = error

    async def _insist(self, provider: Provider, request: LLMRequest) -> str | None:
        """Ask until there is an answer, the attempts are used up, or it is time to stop; returns the last error."""
        error = None
        for attempt in range(self.patience.attempts):
            try:
                async with self._room:
                    await self._ask(provider, request)
                return None
            except ProviderError as failure:
                error = redacted(str(failure), request.prompt)
                if failure.refused:
                    return error
                backoff = self.patience.backoff_s * 2.0**attempt * random.uniform(0.5, 1.0)
                wait = failure.retry_after_s or backoff
            if attempt + 1 < self.patience.attempts:
                await self._pause(wait)
            if self._stop.is_set() or provider.name in self.given_up:
                return error
        return error

    async def _ask(self, provider: Provider, request: LLMRequest) -> None:
        """One attempt: reserve, note, send, grade, note.

        Raises:
            ProviderError: no answer came.
        """
        pair = (str(request.request_id), provider.name)
        worst = provider.worst_cost_usd(request) if isinstance(provider, Bounded) else 0.0
        if not await self.spending.reserve(worst):
            self.capped = True
            self._stop.set()
            return
        cost = worst  # of what is cut off
        if self._stop.is_set():
            self.spending.settle(worst, 0.0)
            return
        try:
            await self.journal.asked(pair, worst)
            completion = await answer_of(provider, request)
            values = await self._graded(request, completion)
            self.journal.has_answered(pair, values)
            cost = values["cost_usd"] + values["grading_cost_usd"]
        except ProviderError as failure:
            cost = charged_usd(failure, worst)
            self.journal.has_failed(pair, cost, redacted(str(failure), request.prompt))
            raise
        finally:
            self.spending.settle(worst, cost)
            self.bar.set_postfix_str(f"{self.spending.spent_usd:.4f} USD", refresh=False)

    async def _graded(self, request: LLMRequest, completion: Completion) -> dict[str, Any]:
        """What the journal keeps of an answer."""
        if self.evaluator is not None:
            grade = await self.evaluator.grade(request, completion)
        else:
            grade = None if completion.quality is None else Grade(completion.quality)
        kept = {"answer": completion.text} if self.keep_answers else {}
        return {
            "quality": None if grade is None else grade.quality,
            "quality_se": None if grade is None else grade.se,
            "cost_usd": completion.cost_usd,
            "grading_cost_usd": 0.0 if grade is None else grade.cost_usd,
            "input_tokens": completion.input_tokens,
            "output_tokens": completion.output_tokens,
            "latency_s": completion.latency_s,
            **kept,
        }

    async def _pause(self, seconds: float) -> None:
        """Sleep, or until it is time to stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)


async def answer_of(provider: Provider, request: LLMRequest) -> Completion:
    """The provider's answer.

    Raises:
        ProviderError: no answer came, for whatever reason.
        RoutelabError: the provider cannot be used at all, as without its key.
    """
    try:
        completion = await provider.complete(request)
    except (ProviderError, RoutelabError):
        raise
    except Exception as error:
        raise ProviderError(f"{type(error).__name__}: {error}") from error
    if completion.error is not None:
        raise ProviderError(completion.error, completion)
    return completion


def charged_usd(failure: ProviderError, worst_usd: float) -> float:
    """What a failed request may have cost: as its provider told, nothing where that turned it away, else the worst."""
    if failure.completion is not None:
        return failure.completion.cost_usd
    return 0.0 if failure.refused or failure.retry_after_s is not None else worst_usd
