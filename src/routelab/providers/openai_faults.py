"""What went wrong on the way to a provider, in one sentence, from whatever the layers below raised."""

from __future__ import annotations

import json
import math
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from routelab.providers.base import ProviderError
from routelab.providers.keys import quoted

MAX_ANSWER_BYTES = 10_000_000


class AnswerTooLarge(Exception):
    """A server sends more than ``MAX_ANSWER_BYTES``."""


class StatusError(Exception):
    """A server answered with a status that is no success, such ``headers``, and ``body``."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


_STATUSES = {
    401: "refused the key (401)",
    403: "refused the key (403)",
    404: "knows no such model or address (404)",
    429: "rate limited (429)",
}
_KINDS: tuple[tuple[type[BaseException], str], ...] = (  # the first that is found counts
    (AnswerTooLarge, f"answered with more than {MAX_ANSWER_BYTES // 10**6} MB"),
    (ssl.SSLError, "TLS failure"),
    (aiohttp.ClientSSLError, "TLS failure"),
    (socket.gaierror, "no such host"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (BrokenPipeError, "connection reset"),
    (aiohttp.ClientPayloadError, "the answer broke off"),
    (aiohttp.ServerDisconnectedError, "connection closed without an answer"),
    (aiohttp.http.HttpProcessingError, "answered with no HTTP"),
    (aiohttp.ClientResponseError, "answered with no HTTP"),
)


def described(error: Exception, timeout_s: float) -> ProviderError:
    """``error`` as one to be raised; it does not hold ``error``, whose frames hold the key."""
    if isinstance(error, StatusError):
        return _status(error)
    causes = list(_causes(error))
    unsent = any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes)
    for kind, sentence in _KINDS:
        if any(isinstance(cause, kind) for cause in causes):
            return ProviderError(sentence, free=unsent)
    if isinstance(error, TimeoutError):
        return ProviderError(f"no answer within {timeout_s:g} s")
    return ProviderError(f"no connection ({type(causes[-1]).__name__})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and all that led to it."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: StatusError) -> ProviderError:
    status, said = error.status, _said(error.body)
    sentence = _STATUSES.get(status, f"failed ({status})")
    if 300 <= status < 400:
        sentence = f"points to another address ({status}), which is not followed"
    elif 400 <= status < 500 and status not in _STATUSES:
        sentence = f"refused the request ({status})"
    wait = _retry_after_s(error.headers)
    if wait is not None:
        sentence += f", asks to wait {wait:.3g} s"
    if isinstance(message := said.get("message"), str) and message.strip():
        sentence += f": {quoted(message)}"
    too_long = said.get("code") == "context_length_exceeded"  # another provider may take more
    refused = status in (400, 422) and not too_long
    # a gateway's 5xx, or 408, may come after its provider has worked
    return ProviderError(sentence, retry_after_s=wait, refused=refused, free=300 <= status < 500 and status != 408)


def _said(body: bytes) -> dict[str, Any]:
    """The error that ``body`` tells, with or without OpenAI's frame around it; {} where it tells none."""
    told: Any = None
    with suppress(ValueError, RecursionError):
        told = json.loads(body)
    if isinstance(told, dict):
        told = told.get("error", told)
    return told if isinstance(told, dict) else {}


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After`` (RFC 9110: seconds, or a date) or of OpenAI's ``retry-after-ms``."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with suppress(KeyError, ValueError, OverflowError):  # of a date: in no calendar, or past its end
            wait = unit * _seconds(headers[name])
            if math.isfinite(wait):
                return max(0.0, wait)
    return None


def _seconds(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return (parsedate_to_datetime(value).astimezone(UTC) - datetime.now(UTC)).total_seconds()
