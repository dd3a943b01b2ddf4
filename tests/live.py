"""Live providers for tests: what asks a server, and what comes of it."""

from __future__ import annotations

from typing import Any

from routelab import LLMRequest, OpenAIProvider
from routelab.providers import Chunk, Completion, Price, ProviderError

PRICE = Price(1.0, 2.0, cached_input=0.5)


def provider_at(url: str, **arguments: Any) -> OpenAIProvider:
    """A provider of the model "m" that needs no key, unless told otherwise."""
    return OpenAIProvider("a", **({"model": "m", "base_url": url, "key_env": None, "price": PRICE} | arguments))


async def streamed(provider: OpenAIProvider, request: LLMRequest) -> tuple[list[Chunk], Completion]:
    """The chunks of an answer, and what came of it."""
    came = [piece async for piece in provider.stream(request)]
    completion = came.pop()
    assert isinstance(completion, Completion)
    assert all(isinstance(piece, Chunk) for piece in came)
    return [piece for piece in came if isinstance(piece, Chunk)], completion


async def answered(provider: OpenAIProvider, request: LLMRequest, *, stream: bool) -> Completion:
    """What comes of ``request`` in one piece or streamed."""
    return (await streamed(provider, request))[1] if stream else await provider.complete(request)


async def failure(provider: OpenAIProvider, request: LLMRequest, *, stream: bool) -> ProviderError:
    """The error that ``request`` brings."""
    try:
        completion = await answered(provider, request, stream=stream)
    except ProviderError as error:
        return error
    raise AssertionError(f"an answer came: {completion}")
