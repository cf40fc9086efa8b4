"""Trace context and baggage of callers, as one line each that every propagator reads alike.

The instrumentation's propagators take the first of several `traceparent` and `baggage` lines, keep
unknown flags, read `+` as a space, and log what they cannot read, which may hold a user's id. So
the headers are read here as in `telemetry/src/propagation.rs`, by W3C Trace Context level 2 and W3C
Baggage, and rewritten before the instrumentation sees them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

Header = tuple[bytes, bytes]

TRACEPARENT, TRACESTATE, BAGGAGE = b"traceparent", b"tracestate", b"baggage"
NAMES = frozenset({TRACEPARENT, TRACESTATE, BAGGAGE})

# `sampled` and `random`; level 2 asks to pass the second one on and to clear all others.
KNOWN_FLAGS = 0b11
MAX_STATES = 32
MAX_BAGGAGE = 64
MAX_BAGGAGE_BYTES = 8192
# The SDK drops a longer member, and logs its key.
MAX_MEMBER_BYTES = 4096

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32}-[0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_ZERO = re.compile(rb"0{32}-.*|.*-0{16}")
# Level 2, 3.3.1.3.1 and 3.3.1.3.2; white space around a member was removed.
_STATE = re.compile(rb"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}")
_TOKEN = re.compile(rb"[0-9A-Za-z!#$%&'*+.^_`|~-]+")
_OCTETS = re.compile(rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_PROPERTIES = re.compile(rb"[\x21\x23-\x2b\x2d-\x5b\x5d-\x7e \t]*")


def normalised(headers: list[Header]) -> list[Header]:
    """The headers with at most one valid line of each of the three."""
    lines: dict[bytes, list[bytes]] = {name: [] for name in NAMES}
    others = []
    for name, value in headers:
        if name in NAMES:
            lines[name].append(value)
        else:
            others.append((name, value))
    if len(others) == len(headers):
        return headers
    parent = _traceparent(lines[TRACEPARENT])
    state = _tracestate(lines[TRACESTATE]) if parent else b""
    found = [(TRACEPARENT, parent), (TRACESTATE, state), (BAGGAGE, _baggage(lines[BAGGAGE]))]
    return others + [(name, value) for name, value in found if value]


def _traceparent(lines: Sequence[bytes]) -> bytes:
    """The parent, or nothing if it is malformed or given twice."""
    match = _PARENT.fullmatch(lines[0].strip(b" \t")) if len(lines) == 1 else None
    if match is None:
        return b""
    version, ids, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None) or _ZERO.fullmatch(ids):
        return b""
    return b"00-%b-%02x" % (ids, int(flags, 16) & KNOWN_FLAGS)


def _tracestate(lines: Sequence[bytes]) -> bytes:
    """The whole list, or nothing if one of its members is malformed."""
    members = list(_members(lines))
    if len(members) > MAX_STATES or not all(map(_STATE.fullmatch, members)):
        return b""
    return b",".join(members)


def _baggage(lines: Sequence[bytes]) -> bytes:
    """The members within the limits; one that is malformed or finds no room is dropped alone."""
    found: dict[bytes, bytes] = {}
    left = MAX_BAGGAGE_BYTES
    for text in _members(lines):
        member = _baggage_member(text)
        # The comma before the first member is not there.
        if member is None or len(text) > left or len(found) >= MAX_BAGGAGE:
            continue
        left -= len(text) + 1
        found[member[0]] = member[1]
    return _within_the_sdks_limits(found)


def _baggage_member(text: bytes) -> tuple[bytes, bytes] | None:
    """Key and value of `key = value ; properties`, so encoded that the SDK decodes the value once.

    It decodes keys, too, which are plain tokens, and has no place for properties.
    """
    pair, _, properties = text.partition(b";")
    key, separator, value = pair.partition(b"=")
    key, value = key.strip(b" \t"), value.strip(b" \t")
    if not separator or not _TOKEN.fullmatch(key) or not _OCTETS.fullmatch(value):
        return None
    if not _PROPERTIES.fullmatch(properties):
        return None
    return key.replace(b"%", b"%25").replace(b"+", b"%2B"), value.replace(b"+", b"%2B")


def _within_the_sdks_limits(found: dict[bytes, bytes]) -> bytes:
    line = b""
    for key, value in found.items():
        member = b"%b=%b" % (key, value)
        longer = b"%b,%b" % (line, member) if line else member
        if len(member) <= MAX_MEMBER_BYTES and len(longer) <= MAX_BAGGAGE_BYTES:
            line = longer
    return line


def _members(lines: Sequence[bytes]) -> Iterator[bytes]:
    """The members of a list on several lines (RFC 9110 sections 5.3 and 5.6.1), in order."""
    for line in lines:
        for member in line.split(b","):
            text = member.strip(b" \t")
            if text:
                yield text
