"""Spans of OTLP/JSON as protobuf, which is what services send; and how to change their ids and times in place.

Only the fields that bench/explorer.py sets. The numbers are those of opentelemetry/proto/trace/v1/trace.proto.
"""

import struct
from typing import Any

# Wire types.
VARINT, FIXED64, BYTES = 0, 1, 2


def varint(number: int) -> bytes:
    """A number, seven bits in a byte."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, content: bytes | str) -> bytes:
    """A text, bytes or a message."""
    data = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def fixed64(number: int, value: bytes) -> bytes:
    """A field of eight bytes."""
    return varint(number << 3 | FIXED64) + value


def any_value(value: dict[str, Any]) -> bytes:
    """An AnyValue."""
    ((kind, item),) = value.items()
    if kind == "stringValue":
        return field(1, str(item))
    if kind == "boolValue":
        return varint(2 << 3 | VARINT) + varint(int(item))
    if kind == "intValue":
        return varint(3 << 3 | VARINT) + varint(int(item))
    return fixed64(4, struct.pack("<d", item))


def attributes(number: int, items: list[dict[str, Any]]) -> bytes:
    """KeyValues, all under one number of a field."""
    return b"".join(field(number, field(1, item["key"]) + field(2, any_value(item["value"]))) for item in items)


def span(json: dict[str, Any]) -> bytes:
    """A Span."""
    parent = json["parentSpanId"]
    return b"".join(
        [
            field(1, bytes.fromhex(json["traceId"])),
            field(2, bytes.fromhex(json["spanId"])),
            field(4, bytes.fromhex(parent)) if parent else b"",
            field(5, json["name"]),
            varint(6 << 3 | VARINT) + varint(json["kind"]),
            fixed64(7, struct.pack("<Q", int(json["startTimeUnixNano"]))),
            fixed64(8, struct.pack("<Q", int(json["endTimeUnixNano"]))),
            attributes(9, json["attributes"]),
            field(15, varint(3 << 3 | VARINT) + varint(json["status"]["code"])),
        ]
    )


def request(resource: list[dict[str, Any]], spans: list[dict[str, Any]]) -> bytes:
    """An ExportTraceServiceRequest of one service."""
    scope = field(1, field(1, "throughline"))
    scope_spans = scope + b"".join(field(2, span(json)) for json in spans)
    return field(1, field(1, attributes(1, resource)) + field(2, scope_spans))
