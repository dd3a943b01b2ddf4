"""The providers that a router may choose from: what is in flight, how each has fared, and who can be asked now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from random import Random

from routelab.errors import RoutelabError
from routelab.html import Card, Shown, short
from routelab.providers.base import Chunk, Completion, DeadlineError, Price, Provider, Repriceable
from routelab.providers.breaker import Breaker, Circuit
from routelab.providers.gate import Gate, Health
from routelab.providers.limits import Limits, Unavailable, approximate_tokens
from routelab.providers.streaming import pieces
from routelab.providers.waiting import Queue
from routelab.request import LLMRequest


class ProviderPool(Shown):
    """Providers in the order in which they joined; grows and shrinks at run time, and never is empty.

    ``pool[name]`` and ``name in pool`` go by name; iterating gives the providers themselves. A provider that keeps
    failing, or asks to be left alone (``ProviderError.retry_after_s``), cannot be asked for a while (``Circuit``), nor
    can one whose limits are reached. That holds for whoever asks ``unavailable`` or ``wait``s; ``complete`` and
    ``stream`` themselves always ask.

    Args:
        providers: at least one, names distinct; one with an attribute ``limits`` (``Limits``) brings its own.
        limits: name → limits that hold instead.
        circuit: when a provider is left alone; None means ``Circuit()``.
        seed: of the jitter in how long it is.
        clock: seconds that never go back.

    Raises:
        RoutelabError: no provider, a name twice, or limits of one that is not there.

    >>> from routelab.providers.simulated import simulated_providers
    >>> pool = ProviderPool(simulated_providers(), limits={"mini": Limits(requests_per_minute=500)})
    >>> pool.remove("large")
    >>> [provider.name for provider in pool]
    ['nano', 'mini', 'coder', 'frontier']
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        *,
        limits: Mapping[str, Limits] | None = None,
        circuit: Circuit | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.circuit, self.clock = circuit or Circuit(), clock
        self._rng = Random(seed)
        self._providers: dict[str, Provider] = {}
        self._gates: dict[str, Gate] = {}
        self._queue = Queue()
        self._counts_tokens = False
        told = dict(limits or {})
        for provider in providers:
            self.add(provider, limits=told.pop(provider.name, None))
        if not self._providers:
            raise RoutelabError("ProviderPool got no provider; give at least one")
        for name in told:
            self._known(name)

    def __getitem__(self, name: str) -> Provider:
        return self._known(name)[0]

    def __contains__(self, name: object) -> bool:
        return name in self._providers

    def __iter__(self) -> Iterator[Provider]:
        return iter(list(self._providers.values()))

    def __len__(self) -> int:
        return len(self._providers)

    def _card(self) -> Card:
        rows = []
        for name in self._providers:
            provider, gate = self._known(name)
            closed, health, price = gate.unavailable(0, self.clock), gate.health, provider.price
            counts = (str(health.successes), str(health.failures), str(health.in_flight))
            rows.append((name, f"{price.input:g}", f"{price.output:g}", *counts, closed.reason if closed else ""))
        header = ("provider", "USD per million in", "out", "answered", "failed", "in flight", "cannot be asked")
        return Card(", ".join(map(short, self._providers)), rows, header)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order in which the providers joined."""
        return tuple(self._providers)

    @property
    def prices(self) -> dict[str, Price]:
        """Name → price as of now."""
        return {name: provider.price for name, provider in self._providers.items()}

    @property
    def health(self) -> dict[str, Health]:
        """Name → live counters."""
        return {name: gate.health for name, gate in self._gates.items()}

    def add(self, provider: Provider, *, limits: Limits | None = None) -> None:
        """Let ``provider`` join, as the last in order.

        Raises:
            RoutelabError: its name is taken.
        """
        if provider.name in self._providers:
            raise RoutelabError(f"the pool already has a provider {provider.name!r}; remove it first, or rename one")
        own = getattr(provider, "limits", None)
        held = limits or own or Limits()
        self._counts_tokens |= held.tokens_per_minute is not None
        self._providers[provider.name] = provider
        self._gates[provider.name] = Gate(held, Breaker(self.circuit, self._rng))
        self._queue.wake()

    def remove(self, name: str) -> None:
        """Let the provider ``name`` go; what it has in flight still arrives. Its connections are its owner's to close.

        Raises:
            RoutelabError: there is none of that name, or it is the last one.
        """
        self._known(name)
        if len(self._providers) == 1:
            raise RoutelabError(f"{name!r} is the last provider of the pool; add another before removing it")
        del self._providers[name], self._gates[name]

    def reprice(self, name: str, price: Price) -> None:
        """Set the price of the provider ``name``.

        Raises:
            RoutelabError: there is none of that name, or it has no ``set_price``.
        """
        provider, _ = self._known(name)
        if not isinstance(provider, Repriceable):
            raise RoutelabError(f"provider {name!r} has no set_price(price); remove it and add one with the new price")
        provider.set_price(price)

    def load(self) -> dict[str, int]:
        """Name → requests in flight."""
        return {name: gate.health.in_flight for name, gate in self._gates.items()}

    def unavailable(self, name: str, tokens: int = 0) -> Unavailable | None:
        """Why the provider ``name`` cannot be asked now for ``tokens`` more, and how long; None where it can be.

        Raises:
            RoutelabError: there is no provider of that name.
        """
        return self._known(name)[1].unavailable(tokens, self.clock)

    def tokens(self, request: LLMRequest) -> int:
        """Tokens that ``request`` may take; 0 where no provider limits them, since then nobody counts."""
        return approximate_tokens(request) if self._counts_tokens else 0

    async def wait(
        self,
        names: Iterable[str],
        tokens: int = 0,
        *,
        timeout_s: float = float("inf"),
        for_failing: bool = False,
    ) -> None:
        """Return as soon as one of ``names`` can be asked for ``tokens`` more, and nobody before waits for it.

        Waits for limits, and for those who asked to be left alone; for those that kept failing only where the caller
        wants to wait ``for_failing`` ones. Names may leave the pool, and join it, meanwhile.

        Raises:
            FailingError: all of them kept failing.
            ProviderError: none of them can be within ``timeout_s`` seconds; says why for each.
        """
        names = tuple(names)

        def look() -> dict[str, Unavailable | None]:
            return {name: self.unavailable(name, tokens) for name in names if name in self._providers}

        if self._queue or None not in look().values():
            await self._queue.wait(names, look, timeout_s, for_failing=for_failing)

    async def complete(self, name: str, request: LLMRequest, *, timeout_s: float | None = None) -> Completion:
        """The completion of ``request`` by the provider ``name``; counts load, successes and failures.

        Raises:
            RoutelabError: there is no provider of that name.
            DeadlineError: it did not answer within ``timeout_s`` seconds.
            ProviderError: it did not answer. Whatever a provider raises passes through, counted as a failure.
        """
        provider, gate = self._known(name)
        with gate.call(request, self.clock, self._queue.wake) as call:
            try:
                async with asyncio.timeout(timeout_s) as limit:
                    completion = await provider.complete(request)
            except TimeoutError:
                if limit.expired():
                    raise DeadlineError(f"no answer within {timeout_s:.3g} s") from None
                raise
            call.completion = completion
            return completion

    async def stream(
        self, name: str, request: LLMRequest, *, first_s: float | None = None, total_s: float | None = None
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """The answer of the provider ``name`` piece by piece, and at last its completion; counts as ``complete`` does.

        A provider that cannot stream gives its answer as one chunk. Closing the iterator early tells the provider.

        Raises:
            RoutelabError: there is no provider of that name.
            DeadlineError: nothing came within ``first_s`` seconds, or not everything within ``total_s``.
            ProviderError: it did not answer, or broke off.
        """
        provider, gate = self._known(name)
        with gate.call(request, self.clock, self._queue.wake) as call:
            async with aclosing(pieces(provider, request, first_s, total_s)) as answer:
                async for piece in answer:
                    if isinstance(piece, Completion):
                        call.completion = piece
                    elif call.probe and (piece.text or piece.event):
                        gate.begun(call)
                        self._queue.wake()
                    yield piece

    def _known(self, name: str) -> tuple[Provider, Gate]:
        if name not in self._providers:
            raise RoutelabError(f"the pool has no provider {name!r}; it has {', '.join(self._providers)}")
        return self._providers[name], self._gates[name]
