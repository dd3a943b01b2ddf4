"""A provider behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from time import perf_counter
from typing import TYPE_CHECKING, Any

from routelab.errors import RoutelabError
from routelab.providers.base import Chunk, Completion, Price, ProviderError
from routelab.providers.keys import read_key
from routelab.providers.limits import CHARACTERS_PER_TOKEN, Limits, input_tokens
from routelab.providers.list_prices import list_price
from routelab.providers.openai_answers import Answer, Tokens
from routelab.providers.openai_requests import chat_body, most_tokens
from routelab.request import LLMRequest, is_finite

if TYPE_CHECKING:
    from routelab.providers.openai_client import Connections

OPENAI_URL = "https://api.openai.com/v1"
_LOG = logging.getLogger(__name__)


class OpenAIProvider:
    """Asks any server of OpenAI's chat completions, in one piece or as a stream.

    It never tries again: that is the router's to decide. Connections are kept between requests, for each event loop its
    own, and closed at the end of ``asyncio.run`` or by ``close``. An answer of more than 10 MB is refused, a redirect
    is not followed. Tokens are those that the server tells; where it tells none, they are taken to be four characters
    each, and a warning is logged once.

    Args:
        name: unique within a pool.
        model: to ask for. An answer by another one is a failure, unless it is a dated snapshot of this.
        base_url: of the server, such as ``"http://127.0.0.1:8000/v1"``; None is OpenAI's.
        key_env: the environment variable that holds the key; None where the server needs none.
        price: None takes the list price of the model at this server (``list_price``).
        timeout_s: of a call, from its start to the last token.
        max_tokens: of an answer, where neither ``options`` nor the request's own say.
        options: of every request, such as ``{"temperature": 0.0}``; a request's own go before them.
        alias: what the server calls the model in its answers, where it does not repeat ``model``.
        limits: that a pool is to keep.

    Raises:
        RoutelabError: an argument is out of range, the variable holds no key, no list price is known, or the extra
            ``routelab[live]`` is not installed.

    >>> provider = OpenAIProvider("small", model="gpt-4o-mini", base_url="http://127.0.0.1:8000/v1", key_env=None,
    ...                           price=Price(0.15, 0.60))
    >>> round(provider.worst_cost_usd(LLMRequest("Who was Ada Lovelace?", options={"max_tokens": 100})), 7)
    0.0001138
    """

    def __init__(
        self,
        name: str,
        *,
        model: str,
        base_url: str | None = None,
        key_env: str | None = "OPENAI_API_KEY",
        price: Price | None = None,
        timeout_s: float = 60.0,
        max_tokens: int = 1024,
        options: Mapping[str, Any] | None = None,
        alias: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        url = OPENAI_URL if base_url is None else base_url
        if not re.fullmatch(r"https?://[^/@?#\s]+(/[^@?#\s]*)?", url):
            raise RoutelabError(
                f"OpenAIProvider {name!r}: base_url must be http(s)://host/path, without a user, a query or a key; "
                "the key goes into the environment variable key_env"
            )
        if not (is_finite(timeout_s) and timeout_s > 0.0):
            raise RoutelabError(f"OpenAIProvider {name!r}: timeout_s is {timeout_s!r}; give seconds > 0")
        if not isinstance(max_tokens, int) or max_tokens < 1:
            raise RoutelabError(f"OpenAIProvider {name!r}: max_tokens is {max_tokens!r}; give a whole number ≥ 1")
        read_key(key_env)
        self.model, self.base_url, self.alias = model, url, alias
        self.timeout_s, self.options = timeout_s, dict(options or {})
        self.limits = Limits() if limits is None else limits
        self._name = name
        self._limit = {"max_completion_tokens" if url == OPENAI_URL else "max_tokens": max_tokens}
        self._price = list_price(model, url) if price is None else price
        self._connections = _connections(url, key_env)
        self._warned = False

    def __repr__(self) -> str:
        return f"OpenAIProvider({self._name!r}, model={self.model!r}, base_url={self.base_url!r})"

    @property
    def name(self) -> str:
        """Name of the provider."""
        return self._name

    @property
    def price(self) -> Price:
        """Price as of now."""
        return self._price

    def set_price(self, price: Price) -> None:
        """Charge ``price`` from the next answer on."""
        self._price = price

    def worst_cost_usd(self, request: LLMRequest) -> float:
        """USD that ``request`` can cost at most, at the present price.

        A token of the request is at least one byte of what is sent (the JSON outweighs what a template puts around a
        message; 256 more are for a system message of its own), and the answer has at most ``max_tokens``, as
        far as the server keeps to that. List prices that rise with the length of a request are taken at their base.

        Raises:
            RoutelabError: the request holds parts that are no text, or a limit that is no number, so has no bound.
        """
        given, answered = most_tokens(request, self.model, self.options, self._limit)
        dearest = max(self._price.input, self._price.cached_input or 0.0)
        return Price(dearest, self._price.output).cost_usd(given, answered)

    async def complete(self, request: LLMRequest) -> Completion:
        """Answer ``request``.

        Raises:
            ProviderError: no answer came; the message is one sentence that holds no key, the completion what it cost.
        """
        started, answer = perf_counter(), Answer(self.model, self.alias)
        try:
            body = await self._whole(request, answer)
        except ProviderError as error:
            failure = error
        else:
            return self._completion(request, answer, started, body=body)
        failure.completion = self._completion(request, answer, started, failure=failure)
        raise failure.with_traceback(None)  # the frames below hold what the server sent, which may be the key

    async def stream(self, request: LLMRequest) -> AsyncIterator[Chunk | Completion]:
        """The chunks of the answer to ``request`` as they come, and at last the completion.

        What arrived together is one chunk. The first one is held back until it holds text, a tool call or the end, so
        that a provider that fails before any of it fails before the first chunk; the last one holds ``[DONE]``.

        Raises:
            ProviderError: as ``complete``; of an answer that broke off the completion holds what came and its cost.
        """
        started, answer = perf_counter(), Answer(self.model, self.alias)
        failure: ProviderError | None = None
        first: float | None = None
        try:
            async with aclosing(self._chunks(request, answer)) as chunks:
                async for chunk in chunks:
                    if first is None:
                        first = perf_counter() - started
                    yield chunk
        except ProviderError as error:
            failure = error
        completion = self._completion(request, answer, started, first, failure=failure)
        if failure is not None:
            failure.completion = completion
            raise failure.with_traceback(None)  # as in ``complete``
        yield completion

    async def close(self) -> None:
        """Close the connections of the running event loop; the next request opens new ones.

        The end of ``asyncio.run`` does so too; in a loop that never ends, close what is not needed any more.
        """
        await self._connections.close()

    async def _whole(self, request: LLMRequest, answer: Answer) -> bytes:
        """Read the answer in one piece into ``answer``; its bytes."""
        sent = chat_body(request, self.model, self.options, self._limit)
        body = b"".join([part async for part in self._connections.receive(sent, self.timeout_s)])
        answer.read(body)
        return body

    async def _chunks(self, request: LLMRequest, answer: Answer) -> AsyncGenerator[Chunk]:
        """The chunks of the answer, taken into ``answer``; a failure after its end is none."""
        sent = chat_body(request, self.model, self.options, self._limit, stream=True)
        held, text, begun = b"", "", False
        try:
            async with aclosing(self._connections.receive(sent, self.timeout_s)) as parts:
                async for part in parts:
                    piece, events, told = answer.feed(part)
                    held, text = held + events, text + piece
                    if told and not begun:
                        answer.check()
                        begun = True
                    if begun and held:
                        yield Chunk(text, held)
                        held, text = b"", ""
                    if answer.done:
                        await self._connections.finish(parts)
                        break
        except ProviderError:
            if not (begun and answer.ended):
                raise
        if not (begun and answer.ended):
            raise ProviderError("the answer broke off")

    def _completion(
        self,
        request: LLMRequest,
        answer: Answer,
        started: float,
        first: float | None = None,
        *,
        body: bytes | None = None,
        failure: ProviderError | None = None,
    ) -> Completion:
        """What came of a call; a failure before any of the answer is taken to cost nothing."""
        tokens = answer.tokens or Tokens(0, 0)
        if answer.tokens is None and (answer.text or failure is None):
            tokens = Tokens(input_tokens(request), -(-len(answer.text) // CHARACTERS_PER_TOKEN))
            self._warn(failure)
        return Completion(
            text=answer.text,
            provider=self._name,
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cost_usd=self._price.cost_usd(tokens.input, tokens.output, tokens.cached),
            latency_s=perf_counter() - started,
            error=None if failure is None else str(failure),
            first_token_s=first,
            cached_tokens=tokens.cached,
            body=body,
        )

    def _warn(self, failure: ProviderError | None) -> None:
        """Say once that a provider does not tell its tokens; one that broke off could not."""
        if failure is None and not self._warned:
            _LOG.warning("provider %r does not tell its tokens: they, and so its costs, are estimated", self._name)
            self._warned = True


def _connections(base_url: str, key_env: str | None) -> Connections:
    """Connections of the SDK, which is imported when the first provider is made.

    Raises:
        RoutelabError: it is not installed.
    """
    try:
        from routelab.providers.openai_client import Connections
    except ImportError as error:
        raise RoutelabError(f"OpenAIProvider needs {error.name}; install routelab[live]") from None
    return Connections(base_url, key_env)
