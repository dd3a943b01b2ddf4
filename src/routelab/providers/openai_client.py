"""The way to an OpenAI-compatible server: aiohttp, an answer's bytes as they come.

The ``openai`` SDK is left out, and so is its HTTP client: bytes take less than half the processor time of its streamed
answer (``test_openai_speed``).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2

from routelab.providers.base import ProviderError
from routelab.providers.keys import read_key
from routelab.providers.openai_faults import MAX_ANSWER_BYTES, AnswerTooLarge, StatusError, described

_KEEP_ALIVE_S = 4.0  # less than servers do, lest a request be sent on a connection that is being closed
_REST_S = 0.1  # for the few bytes after the last event
_KEEPERS: dict[aiohttp.ClientSession, AsyncGenerator[None]] = {}  # of all open ones, until their loops end


class Connections:
    """Connections to one server, kept between requests: a set for each event loop that asks.

    Args:
        base_url: of the server.
        key_env: the environment variable of its key; read when a loop asks first.
    """

    def __init__(self, base_url: str, key_env: str | None) -> None:
        self._url, self._key_env = f"{base_url.rstrip('/')}/chat/completions", key_env
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}

    async def receive(self, body: bytes, timeout_s: float) -> AsyncGenerator[bytes]:
        """The bytes of the answer to ``body`` as they come, the last within ``timeout_s`` seconds of the call.

        Closed early, it closes the connection.

        Raises:
            ProviderError: no answer came, or no end of it. It has no context: what the layers below raise holds the
                key in its frames, and so has a cancellation its traceback cut.
        """
        response: aiohttp.ClientResponse | None = None
        failure: ProviderError | None = None
        left, said = MAX_ANSWER_BYTES, b""
        timeout = aiohttp.ClientTimeout(total=timeout_s, ceil_threshold=timeout_s)
        try:
            session = await self._session()
            response = await session.post(self._url, data=body, allow_redirects=False, timeout=timeout)
            succeeded = 200 <= response.status < 300
            while part := await response.content.readany():
                left -= len(part)
                if left < 0:
                    raise AnswerTooLarge
                if succeeded:
                    yield part
                else:
                    said += part
            if not succeeded:
                raise StatusError(response.status, response.headers, said)
        except asyncio.CancelledError as cancelled:
            raise cancelled.with_traceback(None) from None
        except Exception as error:
            failure = described(error, timeout_s)
        finally:
            if response is not None:
                response.close()  # of a whole answer the connection is kept
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
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None and session in _KEEPERS:
            await _KEEPERS[session].aclose()

    async def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            self._sessions = {known: session for known, session in self._sessions.items() if not known.is_closed()}
            self._sessions[loop] = session = _new_session(self._url, self._key_env)
            _KEEPERS[session] = _kept(session)
            await anext(_KEEPERS[session])
        return self._sessions[loop]


async def _kept(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    """Stays suspended until ``asyncio.run`` shuts its generators down, and closes the session in time."""
    try:
        yield
    finally:
        del _KEEPERS[session]
        await session.close()


def _new_session(url: str, key_env: str | None) -> aiohttp.ClientSession:
    headers = {
        "Accept-Encoding": "identity",
        "Authorization": f"Bearer {read_key(key_env)}",
        "Content-Type": "application/json",
    }
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=_tls(), keepalive_timeout=_KEEP_ALIVE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        auto_decompress=False,
        proxy=_proxy(url),
    )


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for ``url``; aiohttp itself looks for it in a thread, at each request."""
    place, proxies = urlsplit(url), getproxies()
    if place.hostname is None or proxy_bypass(place.hostname):
        return None
    return proxies.get(place.scheme) or proxies.get("all")


@cache
def _tls() -> ssl.SSLContext:
    """One for all sessions: reading the certificates takes longer than a request."""
    return httpx2.create_ssl_context()
