"""A server of OpenAI's chat completions that does on demand what servers should not; as a script, in its own process.

    async with FaultyServer() as server:
        server.behaviour = "reset"  # one of ``faults.BEHAVIOURS``, or a callable of the request that names one
        provider = OpenAIProvider("a", model="m", base_url=server.url, key_env=None, price=Price(1.0, 2.0))

Beside the behaviours there are addresses at which nobody answers: ``refused_url()`` (a closed port), ``DNS_URL`` (no
such name), ``server.tls_url`` (https to a port that speaks plain HTTP), and ``FaultyServer(tls=True)`` (nobody has
signed its certificate).
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from certificates import self_signed
from chat_answers import Asked
from faults import Reply, behave

DNS_URL = "http://nobody.invalid/v1"


def refused_url() -> str:
    """An address whose port is closed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def default_usage(asked: Asked) -> tuple[int, int, int]:
    """(input, output, cached input) tokens: a word each, at most ``max_tokens`` of output, nothing cached."""
    limit = asked.body.get("max_completion_tokens") or asked.body.get("max_tokens") or 20
    return max(1, len(asked.prompt.split())), min(20, limit), 0


class FaultyServer:
    """Serves on 127.0.0.1 in the loop that entered it; everything may be changed while it runs.

    Attributes:
        behaviour: of ``faults.BEHAVIOURS``, or a callable that says which.
        text: of an answer.
        usage: (input, output, cached input) tokens of an answer.
        latency_s: before the first byte; chunk_s: between the chunks of a stream; drip_s: between dripped bytes.
        chunks: of a streamed answer, before those that end it.
        quotes_key: whether errors repeat the Authorization header that came.
        asked: every request that came; open: connections as of now; accepted: connections in all.
        in_flight, peak: requests being answered now, and at most; aborted: those whose client left before the end.
        tokens: [input, output] charged in all.
    """

    def __init__(self, behaviour: str | Callable[[Asked], str] = "ok", *, tls: bool = False, port: int = 0) -> None:
        self.behaviour = behaviour
        self.text: Callable[[Asked], str] = lambda asked: " ".join(f"word{i}" for i in range(20))
        self.usage: Callable[[Asked], tuple[int, int, int]] = default_usage
        self.latency_s, self.chunk_s, self.drip_s = 0.0, 0.0, 0.02
        self.chunks = 20
        self.quotes_key = True
        self.asked: list[Asked] = []
        self.open = self.accepted = self.in_flight = self.peak = self.aborted = 0
        self.tokens = [0, 0]
        self.connections: set[_Connection] = set()
        self.port, self._tls = port, tls

    @property
    def url(self) -> str:
        """To be given as ``base_url``."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def tls_url(self) -> str:
        """https to this port, whatever it speaks."""
        return f"https://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> FaultyServer:
        context = None
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self_signed())
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, ssl=context, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        while self.connections or self.in_flight:
            await asyncio.sleep(0.001)


class _Connection(asyncio.Protocol):
    """One connection: reads requests one after the other, and answers each as the server behaves."""

    def __init__(self, server: FaultyServer) -> None:
        self.server, self.buffer = server, b""
        self.task: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self.server.connections.add(self)
        self.server.open += 1
        self.server.accepted += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        self.server.open -= 1
        if self.task is not None:
            self.server.aborted += 1
            self.task.cancel()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not b"POST".startswith(self.buffer[:4]):  # such as TLS
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            self.transport.close()
            return
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or self.task is not None:
            return
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        after = end + 4 + int(headers.get("content-length", 0))
        if len(self.buffer) >= after:
            body = json.loads(self.buffer[end + 4 : after] or b"{}")
            self.buffer = self.buffer[after:]
            asked = Asked(len(self.server.asked), first.split(" ")[1], headers, body)
            self.server.asked.append(asked)
            self.task = asyncio.get_running_loop().create_task(self.answer(asked))

    async def answer(self, asked: Asked) -> None:
        server = self.server
        server.in_flight += 1
        server.peak = max(server.peak, server.in_flight)
        try:
            if server.latency_s:
                await asyncio.sleep(server.latency_s)
            behaviour = server.behaviour if isinstance(server.behaviour, str) else server.behaviour(asked)
            await behave(behaviour, Reply(asked, server, self.transport, self.writable))
        finally:
            server.in_flight -= 1
            self.task = None
        self.data_received(b"")  # what came meanwhile


@contextmanager
def faulty_server_in_thread(
    behaviour: str | Callable[[Asked], str] = "ok", *, tls: bool = False
) -> Iterator[FaultyServer]:
    """The server in a loop and a thread of its own, for tests whose client blocks; numbers may be read from outside."""
    server, ready, loop = FaultyServer(behaviour), threading.Event(), asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with server:
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _serve_for_ever(settings: dict[str, float]) -> None:
    async with FaultyServer(port=int(settings.pop("port", 0))) as server:
        for name, value in settings.items():
            setattr(server, name, value)
        print(server.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":  # python tests/faulty_server.py '{"chunk_s": 0.001}' prints its address and serves
    asyncio.run(_serve_for_ever(json.loads(sys.argv[1]) if sys.argv[1:] else {}))
