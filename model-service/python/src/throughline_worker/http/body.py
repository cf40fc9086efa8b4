"""Request bodies: bounded on the wire, decompressed, bounded again. The content type is not asked for."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from throughline_worker.errors import DecodeError, InputError, TooLarge, UnsupportedEncoding

# Largest body, as sent and as decompressed.
MAX_BYTES = 1 << 20

_GZIP = zlib.MAX_WBITS | 16
# By RFC 9110 deflate is the zlib format, which is also what tritonclient sends.
_DEFLATE = zlib.MAX_WBITS


async def read(request: Request) -> bytes:
    """The body as the client meant it."""
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
    """All members of a compressed body; a bomb is stopped at the limit, not after it."""
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
