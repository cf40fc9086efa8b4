"""Every way in which a request can fail, and the only status codes of this package.

WorkerError
├─ DecodeError            400 bad_request; also what `oip` raises
├─ InputError             400 bad_request
├─ UnsupportedEncoding    415 unsupported_encoding
├─ TooLarge               413 too_large
├─ TooManyRows            422 too_many_rows
├─ NoRoute, AllUnknown    404 not_found
├─ WrongMethod            405 method_not_allowed
├─ UnknownModel           404 unknown_model
├─ UnknownVersion         404 unknown_version
├─ NotReady               503 model_not_ready
├─ Unavailable            503 not_ready
├─ DeadlinePassed         504 deadline_passed
├─ FeatureStoreError      503 feature_store_unavailable
├─ Overloaded, QueueFull  429 overloaded
├─ ComputeError           500 compute_error
├─ RepositoryError        500 internal
├─ InjectedFault          500 injected_fault
└─ Internal               500 internal

Policy: the client gets `{"error", "code", "trace_id"}` with a sentence that repeats none of its data beyond names;
faults of ours (5xx) also go to the trace with their causes. 429 and 503 say when to come again.
"""

from __future__ import annotations

from typing import ClassVar


class WorkerError(Exception):
    """Base of all. `code` is the stable word in the body; `error_type` the one in `error.type`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    @property
    def error_type(self) -> str:
        """The bounded word for `error.type`."""
        return self.code


class DecodeError(WorkerError):
    """A body that is not what it should be. Never repeats data beyond names of tensors."""

    status = 400
    code = "bad_request"

    def __init__(self, detail: str) -> None:
        super().__init__(f"the request is malformed: {detail}")


class InputError(WorkerError):
    """A well-formed body that does not fit the model."""

    status = 400
    code = "bad_request"


class UnsupportedEncoding(WorkerError):
    """A content encoding that is not known."""

    status = 415
    code = "unsupported_encoding"

    def __init__(self) -> None:
        super().__init__("the content encoding is not supported; gzip, deflate and identity are")


class TooLarge(WorkerError):
    """A body above the limit, as sent or as decompressed."""

    status = 413
    code = "too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")


class TooManyRows(WorkerError):
    """A batch above the limit."""

    status = 422
    code = "too_many_rows"

    def __init__(self, rows: int, limit: int) -> None:
        super().__init__(f"the batch has {rows} rows, more than the {limit} allowed")


class NoRoute(WorkerError):
    """An address of nothing."""

    status = 404
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("there is nothing at this address")


class AllUnknown(WorkerError):
    """No entity of the request is known."""

    status = 404
    code = "not_found"

    def __init__(self) -> None:
        super().__init__("the feature store knows none of the data ids")


class WrongMethod(WorkerError):
    """An address that is there, by another method."""

    status = 405
    code = "method_not_allowed"

    def __init__(self) -> None:
        super().__init__("the method is not allowed here")


class UnknownModel(WorkerError):
    """No such model."""

    status = 404
    code = "unknown_model"

    def __init__(self, model: str) -> None:
        super().__init__(f"unknown model {model}")


class UnknownVersion(WorkerError):
    """No such version of a known model."""

    status = 404
    code = "unknown_version"

    def __init__(self, model: str, version: str) -> None:
        super().__init__(f"unknown version {version} of model {model}")


class NotReady(WorkerError):
    """A version that is there and cannot be served."""

    status = 503
    code = "model_not_ready"

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"model {model} is not ready: {reason}")


class Unavailable(WorkerError):
    """The service as a whole takes no requests."""

    status = 503
    code = "not_ready"


class DeadlinePassed(WorkerError):
    """The time of the request is over."""

    status = 504
    code = "deadline_passed"

    def __init__(self, text: str = "the request took too long") -> None:
        super().__init__(text)


class FeatureStoreError(WorkerError):
    """No features for any entity; the cause is chained."""

    status = 503
    code = "feature_store_unavailable"

    def __init__(self) -> None:
        super().__init__("features cannot be looked up")


class Overloaded(WorkerError):
    """As many requests as allowed are in flight."""

    status = 429
    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("the service is overloaded")


class QueueFull(WorkerError):
    """As many inferences as allowed wait for a thread."""

    status = 429
    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("the inference was not done: too many inferences are waiting")

    @property
    def error_type(self) -> str:
        """Tells a full queue from too many requests."""
        return "queue_full"


class ComputeError(WorkerError):
    """The model failed; the cause is chained."""

    status = 500
    code = "compute_error"

    def __init__(self, detail: str) -> None:
        super().__init__(f"the inference was not done: {detail}")


class RepositoryError(WorkerError):
    """The model repository cannot be read; the cause is chained."""

    def __init__(self) -> None:
        super().__init__("the model repository cannot be read")


class InjectedFault(WorkerError):
    """A fault on purpose."""

    code = "injected_fault"

    def __init__(self, kind: str, service: str) -> None:
        super().__init__(f"fault on purpose: {kind} in {service}")

    @property
    def error_type(self) -> str:
        """The word that the Rust parts use on spans."""
        return "fault_injected"


class Internal(WorkerError):
    """A mistake of ours; the client gets no detail."""

    def __init__(self) -> None:
        super().__init__("internal error")
