"""The errors of requests, and the only status codes of this package.

WorkerError
├─ DecodeError            400 bad_request; also what `oip` raises
├─ InputError             400 bad_request
├─ BodyCorrupt            400 bad_request
├─ UnsupportedEncoding    415 unsupported_encoding
├─ InvalidHost            400 invalid_host
├─ UnknownHost            421 unknown_host
├─ CrossOrigin            403 cross_origin
├─ BodyTimedOut           408 body_timeout
├─ TooLarge               413 too_large
├─ TooManyRows            422 too_many_rows
├─ UnknownPath            404 unknown_path
├─ UnknownEntities        404 unknown_entity
├─ WrongMethod            405 method_not_allowed
├─ UnknownModel, Unloaded 404 unknown_model
├─ ModelControlOff        403 model_control_off
├─ UnknownVersion         404 unknown_version
├─ NotReady               503 model_not_ready
├─ Unavailable            503 not_ready
├─ Draining               503 draining
├─ DeadlinePassed         504 deadline_passed
├─ FeatureStoreError      503 feature_store_unavailable
├─ Overloaded, QueueFull  429 overloaded
├─ ComputeError           500 compute_error
├─ RepositoryError        500 internal
├─ RepositoryReadOnly     500 internal
├─ InjectedFault          500 fault_injected
└─ Internal               500 internal

Policy: the client gets `{"error", "code", "trace_id"}` with a sentence that repeats none of its
data except names. The trace also gets 5xx errors with their causes. 429 and 503 come with
`Retry-After`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from throughline_worker.error_codes import ErrorCode

# What follows on the connection is not known to be a request (RFC 9110 section 15.5.9).
CLOSE: Mapping[str, str] = MappingProxyType({"connection": "close"})


class WorkerError(Exception):
    """Base of all; `code` is for the body, `error_type` for the attribute `error.type`."""

    status: ClassVar[int] = 500
    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    # Headers of the answer.
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @property
    def error_type(self) -> str:
        """The bounded word for `error.type`."""
        return self.code.value


class DecodeError(WorkerError):
    """A malformed body. The text repeats no data of the body except names of tensors."""

    status = 400
    code = ErrorCode.BAD_REQUEST

    def __init__(self, detail: str) -> None:
        super().__init__(f"the request is malformed: {detail}")


class InputError(WorkerError):
    """A well-formed body that does not fit the model."""

    status = 400
    code = ErrorCode.BAD_REQUEST


class BodyCorrupt(WorkerError):
    """A body that is not valid in its content coding."""

    status = 400
    code = ErrorCode.BAD_REQUEST

    def __init__(self) -> None:
        super().__init__("the body cannot be decompressed")


class UnsupportedEncoding(WorkerError):
    """A content encoding that the worker cannot read."""

    status = 415
    code = ErrorCode.UNSUPPORTED_ENCODING
    # RFC 9110 section 12.5.3.
    headers = MappingProxyType({"accept-encoding": "gzip, deflate"})

    def __init__(self) -> None:
        super().__init__("the content encoding is not supported; gzip, deflate and identity are")


class TooLarge(WorkerError):
    """A body above the limit, before or after decompression."""

    status = 413
    code = ErrorCode.TOO_LARGE

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")


class InvalidHost(WorkerError):
    """`Host` is missing, not valid, or given twice (RFC 9112 section 3.2)."""

    status = 400
    code = ErrorCode.INVALID_HOST
    headers = CLOSE

    def __init__(self) -> None:
        super().__init__("the Host header is missing or not valid")


class UnknownHost(WorkerError):
    """`Host` is a name that this listener does not answer to (RFC 9110 section 15.5.20)."""

    status = 421
    code = ErrorCode.UNKNOWN_HOST

    def __init__(self) -> None:
        super().__init__("this server does not answer to the name in Host; see --allowed-hosts")


class CrossOrigin(WorkerError):
    """A web page of another origin sent the request."""

    status = 403
    code = ErrorCode.CROSS_ORIGIN

    def __init__(self) -> None:
        super().__init__("a page of another origin may not send requests here")


class BodyTimedOut(WorkerError):
    """The body did not arrive in time."""

    status = 408
    code = ErrorCode.BODY_TIMEOUT
    headers = CLOSE

    def __init__(self) -> None:
        super().__init__("the body did not arrive in time")


class TooManyRows(WorkerError):
    """A batch above the limit."""

    status = 422
    code = ErrorCode.TOO_MANY_ROWS

    def __init__(self, rows: int, limit: int) -> None:
        super().__init__(f"the batch has {rows} rows, more than the {limit} allowed")


class UnknownPath(WorkerError):
    """A path without a route."""

    status = 404
    code = ErrorCode.UNKNOWN_PATH

    def __init__(self) -> None:
        super().__init__("there is nothing at this path")


class UnknownEntities(WorkerError):
    """The feature store knows no entity of the request."""

    status = 404
    code = ErrorCode.UNKNOWN_ENTITY

    def __init__(self) -> None:
        super().__init__("the feature store knows none of the data ids")


class WrongMethod(WorkerError):
    """A path that has another method."""

    status = 405
    code = ErrorCode.METHOD_NOT_ALLOWED

    def __init__(self) -> None:
        super().__init__("this path does not take this method")


class UnknownModel(WorkerError):
    """No such model."""

    status = 404
    code = ErrorCode.UNKNOWN_MODEL

    def __init__(self, model: str) -> None:
        super().__init__(f"unknown model {model}")


class Unloaded(WorkerError):
    """A model that was unloaded."""

    status = 404
    code = ErrorCode.UNKNOWN_MODEL

    def __init__(self, model: str) -> None:
        super().__init__(
            f"model {model} is unloaded;"
            f" POST /v2/repository/models/{model}/load makes it answer again"
        )


class ModelControlOff(WorkerError):
    """A load or unload that the worker was not started for."""

    status = 403
    code = ErrorCode.MODEL_CONTROL_OFF

    def __init__(self) -> None:
        super().__init__(
            "this service does not load or unload models; start it with --allow-model-control"
        )


class UnknownVersion(WorkerError):
    """No such version of a known model."""

    status = 404
    code = ErrorCode.UNKNOWN_VERSION

    def __init__(self, model: str, version: str) -> None:
        super().__init__(f"unknown version {version} of model {model}")


class NotReady(WorkerError):
    """A version that exists and cannot be served."""

    status = 503
    code = ErrorCode.MODEL_NOT_READY

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"model {model} is not ready: {reason}")


class Unavailable(WorkerError):
    """The service takes no requests now."""

    status = 503
    code = ErrorCode.NOT_READY


class Draining(WorkerError):
    """The process stops and cannot wait for the answer any longer."""

    status = 503
    code = ErrorCode.DRAINING
    headers = CLOSE

    def __init__(self) -> None:
        super().__init__("the process stops")


class DeadlinePassed(WorkerError):
    """The deadline of the request has passed."""

    status = 504
    code = ErrorCode.DEADLINE_PASSED

    def __init__(self, text: str = "the request took too long") -> None:
        super().__init__(text)


class FeatureStoreError(WorkerError):
    """The feature store failed; the cause is chained."""

    status = 503
    code = ErrorCode.FEATURE_STORE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("features cannot be looked up")


class Overloaded(WorkerError):
    """As many requests as allowed are in flight."""

    status = 429
    code = ErrorCode.OVERLOADED

    def __init__(self) -> None:
        super().__init__("the service is overloaded")


class QueueFull(WorkerError):
    """As many inferences as allowed wait for a thread."""

    status = 429
    code = ErrorCode.OVERLOADED

    def __init__(self) -> None:
        super().__init__("the inference failed: too many inferences are waiting")

    @property
    def error_type(self) -> str:
        """Differs from the code, which too many requests have as well."""
        return "queue_full"


class ComputeError(WorkerError):
    """The model failed; the cause is chained."""

    status = 500
    code = ErrorCode.COMPUTE_ERROR

    def __init__(self, detail: str) -> None:
        super().__init__(f"the inference failed: {detail}")


class RepositoryError(WorkerError):
    """The model repository cannot be read; the cause is chained."""

    def __init__(self) -> None:
        super().__init__("the model repository cannot be read")


class RepositoryReadOnly(WorkerError):
    """The model repository cannot be written; the cause is chained."""

    def __init__(self) -> None:
        super().__init__("the model repository cannot be written, so nothing is changed")


class InjectedFault(WorkerError):
    """A fault that the client asked for."""

    code = ErrorCode.FAULT_INJECTED

    def __init__(self, kind: str, service: str) -> None:
        super().__init__(f"fault on purpose: {kind} in {service}")


class Internal(WorkerError):
    """A bug; the client gets no detail."""

    def __init__(self) -> None:
        super().__init__("internal error")
