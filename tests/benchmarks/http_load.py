"""Open-loop load on a server of streamed chat completions: requests go out when they are due."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

_END = b"\r\n0\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One connection, kept open: sends a request, and counts what comes until its last byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        self.came += data
        if self.came.endswith(_END):
            self.done.set_result(perf_counter())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed too early"))

    def ask(self, request: bytes) -> asyncio.Future[float]:
        self.came, self.done = b"", asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.done


async def load(url: str, *, model: str, per_second: float, seconds: float, chunks: int) -> list[float]:
    """Seconds from when each request was due to the last byte of its answer, which must hold ``chunks`` words."""
    place = urlsplit(url)
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": True}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    loop, idle, took = asyncio.get_running_loop(), deque[_Connection](), list[float]()

    async def connect() -> _Connection:
        return (await loop.create_connection(_Connection, place.hostname, place.port))[1]

    async def one(due: float) -> None:
        connection = idle.popleft() if idle else await connect()
        took.append(await connection.ask(request) - due)
        assert connection.came.startswith(b"HTTP/1.1 200"), connection.came[:500]
        assert connection.came.count(b"word") == chunks, connection.came
        idle.append(connection)

    began, tasks = perf_counter(), []
    for number in range(round(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - perf_counter()))
        tasks.append(asyncio.create_task(one(due)))
    try:
        await asyncio.gather(*tasks)
    finally:
        for connection in idle:
            connection.transport.close()
        await asyncio.sleep(0.1)  # in which they close
    return took
