"""Serves an app: as a program until SIGTERM, or in a thread of a notebook or a test."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from routelab.errors import RoutelabError
from routelab.proxy.protocol import BoundedHttp

_SWITCH_S = 0.0005  # the log's thread and the event loop wait for one another at most that long, in place of 5 ms


@dataclass(frozen=True, slots=True)
class Served:
    """An app that listens.

    Args:
        url: without a slash at its end; OpenAI's clients take ``f"{url}/v1"`` as their ``base_url``.
    """

    url: str


def serve(app: FastAPI, host: str, port: int, *, drain_s: int = 30) -> None:
    """Serve ``app`` until SIGTERM or SIGINT; what is in flight then has ``drain_s`` seconds to end.

    Neither prompts nor keys are logged: there is no access log.
    """
    gc.collect()
    gc.freeze()  # what is there at the start stays: to search it for garbage stops all requests for 0.2 s
    sys.setswitchinterval(_SWITCH_S)
    _server(app, host, port, drain_s, "info").run()


@contextmanager
def serve_in_thread(app: FastAPI, *, port: int = 0) -> Iterator[Served]:
    """Serve ``app`` on 127.0.0.1 in a thread of its own; it stops with the block.

    Args:
        app: as ``create_app`` makes it.
        port: 0 takes a free one.

    Raises:
        RoutelabError: the port is taken, or the app does not start.

    >>> from urllib.request import urlopen
    >>> from routelab import BanditRouter, simulated_providers
    >>> from routelab.proxy import create_app
    >>> with serve_in_thread(create_app(BanditRouter(simulated_providers()))) as served:
    ...     with urlopen(f"{served.url}/health") as response:
    ...         response.read()
    b'{"status":"ok"}'
    """
    server = _server(app, "127.0.0.1", port, 2, "warning")
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.005)
        if not thread.is_alive():
            raise RoutelabError(f"the proxy did not start on port {port}; its log says why, give another port")
    try:
        yield Served(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join()


def _server(app: FastAPI, host: str, port: int, drain_s: int, log_level: str) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        host,
        port,
        http=BoundedHttp,
        log_level=log_level,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody asks for the address of a client
        timeout_graceful_shutdown=drain_s,
        backlog=1024,
        timeout_keep_alive=75,  # longer than clients keep a connection, lest one send on what is being closed
    )
    return uvicorn.Server(config)
