"""The way to an OpenAI-compatible server: the ``openai`` SDK's HTTP client on aiohttp, an answer's bytes as they come.

The SDK's own requests and models of answers are left out: bytes take a quarter of the processor time of its streamed
answer (``test_openai_speed``).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import cache

import aiohttp  # noqa: F401  (the SDK's client needs it)
import httpx2
import openai

from routelab.providers.base import ProviderError
from routelab.providers.keys import read_key
from routelab.providers.openai_faults import MAX_ANSWER_BYTES, AnswerTooLarge, StatusError, described

_KEEP_ALIVE_S = 4.0  # less than servers do, lest a request be sent on a connection that is being closed
_REST_S = 0.1  # for the few bytes after the last event
_KEEPERS: dict[httpx2.AsyncClient, AsyncGenerator[None]] = {}  # of all open clients, until their loops end


class Connections:
    """Connections to one server, kept between requests: a set for each event loop that asks.

    Args:
        base_url: of the server.
        key_env: the environment variable of its key; read when a loop asks first.
    """

    def __init__(self, base_url: str, key_env: str | None) -> None:
        self._url, self._key_env = f"{base_url.rstrip('/')}/chat/completions", key_env
        self._clients: dict[asyncio.AbstractEventLoop, httpx2.AsyncClient] = {}

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
        left, said = MAX_ANSWER_BYTES, b""
        try:
            async with asyncio.timeout_at(deadline):
                client = await self._client()
                request = client.build_request("POST", self._url, content=body)
                response = await client.send(request, stream=True)
            parts = response.aiter_raw()
            while True:
                async with asyncio.timeout_at(deadline):
                    part = await anext(parts, None)
                if part is None:
                    break
                left -= len(part)
                if left < 0:
                    raise AnswerTooLarge
                if response.is_success:
                    yield part
                else:
                    said += part
            if not response.is_success:
                raise StatusError(response.status_code, response.headers, said)
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

    async def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients = {known: client for known, client in self._clients.items() if not known.is_closed()}
            self._clients[loop] = client = _new_client(self._key_env)
            _KEEPERS[client] = _kept(client)
            await anext(_KEEPERS[client])
        return self._clients[loop]


async def _kept(client: httpx2.AsyncClient) -> AsyncGenerator[None]:
    """Stays suspended until ``asyncio.run`` shuts its generators down, and closes the client in time."""
    try:
        yield
    finally:
        del _KEEPERS[client]
        await client.aclose()


def _new_client(key_env: str | None) -> httpx2.AsyncClient:
    headers = {
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {read_key(key_env)}",
        "Content-Type": "application/json",
    }
    return openai.DefaultAioHttpClient(
        headers=headers,
        follow_redirects=False,
        timeout=None,
        verify=_tls(),
        limits=httpx2.Limits(keepalive_expiry=_KEEP_ALIVE_S),
    )


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes longer than a request."""
    return httpx2.create_ssl_context()
