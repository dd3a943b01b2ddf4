"""Guard: who may ask, how much and how many at once; and nobody is worked for who has gone."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from routelab.proxy.errors import ApiError
from routelab.proxy.metrics import Metrics

OPEN = ("/health",)  # paths that anybody may ask, at any time


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """What a proxy takes.

    Args:
        body_bytes: of one request.
        requests: being answered at once; more are told to come back.
        body_timeout_s: seconds for a request to arrive.
    """

    body_bytes: int = 4_000_000
    requests: int = 512
    body_timeout_s: float = 30.0


class Guard:
    """ASGI middleware in front of everything.

    Args:
        app: that it guards.
        metrics: told of every response.
        limits: of the requests.
        token: that clients must bear; None lets everybody ask.
        hosts: that the header Host may name (against DNS rebinding); None: any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        limits: ProxyLimits = ProxyLimits(),
        token: str | None = None,
        hosts: Collection[str] | None = None,
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.limits = limits
        self._bearer = None if token is None else f"Bearer {token}".encode()
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or let the app answer, until its client has gone."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499  # the client has gone

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.metrics.in_flight += 1
        try:
            await self._answer(scope, receive, noted)
        except ApiError as error:
            headers = error.headers() | {"connection": "close"}  # the rest of the request is not read
            await JSONResponse(error.body(), error.status, headers)(scope, receive, noted)
        finally:
            self.metrics.in_flight -= 1
            self.metrics.responded(scope["path"], status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check(scope)
        body = await self._body(Headers(scope=scope), receive)
        if body is None:
            return

        async def once() -> Message:
            nonlocal body
            if body is None:
                return {"type": "http.disconnect"}
            message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        answering = asyncio.ensure_future(self.app(scope, once, send))
        leaving = asyncio.ensure_future(receive())  # the request is here whole: all that comes is its client's leaving
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not answering.done():
                answering.cancel()
                await asyncio.wait({answering})
        if not answering.cancelled():
            answering.result()

    def _check(self, scope: Scope) -> None:
        """Raise an ApiError where the head of a request is reason enough."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:  # a server in front may end it elsewhere
            raise ApiError(400, "Content-Length and Transfer-Encoding exclude each other; send one", "invalid_request")
        if self._hosts is not None and _name(headers.get("host", "")) not in self._hosts:
            raise ApiError(403, f"this proxy serves {', '.join(sorted(self._hosts))} only", "host_not_allowed")
        if scope["path"] in OPEN:
            return
        given = headers.get("authorization", "").encode("latin-1")
        if self._bearer is not None and not hmac.compare_digest(given, self._bearer):
            raise ApiError(401, "the token is missing or wrong; send Authorization: Bearer TOKEN", "invalid_api_key")
        if self.metrics.in_flight > self.limits.requests:
            told = f"{self.limits.requests} requests are being answered already; try again"
            raise ApiError(503, told, "overloaded", retry_after_s=1.0)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body of the request, None if its client leaves; raises an ApiError once it is too large or slow."""
        limit = self.limits.body_bytes
        told, length, pieces = headers.get("content-length", ""), 0, []
        if told.isdecimal() and int(told[:20]) > limit:
            raise _too_large(limit)
        try:
            async with asyncio.timeout(self.limits.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    pieces.append(message.get("body", b""))
                    length += len(pieces[-1])
                    if length > limit:
                        raise _too_large(limit)
                    if not message.get("more_body", False):
                        return b"".join(pieces)
        except TimeoutError:
            raise ApiError(408, f"no whole request within {self.limits.body_timeout_s:g} s", "timeout") from None


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the request is larger than {limit:,} bytes; send less", "request_too_large")


def _name(host: str) -> str:
    """The host without its port.

    >>> _name("localhost:8080"), _name("[::1]:8080"), _name("::1")
    ('localhost', '[::1]', '::1')
    """
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdecimal() and not name.endswith(":") else host.lower()
