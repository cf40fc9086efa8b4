"""The layers around the routes, as plain ASGI: probes, trace context, errors, faults, admission.

The auto-instrumentation puts its layer, which starts the SERVER span, between `Front` and `Edge`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
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
    CLOSE,
    DeadlinePassed,
    Draining,
    InjectedFault,
    Internal,
    Overloaded,
    WorkerError,
)
from throughline_worker.guard import Guard
from throughline_worker.http import faults
from throughline_worker.http.answers import error_response
from throughline_worker.http.codings import codings, decode
from throughline_worker.http.health import Health
from throughline_worker.http.receive import MAX_BYTES, Receiver, has_body
from throughline_worker.http.trace_headers import normalised

DEADLINE = "throughline.deadline"
# Why the guard refuses a request, which is answered inside of its span.
REFUSAL = "throughline.refusal"
# Closes the connection of a request without an answer; `http.connection` puts it into the scope.
ABORT = "throughline.abort"
# Whether the whole body has arrived, so that no wait for it needs a limit; from there, too.
ARRIVED = "throughline.arrived"


class Front:
    """The outermost layer.

    It guards all paths, answers probes outside of tracing and limits, and lets no exception pass.
    """

    def __init__(self, app: ASGIApp, health: Health, guard: Guard) -> None:
        self._app = app
        self._health = health
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._guard.check(scope)
        except WorkerError as refusal:
            scope[REFUSAL] = refusal
        else:
            probe = self._health.answer(scope["method"], scope["path"])
            if probe is not None:
                await probe(scope, receive, send)
                return
        scope["query_string"] = _redacted(scope["query_string"])
        headers = normalised(scope["headers"])
        scope["headers"] = [(name, _as_utf8(value)) for name, value in headers]
        asked = _Asked(receive, expected=any(name == b"expect" for name, _ in headers))
        answered = _Answered(send, asked.headers)
        try:
            await self._app(scope, asked, answered)
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
            answered = _Answered(send, _traceresponse)
            try:
                if not await self._ends_here(scope):
                    await self._app(scope, receive, answered)
            except asyncio.CancelledError:
                # The drain timeout has passed. Raised further, this would be logged as an error and
                # not answered.
                await self._fail(Draining(), scope, receive, answered)
            except ClientDisconnect:
                trace.get_current_span().set_attribute(telemetry.ERROR_TYPE, "cancelled")
            except WorkerError as error:
                await self._fail(error, scope, receive, answered)
            except Exception as error:  # noqa: BLE001 # a bug is answered, too
                internal = Internal()
                internal.__cause__ = error
                await self._fail(internal, scope, receive, answered)

    async def _ends_here(self, scope: Scope) -> bool:
        """Raises the guard's refusal, or injects the fault that the request asks for."""
        if REFUSAL in scope:
            raise scope[REFUSAL]
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
    """Whole bodies, a bounded number of requests in flight, and a deadline for each.

    The number and the time count from the arrival of the body; the body has limits of its own.
    """

    def __init__(
        self, app: ASGIApp, max_in_flight: int, timeout: float, receiver: Receiver
    ) -> None:
        self._app = app
        self._free = max_in_flight
        self._timeout = timeout
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        headers = Headers(scope=scope)
        body, forms = b"", []
        if has_body(headers):
            forms = codings(headers.getlist("content-encoding"))
            body = await self._receiver.receive(headers, receive, _is_here(scope))
        if self._free <= 0:
            raise Overloaded
        self._free -= 1
        scope[DEADLINE] = Deadline.after(self._timeout)
        try:
            with anyio.fail_after(self._timeout):
                body = await decode(body, forms, MAX_BYTES)
                await self._app(scope, _Received(body, receive), send)
        except TimeoutError as error:
            raise DeadlinePassed from error
        finally:
            self._free += 1


def _is_here(scope: Scope) -> bool:
    arrived: Callable[[], bool] | None = scope.get(ARRIVED)
    return arrived is not None and arrived()


class _Received:
    """Gives the body of a request, which is there as a whole, and then what else arrives."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        """Receives one message."""
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Asked:
    """Passes messages on, and knows whether the body was asked for.

    A client that waits for `100 Continue` and gets the answer instead may leave the body out, so
    nobody knows what follows on the connection (RFC 9110 section 10.1.1).
    """

    def __init__(self, receive: Receive, expected: bool) -> None:
        self._receive = receive
        self._unsent = expected

    async def __call__(self) -> Message:
        """Receives one message."""
        self._unsent = False
        return await self._receive()

    def headers(self) -> Mapping[str, str]:
        """What the answer needs for this."""
        return CLOSE if self._unsent else {}


class _Answered:
    """Passes messages on, adds headers to the head, and knows whether the head was sent."""

    def __init__(self, send: Send, headers: Callable[[], Mapping[str, str]]) -> None:
        self._send = send
        self._headers = headers
        self.started = False
        self.after_head: Callable[[], Any] = lambda: None

    async def __call__(self, message: Message) -> None:
        """Sends one message of the answer."""
        if message["type"] != "http.response.start":
            await self._send(message)
            return
        self.started = True
        MutableHeaders(scope=message).update(self._headers())
        await self._send(message)
        self.after_head()


def _redacted(query: bytes) -> bytes:
    """A query with its names and without its values, which can hold what a user typed.

    The instrumentation would export them, and no path here reads them.
    """
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return b"&".join(
        name + separator + b"REDACTED" * len(separator) for name, separator, _ in pairs
    )


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
