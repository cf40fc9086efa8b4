"""Error answers in the protocol's form."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from throughline_worker import telemetry
from throughline_worker.errors import WorkerError


def error_response(error: WorkerError) -> Response:
    """`{"error", "code", "trace_id"}`; clients of the protocol read only `error`."""
    body = {"error": str(error), "code": error.code.value}
    trace_id = telemetry.current_trace_id()
    if trace_id is not None:
        body["trace_id"] = trace_id
    later = {"retry-after": "1"} if error.status in (429, 503) else {}
    return JSONResponse(body, error.status, {**error.headers, **later})
