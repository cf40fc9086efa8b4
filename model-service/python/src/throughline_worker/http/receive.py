"""Receives request bodies: bounded in bytes, in time and in number.

A request takes part in the work only when its body is there, so clients that send slowly hold no
place of others. Bodies that arrive with their heads, which are nearly all, are not counted. The
rules are those of `runtime/src/receive.rs`.
"""

from __future__ import annotations

import asyncio
import re

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from throughline_worker.errors import BodyTimedOut, TooLarge

# The largest body, before and after decompression.
MAX_BYTES = 1 << 20
# Bytes of all incomplete bodies together.
MAX_BUFFERED = 64 << 20

_NOTHING = re.compile("0*", re.ASCII)


class Receiver:
    """The bodies that are under way."""

    def __init__(self, timeout: float, most: int) -> None:
        self._timeout = timeout
        self._most = most
        self._buffered = 0
        # By age; a scope ends its body.
        self._slow: dict[int, anyio.CancelScope] = {}
        self._next = 0

    async def receive(self, headers: Headers, receive: Receive, is_here: bool) -> bytes:
        """The whole body; one that is here needs no limits.

        A declared length beyond the limit is refused before anything is asked for, so that uvicorn
        sends no `100 Continue` (RFC 9110 section 10.1.1).
        """
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > MAX_BYTES:
            raise TooLarge(MAX_BYTES)
        if is_here:
            return await self._collect(receive)
        number, self._next = self._next, self._next + 1
        with anyio.move_on_after(self._timeout) as scope:
            # Runs only if the body is not here yet, because then this task waits.
            place = asyncio.get_running_loop().call_soon(self._take_place, number, scope)
            try:
                return await self._collect(receive)
            finally:
                place.cancel()
                self._slow.pop(number, None)
        raise BodyTimedOut

    async def _collect(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part: bytes = message.get("body", b"")
                size += len(part)
                self._buffered += len(part)
                parts.append(part)
                if size > MAX_BYTES:
                    raise TooLarge(MAX_BYTES)
                if not message.get("more_body", False):
                    return b"".join(parts)
                if self._buffered > MAX_BUFFERED:
                    self._drop_oldest()
        finally:
            self._buffered -= size

    def _take_place(self, number: int, scope: anyio.CancelScope) -> None:
        """With as many slow bodies as allowed, the oldest ends: a new one is likelier honest."""
        self._slow[number] = scope
        if len(self._slow) > self._most:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        for number, scope in self._slow.items():
            del self._slow[number]
            scope.cancel()
            return


def has_body(headers: Headers) -> bool:
    """Whether a body follows the head (RFC 9112 section 6)."""
    length = headers.get("content-length", "")
    return "transfer-encoding" in headers or not _NOTHING.fullmatch(length)
