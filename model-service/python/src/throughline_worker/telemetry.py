"""The spans, instruments and failures of this package, by OpenTelemetry's API alone.

Without `opentelemetry-instrument` around the process there is no SDK, and the API does nothing.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from throughline_worker import __version__, logs

ERROR_TYPE: Final = "error.type"
ML_BASELINE_ACCURACY: Final = "ml.baseline_accuracy"
ML_BATCH_SIZE: Final = "ml.batch_size"
ML_DATA_ID: Final = "ml.data_id"
ML_DATASET: Final = "ml.dataset"
ML_DATASET_SHA256: Final = "ml.dataset_sha256"
ML_DEVICE: Final = "ml.device"
ML_FEATURE_NAME: Final = "ml.feature.name"
ML_FRAMEWORK: Final = "ml.framework"
ML_LEARNING_RATE: Final = "ml.learning_rate"
ML_MODEL_NAME: Final = "ml.model_name"
ML_MODEL_VERSION: Final = "ml.model_version"
ML_OUTPUT_CONFIDENCE: Final = "ml.output.confidence"
ML_OUTPUT_LABEL: Final = "ml.output.label"
ML_RUN_ID: Final = "ml.run_id"
ML_TRAINING_ACCURACY: Final = "ml.training_accuracy"
ML_TRAINING_ALL_REDUCE_DURATION: Final = "ml.training.all_reduce.duration"
ML_TRAINING_COMPUTE_DURATION: Final = "ml.training.compute.duration"
ML_TRAINING_EPOCH: Final = "ml.training.epoch"
ML_TRAINING_GRADIENT_NORM: Final = "ml.training.gradient_norm"
ML_TRAINING_LOSS: Final = "ml.training.loss"
ML_TRAINING_RANK: Final = "ml.training.rank"
ML_TRAINING_ROWS_PER_SECOND: Final = "ml.training.rows_per_second"
ML_VALIDATION_ACCURACY: Final = "ml.validation_accuracy"
ML_VARIANT: Final = "ml.variant"
MODEL_NAME: Final = "model.name"
SUCCESS: Final = "success"

FRAMEWORK: Final = "scikit-learn"
SCOPE: Final = "throughline_worker"

_log = logging.getLogger(__name__)
# Kept, because the SDK looks a tracer up by a hash of all that it is made of.
_tracer = trace.get_tracer(SCOPE, __version__)


def meter() -> metrics.Meter:
    """The meter of all instruments of this package."""
    return metrics.get_meter(SCOPE, __version__)


def histogram(
    name: str, unit: str, description: str, boundaries: Sequence[float]
) -> metrics.Histogram:
    """A histogram with bucket boundaries in `unit`; the SDK's defaults are for milliseconds."""
    return meter().create_histogram(
        name, unit=unit, description=description, explicit_bucket_boundaries_advisory=boundaries
    )


def span(
    name: str,
    attributes: Mapping[str, AttributeValue] | None = None,
    links: Sequence[Link] = (),
) -> AbstractContextManager[Span]:
    """An INTERNAL span, current inside the block.

    An exception adds no span event. `fail` writes it as a log record, as the semantic
    conventions now want.
    """
    started = _tracer.start_span(name, links=links)
    if attributes:
        # Not at the start, because the default sampler of the Elastic distro drops those (seen with
        # SDK 1.45.1).
        started.set_attributes(attributes)
    return _Block(started)


class _Block:
    """The block of a span.

    `start_as_current_span` does the same by two generators, which cost as much as the span.
    """

    __slots__ = ("_span", "_token")

    def __init__(self, started: Span) -> None:
        self._span = started

    def __enter__(self) -> Span:
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(self, *_: object) -> None:
        context.detach(self._token)
        self._span.end()


def fail(failed: Span, error: BaseException, error_type: str) -> None:
    """Marks a span as failed: status ERROR, `error.type`, and a log record `exception`."""
    failed.set_status(Status(StatusCode.ERROR, str(error)))
    failed.set_attribute(ERROR_TYPE, error_type)
    with trace.use_span(
        failed, end_on_exit=False, record_exception=False, set_status_on_exception=False
    ):
        logs.event(
            _log,
            logging.ERROR,
            "exception",
            str(error),
            {
                "exception.type": error_type,
                "exception.message": str(error),
                "exception.stacktrace": "".join(traceback.format_exception(error)),
            },
        )


def recorded(of: Span) -> SpanContext | None:
    """The ids of a span that will be exported, or `None`."""
    context = of.get_span_context()
    return (
        context if of.is_recording() and context.is_valid and context.trace_flags.sampled else None
    )


def training_link(run_id: str, trace_id: str | None, span_id: str | None) -> list[Link]:
    """A link to the span of a training; none without its ids, or if they are no ids."""
    try:
        ids = int(trace_id or "", 16), int(span_id or "", 16)
    except ValueError:
        return []
    context = SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return [Link(context, {ML_RUN_ID: run_id})] if context.is_valid else []


def traceparent(context: SpanContext) -> str:
    """The ids as W3C Trace Context writes them."""
    flags = int(context.trace_flags)
    trace_id, span_id = (
        trace.format_trace_id(context.trace_id),
        trace.format_span_id(context.span_id),
    )
    return f"00-{trace_id}-{span_id}-{flags:02x}"


def current_trace_id() -> str | None:
    """The current trace id, or without telemetry the client's; 32 lower-case hex digits."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def flush(seconds: float) -> None:
    """Sends what the SDK holds, if there is one.

    For a process that cannot rely on the SDK's own flush when the interpreter exits.
    """
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if callable(flush):
        flush(int(seconds * 1000))
