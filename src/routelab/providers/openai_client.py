"""The way to an OpenAI-compatible server: the ``openai`` SDK on aiohttp, an answer's bytes as they come.

The SDK writes requests, keeps connections and tells errors apart. Its models of answers and its own transport are left
out: bytes on aiohttp take less than half of the processor time of a streamed answer (``test_openai_speed``).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from functools import cache

import aiohttp  # noqa: F401  (the SDK's transport needs it)
import httpx2
import openai

from routelab.providers.base import ProviderError
from routelab.providers.keys import read_key
from routelab.providers.openai_faults import MAX_ANSWER_BYTES, AnswerTooLarge, described

_KEEP_ALIVE_S = 4.0  # less than servers do, lest a request be sent on a connection that is being closed
_REST_S = 0.1  # for the few bytes after the last event
_KEEPERS: dict[openai.AsyncOpenAI, AsyncGenerator[None]] = {}  # of all open clients, until their loops end


class Connections:
    """Connections to one server, kept between requests: a set for each event loop that asks.

    Args:
        base_url: of the server.
        key_env: the environment variable of its key; read when a loop asks first.
    """

    def __init__(self, base_url: str, key_env: str | None) -> None:
        self._base_url, self._key_env = base_url, key_env
        self._clients: dict[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = {}

    async def receive(self, body: bytes, timeout_s: float) -> AsyncGenerator[bytes]:
        """The bytes of the answer to ``body`` as they come, the last within ``timeout_s`` seconds of the call.

        Closed early, it closes the connection.

        Raises:
            ProviderError: no answer came, or no end of it. It has no context: what the layers below raise holds the
                key in its frames, and so has a cancellation its traceback cut.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        response: httpx2.Response | None = None
        failure: ProviderError | None = None
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._post(body)
            parts = response.aiter_raw()
            while True:
                async with asyncio.timeout_at(deadline):
                    part = await anext(parts, None)
                if part is None:
                    break
                yield part
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None) from None
        except Exception as error:
            failure = described(error, timeout_s)
        finally:
            if response is not None:
                await response.aclose()
        if failure is not None:
            raise failure

    async def finish(self, parts: AsyncGenerator[bytes]) -> None:
        """Read for a moment what ends ``parts``, so that their connection can be used again; else it is closed."""
        with suppress(TimeoutError, ProviderError):
            async with asyncio.timeout(_REST_S):
                async for _ in parts:
                    pass

    async def close(self) -> None:
        """Close the connections of this loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None and client in _KEEPERS:
            await _KEEPERS[client].aclose()

    async def _post(self, body: bytes) -> httpx2.Response:
        """The answer to ``body``, its own body not read yet."""
        client = await self._client()
        stream = await client.post(
            "/chat/completions",
            cast_to=object,
            content=body,
            options={"headers": {"Content-Type": "application/json"}},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        return stream.response

    async def _client(self) -> openai.AsyncOpenAI:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients = {known: client for known, client in self._clients.items() if not known.is_closed()}
            self._clients[loop] = client = _new_client(self._base_url, self._key_env)
            _KEEPERS[client] = _kept(client)
            await anext(_KEEPERS[client])
        return self._clients[loop]


async def _kept(client: openai.AsyncOpenAI) -> AsyncGenerator[None]:
    """Stays suspended until ``asyncio.run`` shuts its generators down, and closes the client in time."""
    try:
        yield
    finally:
        del _KEEPERS[client]
        await client.close()


def _new_client(base_url: str, key_env: str | None) -> openai.AsyncOpenAI:
    http_client = openai.DefaultAioHttpClient(
        follow_redirects=False,
        timeout=None,
        verify=_tls(),
        limits=httpx2.Limits(keepalive_expiry=_KEEP_ALIVE_S),
        event_hooks={"response": [_bound]},
    )
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=read_key(key_env),
        max_retries=0,
        timeout=None,
        default_headers={"Accept-Encoding": "identity"},
        http_client=http_client,
    )


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes longer than a request."""
    return httpx2.create_ssl_context()


async def _bound(response: httpx2.Response) -> None:
    """Bound whatever reads the body, in a coding or not, be it the SDK on an error."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream)
    response.headers.pop("Content-Encoding", None)  # none was asked for, and a bomb is not to be unpacked


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_ANSWER_BYTES
        async for part in self._stream:
            left -= len(part)
            if left < 0:
                raise AnswerTooLarge
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
