"""Traces of the explorer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import http
from harness.wait import until

KINDS = {0: "UNSPECIFIED", 1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}


@dataclass(frozen=True)
class Span:
    """One span with the service that made it."""

    service: str
    name: str
    kind: str
    span_id: str
    parent_id: str
    failed: bool
    attributes: Mapping[str, Any]
    # Trace and span ids.
    links: list[tuple[str, str]]


class Trace:
    """All spans of one trace id that have arrived so far.

    The explorer, which has the one definition of a root and of a complete trace, says what each span at the top is.
    """

    def __init__(self, trace_id: str, spans: list[Span], tops: Mapping[str, str], *, whole: bool) -> None:
        self.trace_id = trace_id
        self.spans = spans
        self._by_id = {span.span_id: span for span in spans}
        self._tops = tops
        self._whole = whole

    def roots(self) -> list[Span]:
        """Return the spans at which the trace begins; the parent of a `remote_root` is a caller elsewhere."""
        return [span for span in self.spans if self._tops.get(span.span_id) in {"root", "remote_root"}]

    def services(self) -> set[str]:
        """Return the names of the services that took part."""
        return {span.service for span in self.spans}

    def find(self, service: str, name: str) -> list[Span]:
        """Return the spans of `service` with `name`."""
        return [span for span in self.spans if (span.service, span.name) == (service, name)]

    def servers(self, span: Span) -> list[str]:
        """Return the services that a request passed on its way down to `span`: those of the SERVER spans above it."""
        passed: list[str] = []
        above: Span | None = span
        while above is not None:
            if above.kind == "SERVER":
                passed.append(above.service)
            above = self._by_id.get(above.parent_id)
        return passed[::-1]

    def complete(self) -> bool:
        """Return whether the explorer takes the trace for complete, and no span has arrived twice."""
        return self._whole and len(self.spans) == len(self._by_id)

    def __str__(self) -> str:
        """Render the spans, one a line."""
        lines = [
            f"{s.parent_id or '-':>16} > {s.span_id} {s.service}: {s.name} ({s.kind}) {self._tops.get(s.span_id, '')}"
            for s in self.spans
        ]
        return "\n".join([f"trace {self.trace_id}", *lines])


class Explorer:
    """The reads of the explorer's API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def trace(self, trace_id: str) -> Trace | None:
        """Return what has arrived of a trace; none of one that grew while its pages were read."""
        pages: list[dict[str, Any]] = []
        offset: int | None = 0
        while offset is not None:
            answer = http.get(f"{self.url}/api/traces/{trace_id}?offset={offset}")
            if answer.status != 200:
                return None
            pages.append(answer.json())
            offset = pages[-1].get("page", {}).get("next")
        totals = {page.get("page", {}).get("total") for page in pages}
        return _trace(trace_id, pages) if len(totals) == 1 else None

    def wait(self, trace_id: str, service: str, name: str, count: int = 1) -> Trace:
        """Wait until the trace is complete, from a root of its own, and holds `count` spans `name` of `service`."""
        latest: list[Trace] = []

        def probe() -> Trace | None:
            found = self.trace(trace_id)
            if found is None:
                return None
            latest[:] = [found]
            # Until the span of the caller has arrived, the one that it called counts as the root.
            from_root = all(not root.parent_id for root in found.roots())
            complete = found.complete() and from_root
            return found if complete and len(found.find(service, name)) >= count else None

        try:
            return until(f"trace {trace_id} is complete with {service}: {name}", probe)
        except TimeoutError as error:
            raise AssertionError(f"{error}; it is\n{latest[0] if latest else 'unknown'}") from None


def _trace(trace_id: str, pages: list[dict[str, Any]]) -> Trace:
    spans = []
    for resource in (resource for page in pages for resource in page["resourceSpans"]):
        service = _plain(resource["resource"].get("attributes", [])).get("service.name", "")
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                assert span["traceId"] == trace_id
                spans.append(_span(service, span))
    tops = {span_id: place for page in pages for span_id, place in page["shape"]["tops"].items()}
    return Trace(trace_id, spans, tops, whole=pages[-1]["shape"]["complete"])


def _span(service: str, span: dict[str, Any]) -> Span:
    return Span(
        service=service,
        name=span["name"],
        kind=KINDS[span.get("kind", 0)],
        span_id=span["spanId"],
        parent_id=span.get("parentSpanId", ""),
        failed=span.get("status", {}).get("code", 0) == 2,
        attributes=_plain(span.get("attributes", [])),
        links=[(link["traceId"], link["spanId"]) for link in span.get("links", [])],
    )


def _plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["key"]: _value(entry["value"]) for entry in attributes}


def _value(value: dict[str, Any]) -> Any:  # noqa: ANN401 - an attribute is of any type
    ((kind, content),) = value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [_value(entry) for entry in content.get("values", [])]
    return content
