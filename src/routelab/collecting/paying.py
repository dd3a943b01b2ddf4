"""Requests that cost money: noted and reserved before they are sent, whoever sends them, a collection or its judge."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from math import isfinite

from routelab.collecting.journal import Journal, Pair
from routelab.collecting.spending import Bounded, Spending
from routelab.errors import RoutelabError
from routelab.evaluators import FirstOf, JudgeEvaluator, QualityEvaluator
from routelab.providers import Completion, Price, Provider, ProviderError, ProviderPool
from routelab.providers.limits import approximate_tokens
from routelab.redaction import redacted
from routelab.request import LLMRequest

_LOOK_S = 1.0  # between two looks at whether to wait on


class NoRoom(ProviderError):
    """The cap leaves no room for a request."""


class Till:
    """Pays for requests.

    Args:
        pool: of the providers, with their limits.
        journal: gets what is asked, and what it cost where no answer came.
        spending: the cap.
        give_up_s: a provider that fails for so long without an answer in between, or asks to be left alone for longer,
            is given up.
        waits: is told why a provider is waited for.

    Attributes:
        given_up: name of a provider, or a judge → why it is asked no more. Under a cap, that is also one whose answer
            cost more than its worst case: the cap relies on that.
        voted: judges that have replied.
    """

    def __init__(
        self,
        pool: ProviderPool,
        journal: Journal,
        spending: Spending,
        give_up_s: float = 60.0,
        waits: Callable[[str], object] = lambda why: None,
    ) -> None:
        self.pool, self.journal, self.spending = pool, journal, spending
        self.give_up_s, self.waits = give_up_s, waits
        self.given_up = dict[str, str]()
        self.voted = set[str]()
        self._failing_since = dict[str, float]()
        self._votes = count()

    async def pay(self, key: Pair, name: str, request: LLMRequest) -> Completion:
        """The answer of the provider ``name``; the caller notes it in the journal under ``key``.

        Raises:
            NoRoom: it was not asked.
            ProviderError: no answer came, for whatever reason.
            RoutelabError: the provider cannot be used at all, as without its key.
        """
        provider = self.pool[name]
        worst = provider.worst_cost_usd(request) if isinstance(provider, Bounded) else 0.0
        if not await self.spending.reserve(worst):
            raise NoRoom("the cap leaves no room for it")
        cost = worst  # of what is cut off
        try:
            await self.journal.asked(key, worst)
            await self.ready(name, request)  # strictly: others may have been let through meanwhile
            completion = await _answer(self.pool, name, request)
            cost = completion.cost_usd
            self._failing_since.pop(name, None)
            return completion
        except ProviderError as failure:
            cost, error = _charged_usd(failure, worst), redacted(str(failure), *request.texts())
            self._note_failure(name, failure, error)
            self.journal.has_failed(key, cost, error)
            raise
        finally:
            self.spending.settle(worst, cost)
            if cost > worst * (1.0 + 1e-9) and isfinite(self.spending.cap_usd):
                self.given_up[name] = (
                    f"an answer cost {cost:.3g} USD, its worst case was {worst:.3g}: it keeps to no max_tokens, or its "
                    "price is wrong, so no cap holds for it"
                )

    def _note_failure(self, name: str, failure: ProviderError, error: str) -> None:
        if failure.refused:
            return
        now = asyncio.get_running_loop().time()
        failing_s = now - self._failing_since.setdefault(name, now)
        if failing_s + (failure.retry_after_s or 0.0) > self.give_up_s:
            self.given_up.setdefault(name, error)

    async def ready(self, name: str, request: LLMRequest) -> None:
        """Wait until the provider's limits and circuit let ``request`` through.

        Raises:
            ProviderError: it was given up meanwhile.
        """
        tokens = approximate_tokens(request)
        while name not in self.given_up:
            blocked = self.pool.unavailable(name, tokens)
            if blocked is not None:
                self.waits(f"waiting for {name}: {blocked.reason}")
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    return await self.pool.wait([name], tokens, for_failing=True)
        raise ProviderError(self.given_up[name], refused=True)

    async def vote(self, name: str, question: LLMRequest) -> Completion:
        """The answer to a question of a judge; raises as ``pay``."""
        key = (f"{question.request_id} #{next(self._votes)}", name)
        completion = await self.pay(key, name, question)
        self.voted.add(name)
        self.journal.has_voted(key, completion.cost_usd)
        return completion

    def charge(self, pair: Pair, cost_usd: float) -> None:
        """Count what an evaluator says that it spent by itself on the grade of ``pair``.

        Raises:
            RoutelabError: there is a cap, which that may have passed.
        """
        if cost_usd > 0.0:
            if isfinite(self.spending.cap_usd):
                raise RoutelabError(f"the evaluator spent {cost_usd:g} USD that no cap bounds; use a JudgeEvaluator")
            self.spending.spent_usd += cost_usd
            self.journal.has_voted((f"{pair[0]} graded", pair[1]), cost_usd)


@dataclass(slots=True)
class Metered:
    """A judge's provider whose requests are paid at the till; ``failure`` and ``error``: why one had no reply."""

    provider: Provider
    till: Till
    failure: Exception | None = None
    error: str = ""

    @property
    def name(self) -> str:
        """That of the provider."""
        return self.provider.name

    @property
    def price(self) -> Price:
        """That of the provider."""
        return self.provider.price

    async def complete(self, request: LLMRequest) -> Completion:
        """The provider's answer."""
        try:
            return await self.till.vote(self.name, request)
        except asyncio.CancelledError:
            self.failure, self.error = ProviderError("no vote came in time"), "no vote came in time"
            raise
        except Exception as failure:
            self.failure, self.error = failure, redacted(str(failure), request.prompt)
            raise


def with_judges(evaluator: QualityEvaluator, change: Callable[[Provider], Provider]) -> QualityEvaluator:
    """The same evaluator with other providers for its judges."""
    if isinstance(evaluator, FirstOf):
        return FirstOf(*(with_judges(each, change) for each in evaluator.evaluators))
    if isinstance(evaluator, JudgeEvaluator):
        judge = copy.copy(evaluator)
        judge.provider = change(evaluator.provider)
        return judge
    return evaluator


async def _answer(pool: ProviderPool, name: str, request: LLMRequest) -> Completion:
    try:
        completion = await pool.complete(name, request)
    except (ProviderError, RoutelabError):
        raise
    except Exception as error:
        raise ProviderError(f"{type(error).__name__}: {error}") from error
    if completion.error is not None:
        raise ProviderError(completion.error, completion)
    return completion


def _charged_usd(failure: ProviderError, worst_usd: float) -> float:
    """What a failed request may have cost: the tokens told, nothing where it was turned away, else the worst."""
    told = failure.completion
    if told is not None and told.input_tokens + told.output_tokens > 0:
        return told.cost_usd
    return 0.0 if failure.free or failure.retry_after_s is not None else worst_usd
