"""The trace context that the launcher left in the environment.

The names are those of the OpenTelemetry specification, "Environment Variables as Context
Propagation Carriers", section "Environment Variable Names".
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import propagate
from opentelemetry.context import Context

NAMES = {"traceparent": "TRACEPARENT", "tracestate": "TRACESTATE", "baggage": "BAGGAGE"}


def extract(environment: Mapping[str, str]) -> Context:
    """The context in which the spans of this process start."""
    fields = {field: environment[name] for field, name in NAMES.items() if environment.get(name)}
    return propagate.extract(fields)


def inject() -> dict[str, str]:
    """The current context as fields, for another rank."""
    fields: dict[str, str] = {}
    propagate.inject(fields)
    return fields
