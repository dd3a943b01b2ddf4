"""What a ``faulty_server`` can do to a request."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import chat_answers as answers
from chat_answers import Asked

if TYPE_CHECKING:
    from faulty_server import FaultyServer

ERRORS = {  # behaviour → status and headers
    "429": ("429 Too Many Requests",),
    "429-seconds": ("429 Too Many Requests", "Retry-After: 3"),
    "429-date": ("429 Too Many Requests", "Retry-After: {date}"),
    "500": ("500 Internal Server Error",),
    "503": ("503 Service Unavailable",),
    "400": ("400 Bad Request",),
    "401": ("401 Unauthorized",),
    "404": ("404 Not Found",),
    "422": ("422 Unprocessable Entity",),
    "redirect": ("307 Temporary Redirect", "Location: {url}/elsewhere"),
}
BEHAVIOURS = (
    "ok",
    *ERRORS,
    "reset",  # before the head of the answer
    "reset-mid",  # in the middle of it
    "close-mid",  # an orderly end of the connection in the middle of the answer: shorter than it said
    "hang",  # no answer
    "hang-mid",  # nothing more after the middle
    "drip",  # a byte every drip_s seconds
    "malformed",  # no JSON
    "truncated",  # half of the JSON, and an orderly end of the answer
    "cut",  # a stream without its second half, why it ended, the usage and [DONE]; else as truncated
    "empty",  # no choices
    "wrong-model",
    "dated-model",  # a snapshot of the model that was asked
    "no-usage",
    "error-event",  # half of the stream, then an error in it; else as 500
    "huge",  # an endless body
    "huge-error",  # status 500 with an endless body
    "not-http",
)
_BLOCK = b" " * 65536


@dataclass
class Reply:
    """The request to be answered, and the connection to answer on."""

    asked: Asked
    server: FaultyServer
    transport: asyncio.Transport
    writable: asyncio.Event

    @property
    def streamed(self) -> bool:
        return bool(self.asked.body.get("stream"))

    async def send(self, parts: list[bytes]) -> None:
        """Write ``parts``, each at once, ``chunk_s`` apart."""
        for number, part in enumerate(parts):
            if number and self.server.chunk_s:
                await asyncio.sleep(self.server.chunk_s)
            await self.writable.wait()
            self.transport.write(part)

    def reset(self) -> None:
        """End the connection by RST."""
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def behave(behaviour: str, reply: Reply) -> None:
    """Answer as ``behaviour`` says.

    Raises:
        ValueError: there is no such behaviour.
    """
    if behaviour not in BEHAVIOURS:
        raise ValueError(f"no behaviour {behaviour!r}; there are {', '.join(BEHAVIOURS)}")
    if behaviour in ERRORS or (behaviour == "error-event" and not reply.streamed):
        await reply.send([_error(ERRORS.get(behaviour, ERRORS["500"]), reply)])
    elif behaviour == "reset":
        reply.reset()
    elif behaviour == "hang":
        await asyncio.Event().wait()
    elif behaviour.startswith("huge"):
        await _endless("200 OK" if behaviour == "huge" else "500 Internal Server Error", reply)
    elif behaviour == "not-http":
        await reply.send([b"220 mail.example.org ESMTP\r\n\r\n"])
        reply.transport.close()
    elif behaviour == "drip":
        await _drip(b"".join(_parts(behaviour, reply)), reply)
    elif behaviour.endswith("-mid"):
        await _half(behaviour, reply)
    else:
        await reply.send(_parts(behaviour, reply))


async def _half(behaviour: str, reply: Reply) -> None:
    parts = _parts(behaviour, reply)
    await reply.send(parts[: len(parts) // 2] or [parts[0][: len(parts[0]) - 40]])
    if behaviour == "reset-mid":
        await asyncio.sleep(0.01)  # what was sent arrives before the reset
        reply.reset()
    elif behaviour == "close-mid":
        reply.transport.close()
    else:
        await asyncio.Event().wait()


async def _drip(wire: bytes, reply: Reply) -> None:
    for at in range(len(wire)):
        reply.transport.write(wire[at : at + 1])
        await asyncio.sleep(reply.server.drip_s)


async def _endless(status: str, reply: Reply) -> None:
    kind = "text/event-stream" if reply.streamed else "application/json"
    reply.transport.write(answers.head(status, kind=kind))
    while True:
        await reply.writable.wait()
        reply.transport.write(answers.frame(_BLOCK))
        await asyncio.sleep(0)


def _error(status: tuple[str, ...], reply: Reply) -> bytes:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    headers = [header.format(date=date, url=reply.server.url) for header in status[1:]]
    body = answers.error(_message(reply))
    return answers.head(status[0], *headers, length=len(body)) + body


def _message(reply: Reply) -> str:
    quoted = reply.asked.headers.get("authorization", "") if reply.server.quotes_key else ""
    return f"no answer to {reply.asked.prompt!r} for {quoted}"


def _parts(behaviour: str, reply: Reply) -> list[bytes]:
    """The answer as it is written, a write each; its tokens are charged."""
    asked, server = reply.asked, reply.server
    given, answered, cached = server.usage(asked)
    server.tokens[0] += given
    server.tokens[1] += answered
    name = str(asked.body.get("model"))
    model = {"wrong-model": "another-model", "dated-model": f"{name}-2026-01-31"}.get(behaviour, name)
    usage = None if behaviour == "no-usage" else (given, answered, cached)
    if not reply.streamed:
        body = _spoilt(behaviour, answers.empty(model, usage) if behaviour == "empty" else _whole(reply, model, usage))
        return [answers.head("200 OK", length=len(body)) + body]
    told = usage if (asked.body.get("stream_options") or {}).get("include_usage") else None
    events = answers.events(model, server.text(asked), told, server.chunks)
    if behaviour == "empty":
        events = [answers.event(answers.empty(model, told)), answers.DONE]
    return _framed(_spoilt_stream(behaviour, events, reply))


def _whole(reply: Reply, model: str, usage: tuple[int, int, int] | None) -> bytes:
    return answers.completion(model, reply.server.text(reply.asked), usage)


def _spoilt(behaviour: str, body: bytes) -> bytes:
    if behaviour == "malformed":
        return b"{" + body
    return body[: len(body) // 2] if behaviour in ("truncated", "cut") else body


def _spoilt_stream(behaviour: str, events: list[bytes], reply: Reply) -> list[bytes]:
    half = len(events) // 2
    if behaviour == "error-event":
        return [*events[:half], answers.event(answers.error(_message(reply)))]
    if behaviour == "malformed":
        return [*events[:half], b"data: {" + events[half][6:], *events[half:]]
    if behaviour == "truncated":
        return [*events[:half], events[half][:40]]
    return events[:half] if behaviour == "cut" else events


def _framed(events: list[bytes]) -> list[bytes]:
    """A frame and a write for each event; the head goes with the first, and what ends the answer with the last."""
    frames = [answers.frame(event) for event in events]
    frames[0] = answers.head("200 OK", kind="text/event-stream") + frames[0]
    return [*frames[:-1], frames[-1] + answers.END]
