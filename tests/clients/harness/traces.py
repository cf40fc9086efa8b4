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
    """All spans of one trace id that have arrived so far."""

    def __init__(self, trace_id: str, spans: list[Span]) -> None:
        self.trace_id = trace_id
        self.spans = spans
        self._by_id = {span.span_id: span for span in spans}

    def roots(self) -> list[Span]:
        """Return the spans without a parent."""
        return [span for span in self.spans if not span.parent_id]

    def orphans(self) -> list[Span]:
        """Return the spans whose parent is not in the trace."""
        return [span for span in self.spans if span.parent_id and span.parent_id not in self._by_id]

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
        """Return whether there is one root and no orphan."""
        return len(self.roots()) == 1 and not self.orphans()

    def __str__(self) -> str:
        """Render the spans, one a line."""
        lines = [f"{s.parent_id or '-':>16} > {s.span_id} {s.service}: {s.name} ({s.kind})" for s in self.spans]
        return "\n".join([f"trace {self.trace_id}", *lines])


class Explorer:
    """The reads of the explorer's API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def trace(self, trace_id: str) -> Trace | None:
        """Return what has arrived of a trace."""
        answer = http.get(f"{self.url}/api/traces/{trace_id}")
        return _trace(trace_id, answer.json()) if answer.status == 200 else None

    def wait(self, trace_id: str, service: str, name: str, count: int = 1) -> Trace:
        """Wait until the trace is complete and holds `count` spans `name` of `service`."""
        latest: list[Trace] = []

        def probe() -> Trace | None:
            found = self.trace(trace_id)
            if found is None:
                return None
            latest[:] = [found]
            return found if found.complete() and len(found.find(service, name)) >= count else None

        try:
            return until(f"trace {trace_id} is complete with {service}: {name}", probe)
        except TimeoutError as error:
            raise AssertionError(f"{error}; it is\n{latest[0] if latest else 'unknown'}") from None


def _trace(trace_id: str, document: dict[str, Any]) -> Trace:
    spans = []
    for resource in document["resourceSpans"]:
        service = _plain(resource["resource"]["attributes"]).get("service.name", "")
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                assert span["traceId"] == trace_id
                spans.append(_span(service, span))
    return Trace(trace_id, spans)


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
