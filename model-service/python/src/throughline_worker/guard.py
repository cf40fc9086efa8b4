"""Admits programs and our own pages, and refuses the other pages in a browser.

The rules and their reasons are those of `runtime/src/guard.rs`, which guards the Rust services.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from starlette.types import Scope

from throughline_worker.errors import CrossOrigin, InvalidHost, UnknownHost

# The target of the request as it was sent; `http.connection` puts it into the scope.
TARGET = "throughline.target"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# `uri-host [ ":" port ]` (RFC 9110 section 7.2, RFC 3986 section 3.2.2).
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Za-z:.!$&'()*+,;=_~-]+\]|[0-9A-Za-z.!$&'()*+,;=_~-]+)(?::(?P<port>\d{0,9}))?",
    re.ASCII,
)
_VISIBLE = re.compile(rb"[\t\x20-\x7e]*")


class Authority(NamedTuple):
    """A host, and the text with its port."""

    host: str
    text: str


class Guard:
    """Decides by the head of a request."""

    def __init__(self, listening_on: str, allowed: Sequence[str] = ()) -> None:
        self._loopback = is_loopback(listening_on)
        self._allowed = tuple(allowed)

    def check(self, scope: Scope) -> None:
        """Raises the refusal of a request that is not admitted."""
        host = _host(scope)
        if host is not None and not self._answers_to(host.host):
            raise UnknownHost
        origin = _single(scope, b"origin")
        if origin is not None:
            if not _is_origin_of(origin, host):
                raise CrossOrigin
            return
        site = _single(scope, b"sec-fetch-site")
        if site not in (None, "same-origin", "none") and not _is_navigation(scope):
            raise CrossOrigin

    def _answers_to(self, host: str) -> bool:
        # The dot of a fully qualified name.
        name = host.removesuffix(".").lower()
        address = _address(host)
        if address is not None:
            known = not self._loopback or _canonical(address).is_loopback
        else:
            is_local = name == "localhost" or name.endswith(".localhost")
            known = is_local or (not self._loopback and "." not in name)
        return known or any(_admits(allowed, name) for allowed in self._allowed)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    # A scope as in `fe80::1%eth0` does not matter.
    return _canonical(ipaddress.ip_address(address.partition("%")[0])).is_loopback


def allowed_hosts(text: str) -> tuple[str, ...]:
    """Reads names with commas between them: `a.example`, `.example` for all below it, or `*`."""
    names = [name.strip().lower() for name in text.split(",")] if text else []
    for name in names:
        match = _AUTHORITY.fullmatch(name.removeprefix("."))
        if name != "*" and (match is None or match["port"] is not None):
            raise ValueError(f"`{name}` is no name of a host; leave its port out")
    return tuple(names)


def _admits(allowed: str, name: str) -> bool:
    if allowed.startswith("."):
        return name.endswith(allowed) and len(name) > len(allowed)
    return allowed in ("*", name)


def _host(scope: Scope) -> Authority | None:
    """The host of the request; HTTP/1.0 allows a request without one.

    The authority of an absolute target goes before `Host` (RFC 9112 section 3.2.2), but `Host` has
    to be there and valid even then.
    """
    header = _single(scope, b"host")
    if header is None and scope["http_version"] != "1.0":
        raise InvalidHost
    named = None if header is None else _parsed(header)
    target: bytes = scope.get(TARGET, b"")
    _, separator, rest = target.partition(b"://")
    if target.startswith(b"/") or not separator:
        return named
    return _parsed(re.split(rb"[/?#]", rest, maxsplit=1)[0].decode("latin-1"))


def _parsed(text: str) -> Authority:
    match = _AUTHORITY.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65_535:
        raise InvalidHost
    return Authority(match["host"], text)


def _single(scope: Scope, name: bytes) -> str | None:
    values: list[bytes] = [value for key, value in scope["headers"] if key == name]
    if not values:
        return None
    if len(values) > 1 or not _VISIBLE.fullmatch(values[0]):
        raise InvalidHost
    return values[0].decode("ascii")


def _is_origin_of(origin: str, host: Authority | None) -> bool:
    """Whether the page came from here.

    A proxy may add TLS, so both schemes do. Those of applications are somebody else's.
    """
    scheme, _, authority = origin.lower().partition("://")
    return scheme in ("http", "https") and host is not None and authority == host.text.lower()


def _is_navigation(scope: Scope) -> bool:
    """A link that a person followed to here. The page that has it cannot read the answer."""
    headers = scope["headers"]
    return (
        scope["method"] in ("GET", "HEAD")
        and (b"sec-fetch-mode", b"navigate") in headers
        and (b"sec-fetch-dest", b"document") in headers
    )


def _address(host: str) -> Address | None:
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1])
        return ipaddress.IPv4Address(host)
    except ValueError:
        return None


def _canonical(address: Address) -> Address:
    """The IPv4 address in an IPv6 one that only carries it."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
