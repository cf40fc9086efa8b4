"""The caller's own side of a trace: an SDK whose spans go to the explorer, as those of a user's program would."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

SERVICE = "client"


@dataclass(frozen=True)
class Call:
    """A span of the caller, current while the client is used."""

    trace_id: str
    span_id: str
    headers: dict[str, str]


class Caller:
    """Makes the spans of the tests. It is the global provider, so instrumentations of HTTP libraries use it too."""

    def __init__(self, otlp: str) -> None:
        self._provider = TracerProvider(resource=Resource({"service.name": SERVICE}))
        self._provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{otlp}/v1/traces")))
        trace.set_tracer_provider(self._provider)

    @contextmanager
    def call(self, name: str) -> Iterator[Call]:
        """Open a root span `name`; `headers` hold its context for a client that takes headers."""
        with self._provider.get_tracer("tests.clients").start_as_current_span(name) as span:
            headers: dict[str, str] = {}
            inject(headers)
            context = span.get_span_context()
            yield Call(trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id), headers)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
