"""uvicorn's HTTP/1.1 connection, with limits on slow and large heads and our drain."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from throughline_worker import logs
from throughline_worker.balance import Counts
from throughline_worker.config import POSIX
from throughline_worker.error_codes import ErrorCode
from throughline_worker.guard import TARGET
from throughline_worker.http.layers import ABORT, ARRIVED

# The most bytes of a request's head; hyper, which serves the Rust parts, allows somewhat more.
MAX_HEAD = 64 * 1024
# Seconds that a drain waits for the first request of a new connection, whose client connected in
# time.
FIRST_REQUEST = 0.5

# The answer to a connection for which there is no room.
NO_ROOM = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"connection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of the connections of a listener."""

    # Open at once; with more, the one that has been idle for the longest time is closed.
    most: int
    # Seconds for a client to read its answer.
    write_timeout: float


class Connection(HttpToolsProtocol):
    """One connection, with the methods that asyncio and the parser call."""

    def __init__(self, *args: Any, limits: ConnectionLimits, counts: Counts, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._counts = counts
        self._idle_since = self.loop.time()
        self._unread: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected and must send a head."""
        super().connection_made(transport)
        self._count()
        # So that the methods below hear of every answer that does not leave at once.
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > self._limits.most and not self._make_room():
            self.connections.discard(self)
            transport.write(NO_ROOM)
            transport.close()
            return
        self._expect_head(float(self.timeout_keep_alive))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has disconnected."""
        self._cancel_timer()
        self._all_read()
        super().connection_lost(exc)
        self._count()

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, which calls the methods below."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self._refuse(431, "the head of the request is too large")

    def pause_writing(self) -> None:
        """The client does not read what was written.

        The time counts until everything has left, so a client that reads a byte now and then gains
        nothing.
        """
        super().pause_writing()
        self._unread = self.loop.call_later(self._limits.write_timeout, self._give_up)

    def resume_writing(self) -> None:
        """Everything has left."""
        super().resume_writing()
        self._all_read()

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
        self.scope[TARGET] = self.url  # type: ignore[literal-required]
        super().on_headers_complete()
        cycle = self.cycle
        self.scope[ARRIVED] = lambda: not cycle.more_body  # type: ignore[literal-required]
        if self._draining or self._counts.gives_away():
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """The answer has been written."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

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

    @property
    def _is_idle(self) -> bool:
        cycle = getattr(self, "cycle", None)
        return cycle is None or cycle.response_complete

    def _make_room(self) -> bool:
        """Closes the connection that has been idle for the longest time, if there is one."""
        others = (one for one in self.connections if isinstance(one, Connection))
        idle = [one for one in others if one is not self and one._is_idle]  # noqa: SLF001
        if not idle:
            return False
        oldest = min(idle, key=lambda one: one._idle_since)  # noqa: SLF001
        # At once, because its end is noticed in a later turn of the loop.
        self.connections.discard(oldest)
        oldest.transport.close()
        return True

    def _count(self) -> None:
        self._counts.set(len(self.connections))

    def _give_up(self) -> None:
        text = "a client does not read its answer; its connection is closed"
        logs.event(_log, logging.WARNING, "server.answer_unread", text)
        if POSIX:
            # What the kernel still holds is thrown away, too.
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _all_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _expect_head(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(seconds, self.transport.close)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
