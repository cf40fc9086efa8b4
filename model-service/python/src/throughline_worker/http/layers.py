"""The layers around the routes, as plain ASGI: probes, trace context, errors, faults, admission.

The auto-instrumentation puts its layer, which starts the SERVER span, between `Front` and `Edge`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
from opentelemetry import context, propagate, trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from throughline_worker import telemetry
from throughline_worker.deadline import Deadline
from throughline_worker.errors import (
    DeadlinePassed,
    InjectedFault,
    Internal,
    Overloaded,
    Unavailable,
    WorkerError,
)
from throughline_worker.http import faults
from throughline_worker.http.answers import error_response
from throughline_worker.http.health import Health

DEADLINE = "throughline.deadline"
# Closes the connection of a request without an answer; `http.connection` puts it into the scope.
ABORT = "throughline.abort"


class Front:
    """The outermost layer.

    It answers probes, outside of tracing and limits, and lets no exception pass.
    """

    def __init__(self, app: ASGIApp, health: Health) -> None:
        self._app = app
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        probe = self._health.answer(scope["method"], scope["path"])
        if probe is not None:
            await probe(scope, receive, send)
            return
        scope["headers"] = [(name, _as_utf8(value)) for name, value in scope["headers"]]
        answered = _Answered(send)
        try:
            await self._app(scope, receive, answered)
        except Exception as error:  # noqa: BLE001 # from the instrumentation, because `Edge` lets none pass
            telemetry.fail(trace.get_current_span(), error, "internal")
            if not answered.started:
                await error_response(Internal())(scope, receive, send)


class Edge:
    """The layer inside the SERVER span: answers and records errors, and injects faults."""

    def __init__(self, app: ASGIApp, allow_faults: bool) -> None:
        self._app = app
        self._allow_faults = allow_faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with _callers_context(scope):
            answered = _Answered(send, _traceresponse())
            try:
                if not await self._inject_fault(scope):
                    await self._app(scope, receive, answered)
            except asyncio.CancelledError:
                # The drain timeout has passed. Raised further, this would be logged as an error and
                # not answered.
                await self._fail(Unavailable("draining"), scope, receive, answered)
            except ClientDisconnect:
                trace.get_current_span().set_attribute(telemetry.ERROR_TYPE, "cancelled")
            except WorkerError as error:
                await self._fail(error, scope, receive, answered)
            except Exception as error:  # noqa: BLE001 # a bug is answered, too
                internal = Internal()
                internal.__cause__ = error
                await self._fail(internal, scope, receive, answered)

    async def _inject_fault(self, scope: Scope) -> bool:
        """Injects the fault that the request asks for; returns whether the request ends here."""
        fault = faults.current() if self._allow_faults else None
        if fault is None:
            return False
        if fault.kind == "latency":
            await anyio.sleep(fault.seconds)
            return False
        injected = InjectedFault(fault.kind, fault.service)
        if fault.kind == "error":
            raise injected
        scope[ABORT]()
        # In the next turn of the loop the server notices that the connection is closed, and expects
        # no answer.
        await anyio.lowlevel.checkpoint()
        telemetry.fail(trace.get_current_span(), injected, injected.error_type)
        return True

    async def _fail(
        self, error: WorkerError, scope: Scope, receive: Receive, answered: _Answered
    ) -> None:
        if error.status >= 500:
            # After the head was sent, because the instrumentation then sets `error.type` to the
            # less specific status.
            answered.after_head = lambda: telemetry.fail(
                trace.get_current_span(), error, error.error_type
            )
        if answered.started:
            answered.after_head()
            return
        await error_response(error)(scope, receive, answered)


class Limits:
    """Admission and time: a bounded number of requests in flight, and a deadline for each."""

    def __init__(self, app: ASGIApp, max_in_flight: int, timeout: float) -> None:
        self._app = app
        self._free = max_in_flight
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if self._free <= 0:
            raise Overloaded
        self._free -= 1
        scope[DEADLINE] = Deadline.after(self._timeout)
        try:
            with anyio.fail_after(self._timeout):
                await self._app(scope, receive, send)
        except TimeoutError as error:
            raise DeadlinePassed from error
        finally:
            self._free += 1


class _Answered:
    """Passes messages on, adds headers to the head, and knows whether the head was sent."""

    def __init__(self, send: Send, headers: MutableMapping[str, str] | None = None) -> None:
        self._send = send
        self._headers = headers or {}
        self.started = False
        self.after_head: Callable[[], Any] = lambda: None

    async def __call__(self, message: Message) -> None:
        """Sends one message of the answer."""
        if message["type"] != "http.response.start":
            await self._send(message)
            return
        self.started = True
        MutableHeaders(scope=message).update(self._headers)
        await self._send(message)
        self.after_head()


def _as_utf8(value: bytes) -> bytes:
    """A header value in UTF-8. The instrumentation raises on other bytes, which HTTP allows.

    https://github.com/open-telemetry/opentelemetry-python-contrib/issues/1478, seen with 0.66b1
    again.
    """
    if value.isascii():
        return value
    try:
        value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1").encode()
    return value


@contextmanager
def _callers_context(scope: Scope) -> Iterator[None]:
    """Attaches the client's trace context and baggage if no instrumentation has done so."""
    if trace.get_current_span().get_span_context().is_valid:
        yield
        return
    token = context.attach(propagate.extract(Headers(scope=scope)))
    try:
        yield
    finally:
        context.detach(token)


def _traceresponse() -> dict[str, str]:
    """The ids of the SERVER span, for the caller (W3C Trace Context level 2)."""
    ids = trace.get_current_span().get_span_context()
    return (
        {} if not ids.is_valid or ids.is_remote else {"traceresponse": telemetry.traceparent(ids)}
    )
