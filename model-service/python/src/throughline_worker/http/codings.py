"""The content codings of request bodies (RFC 9110 section 8.4): gzip and deflate, in any order.

The rules are those of `runtime/src/coding.rs`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import anyio.to_thread

from throughline_worker.errors import BodyCorrupt, TooLarge, UnsupportedEncoding

# A body that is applied more codings than this is no honest one.
MOST = 4
# Longer bodies are decompressed on another thread.
SHORT = 2 * 1024
# What is given to zlib at once. It copies the bytes behind a member, so a body of many small
# members would cost the square of its length.
PIECE = 4 * 1024

_GZIP = zlib.MAX_WBITS | 16
# In RFC 9110 section 8.4.1.2 deflate is the zlib format; tritonclient sends it, too.
_DEFLATE = zlib.MAX_WBITS
_FORMS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}


def codings(lines: Sequence[str]) -> list[int]:
    """The codings in the order in which they were applied, as zlib's window bits.

    Several header lines are one list (RFC 9110 section 5.3), names have no case and empty elements
    do not count (section 5.6.1).
    """
    names = [name.strip(" \t").lower() for line in lines for name in line.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if len(names) > MOST or any(name not in _FORMS for name in names):
        raise UnsupportedEncoding
    return [_FORMS[name] for name in names]


async def decode(body: bytes, forms: Sequence[int], limit: int) -> bytes:
    """Undoes all codings; no step may be longer than `limit`."""
    if not forms or len(body) <= SHORT:
        return inflate_all(body, forms, limit)
    return await anyio.to_thread.run_sync(inflate_all, body, forms, limit)


def inflate_all(body: bytes, forms: Sequence[int], limit: int) -> bytes:
    """The coding that was applied last is undone first."""
    for form in reversed(forms):
        body = _inflate(body, form, limit)
    return body


def _inflate(body: bytes, form: int, limit: int) -> bytes:
    """Decompresses one coding: of gzip one or more members (RFC 1952 section 2.2)."""
    plain, rest = bytearray(), memoryview(body)
    while True:
        rest = _inflate_member(rest, form, plain, limit)
        if not rest:
            return bytes(plain)
        if form != _GZIP:
            raise BodyCorrupt


def _inflate_member(rest: memoryview, form: int, plain: bytearray, limit: int) -> memoryview:
    """Appends one member to `plain` and returns what follows it."""
    inflater = zlib.decompressobj(form)
    while rest:
        piece = rest[:PIECE]
        try:
            plain += inflater.decompress(piece, limit + 1 - len(plain))
        except zlib.error as error:
            raise BodyCorrupt from error
        if len(plain) > limit:
            raise TooLarge(limit)
        left = len(inflater.unused_data) + len(inflater.unconsumed_tail)
        rest = rest[len(piece) - left :]
        if inflater.eof:
            return rest
    raise BodyCorrupt
