"""HTTP/1.1 as httptools reads it, which takes less of a processor than h11 but would read a head without end."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
HEAD_S = 10.0
LINGER_S = 1.0


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection that sends more than 64 KiB towards a head, the frame of a chunk, or trailers.

    What arrives at once with the end of these is not counted. It also closes a connection that brings no whole head
    within 10 seconds of its beginning, or of the first byte of a later head; between two requests it may rest. Whoever
    is refused may go on sending for a second: closed at once, the connection would be reset before the answer is read.
    """

    _unread = 0  # bytes since the last head, piece of a body or request was whole
    _in_body = _ended = False  # a head is whole, its body not; the last bytes that came ended a request
    _refused = False
    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Await the first head."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Await nothing more."""
        self._cease()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what arrived."""
        if self._refused:
            return
        self._unread += len(data)
        self._ended = False
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        if self._unread > HEAD_BYTES:
            self.send_400_response(f"The head of the request is larger than {HEAD_BYTES:,} bytes.")
        elif self._head_due is None and not (self._in_body or self._ended):
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, and end the answer; what still comes is dropped."""
        self._refused = True
        self._cease()
        head = f"content-type: text/plain; charset=utf-8\r\ncontent-length: {len(msg)}\r\nconnection: close"
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n\r\n{msg}".encode("ascii"))
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)

    def on_message_begin(self) -> None:
        """Start to read a head."""
        self._ended = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start to answer."""
        self._unread, self._in_body = 0, True
        self._cease()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        self._unread, self._in_body, self._ended = 0, False, True
        super().on_message_complete()

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_S, self._late)

    def _cease(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _late(self) -> None:
        """Close the connection, unless it is being answered: then the next head may have to wait."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()
        else:
            self.transport.close()
