"""The listening socket, which the first process binds and all processes of the service share."""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
from typing import Any

from throughline_worker.balance import Counts
from throughline_worker.config import POSIX, Config

# Connections that may wait to be accepted.
QUEUE = 2_048
# Seconds that a connection waits for a process that has fewer of them than this one.
PATIENCE = 0.001


class Listener(socket.socket):
    """A listening socket that leaves a connection to whoever has the fewest."""

    counts: Counts
    _timer: asyncio.TimerHandle | None = None
    _is_due = False

    def listen(self, _backlog: int = QUEUE, /) -> None:
        """Lets `QUEUE` connections wait.

        asyncio calls this with the number of connections that it accepts in a row: `accepts`.
        """
        super().listen(QUEUE)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accepts one, unless another process should. asyncio calls this again while it waits."""
        if self.counts.others_have_fewer() and not self._is_due:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._come_back)
            # The other process may wait for this core.
            os.sched_yield()
            raise BlockingIOError
        self._is_due = False
        accepted = super().accept()
        self.counts.add()
        return accepted

    def has_waiting(self) -> bool:
        """Whether a connection waits to be accepted."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            return bool(selector.select(0))

    def _come_back(self) -> None:
        """The others had their time. What still waits is for this process."""
        self._timer = None
        self._is_due = self.fileno() >= 0 and self.has_waiting()


def accepts(config: Config) -> int:
    """How many connections a process accepts in a row, before it does anything else.

    One by one if there are others, which would get none of a burst.
    """
    return 1 if config.shares_listener else QUEUE


def obtain(config: Config) -> Listener:
    """The listener of the first process, or a new one. Raises `OSError`."""
    host, port = config.listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    inherited = config.inherited
    # asyncio sets TCP_NODELAY only on sockets with this protocol number. Without it the last part
    # of an answer waits 40 ms for the acknowledgement of the first.
    number = None if inherited is None else inherited.listener
    listener = Listener(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=number)
    if inherited is None:
        listener.counts = Counts.new(config.processes)
        _bind(listener, host, port)
    else:
        listener.counts = Counts.inherited(inherited.counts, inherited.place)
    listener.setblocking(False)
    return listener


def _bind(listener: Listener, host: str, port: int) -> None:
    if POSIX:
        # On Windows this option would let two servers share a port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
