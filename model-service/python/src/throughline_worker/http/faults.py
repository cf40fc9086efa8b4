"""Injected faults: `baggage: fault=<service>:<kind>[:<argument>]` makes a service fail.

Baggage travels with the trace, so the hops before that service need no code for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from opentelemetry import baggage

# The longest delay that a request can ask for, seconds.
MAX_LATENCY = 5.0
# The name of this service, and that of any service that serves the model.
SERVICES = ("model-service-python", "model-service")


@dataclass(frozen=True)
class Fault:
    """A fault that a request asks for: `latency` (with seconds), `error` or `drop`."""

    kind: str
    service: str
    seconds: float = 0.0


def current() -> Fault | None:
    """The fault for this service in the current baggage; `None` if it is malformed."""
    value = baggage.get_baggage("fault")
    return parse(value) if isinstance(value, str) else None


def parse(text: str) -> Fault | None:
    """Reads `model-service-python:latency:200`, `…:error` or `…:drop`."""
    service, _, rest = text.partition(":")
    if service not in SERVICES:
        return None
    if rest in ("error", "drop"):
        return Fault(rest, service)
    latency = re.fullmatch(r"latency:([0-9]{1,18})", rest)
    return Fault("latency", service, min(int(latency[1]) / 1000, MAX_LATENCY)) if latency else None
