"""What a provider is: a name, a price, and an awaitable completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from routelab.errors import RoutelabError
from routelab.request import LLMRequest


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens.

    Raises:
        RoutelabError: a price is negative or not finite.

    >>> Price(input=1.0, output=4.0).cost_usd(input_tokens=1000, output_tokens=500)
    0.003
    """

    input: float
    output: float

    def __post_init__(self) -> None:
        """Refuse what is no price."""
        for name in ("input", "output"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise RoutelabError(f"Price.{name} is {getattr(self, name)!r}; give USD per million tokens, ≥ 0")

    def cost_usd(self, input_tokens: float, output_tokens: float) -> float:
        """Cost of one completion in USD."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
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
    """

    text: str
    provider: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    latency_s: float
    quality: float | None = None
    error: str | None = None


class ProviderError(RuntimeError):
    """A provider did not answer; ``completion`` is the outcome to record (its ``error`` is set), where known."""

    def __init__(self, message: str, completion: Completion | None = None) -> None:
        super().__init__(message)
        self.completion = completion


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
