"""HTTP/1.1 on one connection: uvicorn's, with limits on slow and large heads, and a drain that loses nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from throughline_worker.http.layers import ABORT

# Most bytes of a request's head; hyper, which serves the Rust parts, allows somewhat more.
MAX_HEAD = 64 * 1024
# How long a drain waits for the first request of a connection: for its client it was made in time. Seconds.
FIRST_REQUEST = 0.5


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client has come, and owes a head."""
        super().connection_made(transport)
        self._expect_head(float(self.timeout_keep_alive))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        self._cancel_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, which calls the methods below."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self._refuse(431, "the head of the request is too large")

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        super().on_message_begin()
        if not self._in_head:
            self._in_head, self._head_bytes = True, 0
            self._expect_head(float(self.timeout_keep_alive))

    def on_headers_complete(self) -> None:
        """The head is whole; the request is started."""
        self._in_head = False
        self._cancel_timer()
        self.scope[ABORT] = self.transport.abort  # type: ignore[literal-required]
        super().on_headers_complete()
        if self._draining:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Asks the connection to end: at once when idle, after the answer when busy."""
        self._draining = True
        never_asked = getattr(self, "cycle", None) is None
        if never_asked:
            # The request of a new connection is on its way.
            self._expect_head(FIRST_REQUEST)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets an answer in the form of the others."""
        self._refuse(400, msg)

    def _refuse(self, status: int, text: str) -> None:
        body = json.dumps({"error": text, "code": "bad_request"}).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(b"".join([STATUS_LINE[status], head.encode(), body]))
        self.transport.close()

    def _expect_head(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
