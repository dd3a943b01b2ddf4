"""What a provider is: a name, a price, and an awaitable completion."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from routelab.errors import RoutelabError
from routelab.html import brief
from routelab.request import LLMRequest


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens.

    Args:
        input: of the request.
        output: of the answer.
        cached_input: of what the provider still holds of the request in its prompt cache; None: as any other input.

    Raises:
        RoutelabError: a price is negative or not finite.

    >>> Price(input=1.0, output=4.0).cost_usd(input_tokens=1000, output_tokens=500)
    0.003
    """

    input: float
    output: float
    cached_input: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        for name in ("input", "output", "cached_input"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < float("inf"):
                raise RoutelabError(f"Price.{name} is {value!r}; give USD per million tokens, ≥ 0")

    def cost_usd(self, input_tokens: float, output_tokens: float, cached_tokens: float = 0.0) -> float:
        """Cost of one completion in USD; ``cached_tokens`` are those of the input that came from the prompt cache."""
        saved = 0.0 if self.cached_input is None else cached_tokens * (self.input - self.cached_input)
        return (input_tokens * self.input + output_tokens * self.output - saved) / 1e6


@dataclass(frozen=True, slots=True, repr=False)
class Completion:
    """What came of one request to one provider.

    Args:
        text: the answer; empty where it failed.
        provider: name of the provider.
        input_tokens: of the request.
        output_tokens: of the answer.
        cost_usd: what the provider charges, USD.
        latency_s: from the call to the last token, seconds.
        quality: in [0, 1] where the provider grades itself, as a simulated one does; else None.
        error: why there is no answer, or None.
        first_token_s: from the call to the first token, seconds; None where the answer was not streamed.
        cached_tokens: of the input, those that came from the provider's prompt cache.
        body: the answer as the provider sent it (JSON), where it came over HTTP in one piece.
    """

    text: str
    provider: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    latency_s: float
    quality: float | None = None
    error: str | None = None
    first_token_s: float | None = None
    cached_tokens: int = 0
    body: bytes | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """The fields; of a long text both ends."""
        return brief(self)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer.

    Args:
        text: what it adds to the answer; may be empty.
        event: the server-sent event(s) as the provider sent them, where it came over HTTP.
    """

    text: str
    event: bytes = b""


class ProviderError(RuntimeError):
    """A provider did not answer.

    Args:
        message: why; never holds a key.
        completion: the outcome to record (its ``error`` is set), where known.
        retry_after_s: seconds after which the provider asks to be tried again, where it says so.
        refused: the request itself is at fault, so that no other provider would answer it either.
        free: it surely cost nothing, as the request was turned away, or never sent.
    """

    def __init__(
        self,
        message: str,
        completion: Completion | None = None,
        *,
        retry_after_s: float | None = None,
        refused: bool = False,
        free: bool = False,
    ) -> None:
        super().__init__(message)
        self.completion = completion
        self.retry_after_s = retry_after_s
        self.refused = refused
        self.free = free or refused


class FailingError(ProviderError):
    """No provider can be asked now, since each kept failing; ``retry_after_s`` says when one is tried again."""


class DeadlineError(ProviderError):
    """A provider, or all that were asked, did not answer in the time there was."""


class Provider(Protocol):
    """Whatever answers requests."""

    @property
    def name(self) -> str:
        """Name, unique within a pool."""
        ...

    @property
    def price(self) -> Price:
        """Price as of now."""
        ...

    async def complete(self, request: LLMRequest) -> Completion:
        """Answer ``request``.

        Raises:
            ProviderError: no answer came.
        """
        ...


@runtime_checkable
class Streaming(Protocol):
    """A provider that can answer piece by piece."""

    def stream(self, request: LLMRequest) -> AsyncIterator[Chunk | Completion]:
        """The pieces of the answer to ``request`` as they come, and at last the completion, whose text is them all.

        Raises:
            ProviderError: no answer came, or it broke off.
        """
        ...


@runtime_checkable
class Estimating(Protocol):
    """A provider that can say what to expect of it before it is asked (used by ``find_pareto_optimal``)."""

    def estimate(self, request: LLMRequest) -> tuple[float, float]:
        """Expected quality in [0, 1] and expected cost in USD of ``request``."""
        ...


@runtime_checkable
class Repriceable(Protocol):
    """A provider whose price can be set at run time (used by ``Router.reprice_provider``)."""

    def set_price(self, price: Price) -> None:
        """Charge ``price`` from the next request on."""
        ...
