"""Faults on purpose: a request with `baggage: fault=<service>:<kind>[:<argument>]` breaks one service for itself.

Baggage travels with the trace, so a fault for a service three hops away needs nothing of the hops between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from opentelemetry import baggage

# The longest delay that a request can ask for, seconds.
MAX_LATENCY = 5.0
# This service by its own name, and as whatever answers for the model.
SERVICES = ("model-service-python", "model-service")


@dataclass(frozen=True)
class Fault:
    """What a request asks this service to suffer: `latency` (with seconds), `error` or `drop`."""

    kind: str
    service: str
    seconds: float = 0.0


def current() -> Fault | None:
    """The fault in the baggage of the current context that is addressed to this service, if it is well formed."""
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
