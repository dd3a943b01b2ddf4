"""HTTP/1.1 as httptools reads it, which takes less of a processor than h11 but would read a head without end."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection that sends more than 64 KiB towards a head, the frame of a chunk, or trailers.

    What arrives at once with the end of these is not counted.
    """

    _unread = 0  # bytes since the last head, piece of a body or request was whole

    def data_received(self, data: bytes) -> None:
        """Take in what arrived."""
        self._unread += len(data)
        super().data_received(data)
        if self._unread > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of the request is larger than {HEAD_BYTES:,} bytes.")

    def on_headers_complete(self) -> None:
        """Start to answer."""
        self._unread = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body."""
        self._unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body."""
        self._unread = 0
        super().on_message_complete()
