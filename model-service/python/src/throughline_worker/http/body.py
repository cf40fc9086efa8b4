"""Request bodies: limited on the wire, decompressed, and limited again.

Any content type will do.
"""

from __future__ import annotations

import zlib

from starlette.requests import Request

from throughline_worker.errors import DecodeError, InputError, TooLarge, UnsupportedEncoding

# The largest body, before and after decompression.
MAX_BYTES = 1 << 20

_GZIP = zlib.MAX_WBITS | 16
# In RFC 9110 deflate is the zlib format; tritonclient sends it, too.
_DEFLATE = zlib.MAX_WBITS


async def read(request: Request) -> bytes:
    """The decompressed body."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    body = await _received(request)
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflate(body, _GZIP)
    if encoding == "deflate":
        return _inflate(body, _DEFLATE)
    raise UnsupportedEncoding


async def _received(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BYTES:
        raise TooLarge(MAX_BYTES)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            raise TooLarge(MAX_BYTES)
        parts.append(part)
    return b"".join(parts)


def _inflate(body: bytes, form: int) -> bytes:
    """Decompresses all members of a body, up to the limit: a bomb cannot fill the memory."""
    plain = bytearray()
    rest = body
    while rest:
        inflater = zlib.decompressobj(form)
        try:
            plain += inflater.decompress(rest, MAX_BYTES + 1 - len(plain))
        except zlib.error as error:
            raise InputError("the body cannot be decompressed") from error
        if len(plain) > MAX_BYTES:
            raise TooLarge(MAX_BYTES)
        if not inflater.eof:
            raise DecodeError("the compressed body ends early")
        rest = inflater.unused_data if form == _GZIP else b""
    return bytes(plain)
