"""Serves an app: as a program until SIGTERM, or in a thread of a notebook or a test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from routelab.errors import RoutelabError

_DRAIN_S = 30


@dataclass(frozen=True, slots=True)
class Served:
    """An app that listens.

    Args:
        url: without a slash at its end; OpenAI's clients take ``f"{url}/v1"`` as their ``base_url``.
    """

    url: str


def serve(app: FastAPI, sock: socket.socket) -> None:
    """Serve ``app`` until SIGTERM or SIGINT; what is in flight then has 30 s to end.

    Neither prompts nor keys are logged: there is no access log.
    """
    _server(app, _DRAIN_S).run(sockets=[sock])


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
    ...     urlopen(f"{served.url}/health").read()
    b'{"status":"ok"}'
    """
    with listening("127.0.0.1", port) as sock:
        server = _server(app, 5)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.005)
            if not thread.is_alive():
                raise RoutelabError("the proxy did not start; its log says why")
        try:
            yield Served(f"http://127.0.0.1:{sock.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        RoutelabError: the address is none of this machine's, or taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise RoutelabError(f"cannot listen on {host}:{port}: {error.strerror}; give another port") from None


def _server(app: FastAPI, drain_s: int) -> uvicorn.Server:
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=drain_s, server_header=False
    )
    return uvicorn.Server(config)
