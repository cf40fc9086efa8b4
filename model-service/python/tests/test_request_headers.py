"""Headers of callers before the instrumentation reads them, and content codings.

The cases of the W3C run against this service in `tests/e2e/two_languages_headers.rs`.
"""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator

from throughline_worker.errors import BodyCorrupt, TooLarge, UnsupportedEncoding, WorkerError
from throughline_worker.http.codings import MOST, codings, inflate_all
from throughline_worker.http.trace_headers import NAMES, normalised

PARENT = b"12345678901234567890123456789012-1234567890123456"
LIMIT = 100_000


def test_other_headers_stay_as_they_are() -> None:
    headers = [(b"host", b"localhost"), (b"accept", b"a"), (b"accept", b"b")]
    assert normalised(headers) is headers
    both = [(b"baggage", b"a=1"), *headers, (b"baggage", b"b=2")]
    assert normalised(both) == [*headers, (b"baggage", b"a=1,b=2")]


def test_a_state_without_a_parent_is_dropped() -> None:
    state = (b"tracestate", b"a=1")
    assert normalised([state]) == []
    assert normalised([(b"traceparent", b"00-" + PARENT + b"-ff"), state, state]) == [
        (b"traceparent", b"00-" + PARENT + b"-03"),
        (b"tracestate", b"a=1,a=1"),
    ]


@given(st.lists(st.tuples(st.sampled_from(sorted(NAMES)), st.binary(max_size=60))))
def test_any_bytes_give_at_most_one_ascii_line_of_each(headers: list[tuple[bytes, bytes]]) -> None:
    found = normalised(headers)
    assert len({name for name, _ in found}) == len(found)
    assert all(value and value.isascii() for _, value in found)
    assert normalised(found) == found or b"%" in dict(found).get(b"baggage", b"")


@given(st.dictionaries(st.from_regex(r"[a-zA-Z.%+!]{1,8}", fullmatch=True), st.text(max_size=20)))
def test_the_sdk_reads_what_other_services_read(members: dict[str, str]) -> None:
    def encoded(value: str) -> str:
        return "".join(f"%{byte:02X}" for byte in value.encode())

    line = ",".join(f"{key}={encoded(value)}" for key, value in members.items())
    [(_, rewritten)] = normalised([(b"baggage", line.encode())]) or [(b"", b"")]
    context = W3CBaggagePropagator().extract({"baggage": rewritten.decode()})
    # The SDK removes white space that was encoded.
    assert dict(get_all(context)) == {key: value.strip() for key, value in members.items()}


def test_codings_are_a_list_without_case() -> None:
    body = b"hello" * 100
    packed = zlib.compress(gzip.compress(body))
    assert inflate_all(packed, codings(["GZIP, identity", "\tDeflate,"]), LIMIT) == body
    assert codings(["", "Identity"]) == []
    for lines in (["br"], ["gzip, br"], ["gzip;q=1"], ["*"], ["gzip"] * (MOST + 1)):
        with pytest.raises(UnsupportedEncoding):
            codings(lines)


def test_members_are_many_or_damaged() -> None:
    # A quarter of a megabyte of members: time must not grow with the square.
    member = gzip.compress(b"x", mtime=0)
    assert inflate_all(member * 12_000, codings(["gzip"]), LIMIT) == b"x" * 12_000
    full = gzip.compress(bytes(LIMIT))
    assert len(inflate_all(full, codings(["gzip"]), LIMIT)) == LIMIT
    wrong = bytearray(member)
    wrong[-8] ^= 1
    cases: list[tuple[str, bytes, type[WorkerError]]] = [
        ("gzip", full + member, TooLarge),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(LIMIT + 1))), TooLarge),
        ("gzip", b"", BodyCorrupt),
        ("gzip", member[:-1], BodyCorrupt),
        ("gzip", member + b"\0", BodyCorrupt),
        ("gzip", bytes(wrong), BodyCorrupt),
        ("deflate", member, BodyCorrupt),
        ("deflate", zlib.compress(b"x") + b"rest", BodyCorrupt),
        ("deflate", zlib.compress(b"x")[:-1], BodyCorrupt),
    ]
    for coding, body, refusal in cases:
        with pytest.raises(refusal):
            inflate_all(body, codings([coding]), LIMIT)
