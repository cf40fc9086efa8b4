"""uvicorn's HTTP/1.1 connection, with limits on slow and large heads and our drain."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from throughline_worker.error_codes import ErrorCode
from throughline_worker.http.layers import ABORT

# The most bytes of a request's head; hyper, which serves the Rust parts, allows somewhat more.
MAX_HEAD = 64 * 1024
# Seconds that a drain waits for the first request of a new connection, whose client connected in
# time.
FIRST_REQUEST = 0.5


class Connection(HttpToolsProtocol):
    """One connection, with the methods that asyncio and the parser call."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected and must send a head."""
        super().connection_made(transport)
        self._expect_head(float(self.timeout_keep_alive))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
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
        """The first byte of a request has arrived."""
        super().on_message_begin()
        if not self._in_head:
            self._in_head, self._head_bytes = True, 0
            self._expect_head(float(self.timeout_keep_alive))

    def on_headers_complete(self) -> None:
        """The head is complete, so the request starts."""
        self._in_head = False
        self._cancel_timer()
        self.scope[ABORT] = self.transport.abort  # type: ignore[literal-required]
        super().on_headers_complete()
        if self._draining:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Closes the connection: at once when idle, after the answer when busy."""
        self._draining = True
        is_new = getattr(self, "cycle", None) is None
        if is_new:
            # The first request may be on its way.
            self._expect_head(FIRST_REQUEST)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answers malformed HTTP in the form of the other errors."""
        self._refuse(400, msg)

    def _refuse(self, status: int, text: str) -> None:
        body = json.dumps({"error": text, "code": ErrorCode.BAD_REQUEST.value}).encode()
        length = f"content-length: {len(body)}"
        head = f"content-type: application/json\r\n{length}\r\nconnection: close\r\n\r\n"
        self.transport.write(b"".join([STATUS_LINE[status], head.encode(), body]))
        self.transport.close()

    def _expect_head(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
