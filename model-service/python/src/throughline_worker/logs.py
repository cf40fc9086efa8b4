"""Log records on standard output: JSON with trace and span id, or short lines on a terminal.

The keys are those of the Rust parts. The auto-instrumentation exports the same records by OTLP.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from opentelemetry import trace

EVENT_NAME = "event.name"

# The attributes of every log record; the others come from `extra=`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}


def event(
    logger: logging.Logger,
    level: int,
    name: str,
    message: str,
    fields: Mapping[str, Any] | None = None,
) -> None:
    """Writes a record with an event name; `fields` become attributes of the OTLP record."""
    if logger.isEnabledFor(level):
        # As an argument, because the message may contain a percent sign.
        logger.log(level, "%s", message, extra={EVENT_NAME: name, **(fields or {})})


def configure(default_service: str) -> None:
    """Sends the records of this process, INFO and above, to standard output."""
    service = os.environ.get("OTEL_SERVICE_NAME") or default_service
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Human() if sys.stdout.isatty() else _Json(service))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # httpx logs every request, which the traces show better, and uvicorn a warning for every
    # malformed one.
    for chatty, level in (
        ("httpx", logging.WARNING),
        ("httpcore", logging.WARNING),
        ("uvicorn", logging.ERROR),
    ):
        logging.getLogger(chatty).setLevel(level)
    # Records of the SDK are not exported, because a failed export would then export records of
    # itself. Exporters log a warning for each attempt and an error when they give up.
    for sdk in map(logging.getLogger, ("opentelemetry", "elasticotel")):
        sdk.handlers = [handler]
        sdk.propagate = False
        sdk.setLevel(logging.WARNING)
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
    # These repeat what a client sent, such as the id of a user in its baggage.
    for verbatim in ("opentelemetry.baggage", "opentelemetry.trace"):
        logging.getLogger(verbatim).setLevel(logging.CRITICAL)


class _Json(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": _timestamp(record),
            "level": _level_name(record),
            "service.name": self._service,
            EVENT_NAME: getattr(record, EVENT_NAME, record.name),
            "message": record.getMessage(),
        }
        ids = trace.get_current_span().get_span_context()
        if ids.is_valid:
            line["trace_id"] = trace.format_trace_id(ids.trace_id)
            line["span_id"] = trace.format_span_id(ids.span_id)
        line.update(_fields(record))
        return json.dumps(line, default=str, ensure_ascii=False)


class _Human(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            key: value for key, value in _fields(record).items() if key != "exception.stacktrace"
        }
        rest = "".join(f" {key}={value}" for key, value in fields.items())
        return f"{_timestamp(record)} {_level_name(record):>5} {record.getMessage()}{rest}"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {
        key: value for key, value in vars(record).items() if key not in _OWN and key != EVENT_NAME
    }
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        fields["exception.type"] = type(error).__name__
        fields["exception.message"] = str(error)
        fields["exception.stacktrace"] = "".join(traceback.format_exception(error))
    return fields


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level_name(record: logging.LogRecord) -> str:
    return _LEVELS.get(record.levelno, record.levelname)
