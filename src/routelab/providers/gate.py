"""What stands before one provider of a pool: its limits, its circuit, and the count of what passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from routelab.providers.base import Completion, ProviderError
from routelab.providers.breaker import Breaker
from routelab.providers.limits import Limits, Unavailable, Use, Window, approximate_tokens
from routelab.request import LLMRequest


@dataclass(slots=True)
class Health:
    """Counters of one provider since it joined the pool; refused and cancelled requests are neither kind."""

    in_flight: int = 0
    successes: int = 0
    failures: int = 0


@dataclass(slots=True)
class Call:
    """One request on its way: whether it is the probe of a circuit, and its completion once it is answered."""

    probe: bool
    completion: Completion | None = None


class Gate:
    """Counts what goes to one provider, and says why it cannot be asked.

    Args:
        limits: of the provider.
        breaker: its circuit.
    """

    def __init__(self, limits: Limits, breaker: Breaker) -> None:
        self.limits, self.breaker, self.health = limits, breaker, Health()
        self._limited = limits != Limits()
        self._requests = None if limits.requests_per_minute is None else Window(limits.requests_per_minute)
        self._tokens = None if limits.tokens_per_minute is None else Window(limits.tokens_per_minute)

    def unavailable(self, tokens: int, clock: Callable[[], float]) -> Unavailable | None:
        """Why the provider cannot be asked now for ``tokens`` more, if so."""
        if not self._limited and self.breaker.open_until is None:
            return None
        now = clock()
        return self.breaker.unavailable(now) or self._at_its_limit(tokens, now)

    def _at_its_limit(self, tokens: int, now: float) -> Unavailable | None:
        most = self.limits.concurrency
        if most is not None and self.health.in_flight >= most:
            return Unavailable(f"{self.health.in_flight} of {most} requests in flight", float("inf"))
        for window, amount, unit in ((self._requests, 1, "requests"), (self._tokens, tokens, "tokens")):
            if window is not None and (wait_s := window.wait_s(amount, now)) > 0.0:
                return Unavailable(f"{window.limit:g} {unit} a minute reached", wait_s)
        return None

    @contextmanager
    def call(self, request: LLMRequest, clock: Callable[[], float], ended: Callable[[], None]) -> Iterator[Call]:
        """Count one request from here on, and how it ends; ``ended`` is called after that."""
        now = clock()
        call, used = Call(self.breaker.begin(now)), self._use(request, now)
        self.health.in_flight += 1
        try:
            yield call
        except Exception as error:
            self._raised(call.probe, error, clock())
            raise
        finally:
            self.health.in_flight -= 1
            if call.completion is not None:
                self._came(call.probe, call.completion, used, clock())
            self.breaker.ended(call.probe)
            ended()

    def begun(self, call: Call) -> None:
        """Its answer has begun: a probe has told what it was to tell, however long the rest takes."""
        self.breaker.answered(call.probe)
        self.breaker.ended(call.probe)
        call.probe = False

    def _use(self, request: LLMRequest, now: float) -> Use | None:
        """Take what the request needs of the limits; the tokens are corrected later."""
        if self._requests is not None:
            self._requests.use(1, now)
        return None if self._tokens is None else self._tokens.use(approximate_tokens(request), now)

    def _raised(self, probe: bool, error: Exception, now: float) -> None:
        if isinstance(error, ProviderError) and error.refused:
            self.breaker.answered(probe)
            return
        self.health.failures += 1
        self.breaker.failed(probe, now, error.retry_after_s if isinstance(error, ProviderError) else None)

    def _came(self, probe: bool, completion: Completion, used: Use | None, now: float) -> None:
        if completion.error is None:
            self.health.successes += 1
            self.breaker.answered(probe)
        else:
            self.health.failures += 1
            self.breaker.failed(probe, now)
        if self._tokens is not None and used is not None:
            self._tokens.correct(used, completion.input_tokens + completion.output_tokens, now)
