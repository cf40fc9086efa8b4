"""The spans that the services send of a number of misses, as bodies that become new traces by changing a few bytes.

Encoding 10,000 spans a second in Python would take the core that the explorer needs.
"""

import struct
from typing import Any, NamedTuple

import explorer
from growth import protobuf

# So that no service sends more than the 512 spans that a batch of the SDK has at most.
TRACES = 85
SPANS_OF_BATCH = TRACES * len(explorer.SPANS)
# The parts of the ids that are changed; they occur nowhere else.
TRACE_MARK, SPAN_MARK, TIME_MARK = b"\xfftraces\xff", b"\xfes\xfe\xff", 0x7E57_0000_0000_0000


class Batch(NamedTuple):
    """A request of one service."""

    template: bytes
    spans: int
    # Where a time is, and its distance from now.
    times: list[tuple[int, int]]

    def body(self, number: int, now: int) -> bytearray:
        """The request with ids that only this number has, and ends at about now."""
        traces = self.template.replace(TRACE_MARK, number.to_bytes(8, "big"))
        body = bytearray(traces.replace(SPAN_MARK, number.to_bytes(4, "big")))
        for place, distance in self.times:
            struct.pack_into("<Q", body, place, now + distance)
        return body


def batches_of_services() -> list[Batch]:
    """A batch of each service, of the spans that it has in all traces."""
    services: dict[str, list[dict[str, Any]]] = {}
    for number in range(TRACES):
        for at, (service, span) in enumerate(explorer.spans_of(number, TRACES)):
            parent = explorer.SPANS[at][3]
            span["traceId"] = (TRACE_MARK + number.to_bytes(8, "big")).hex()
            span["spanId"] = span_id(number, at)
            span["parentSpanId"] = "" if parent < 0 else span_id(number, parent)
            services.setdefault(service, []).append(span)
    return [batch(service, spans) for service, spans in services.items()]


def span_id(number: int, at: int) -> str:
    """A mark, which becomes the number of the request, and the place of the span in it."""
    return (SPAN_MARK + (number * len(explorer.SPANS) + at + 1).to_bytes(4, "big")).hex()


def batch(service: str, spans: list[dict[str, Any]]) -> Batch:
    """The spans with times by which their places are found, and which then are distances from the newest one."""
    real, names = [], ("startTimeUnixNano", "endTimeUnixNano")
    for span in spans:
        real += [int(span[name]) for name in names]
        span.update({name: str(TIME_MARK + len(real) - back) for name, back in zip(names, (2, 1), strict=True)})
    resource = explorer.attributes({"service.name": service, "service.version": "0.1.0"})
    template = protobuf.request(resource, spans)
    places = [template.index(struct.pack("<Q", TIME_MARK + index)) for index in range(len(real))]
    newest = max(real)
    return Batch(template, len(spans), [(place, time - newest) for place, time in zip(places, real, strict=True)])
