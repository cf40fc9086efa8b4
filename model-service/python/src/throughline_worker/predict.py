"""The predictions for one request: the span `predict …` with its stages, and the metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from opentelemetry.trace import Link, Span
from opentelemetry.util.types import AttributeValue

from throughline_worker import telemetry
from throughline_worker.deadline import Deadline
from throughline_worker.engine import ComputeOutput, Engine
from throughline_worker.error_codes import RowErrorCode
from throughline_worker.errors import ComputeError, WorkerError
from throughline_worker.feature_rows import FeatureRows
from throughline_worker.instruments import ModelCall
from throughline_worker.prediction import BatchPrediction
from throughline_worker.repository import Loaded

Array = NDArray[np.float32]


class Predictor:
    """Computes predictions and records them."""

    def __init__(self, engine: Engine, variant: str) -> None:
        self._engine = engine
        self._variant = variant

    async def predict(
        self, loaded: Loaded, rows: FeatureRows, data_id: str | None, deadline: Deadline
    ) -> BatchPrediction:
        """Predicts the good rows. `data_id` is the entity of a request for a single one."""
        call = ModelCall(loaded.manifest, self._variant)
        call.record_missing(rows.missing)
        if not len(rows.values):
            return _collect(loaded, rows, np.empty((0, len(loaded.manifest.classes)), np.float32))
        name = f"predict {loaded.manifest.name}"
        # From a prediction to the run, and so to the data, of its model.
        with telemetry.span(name, self._attributes(loaded, rows, data_id), _links(loaded)) as span:
            prepared = _preprocess(loaded, rows.values, call)
            output = await self._infer(loaded, prepared, deadline, call, span)
            prediction = _postprocess(loaded, rows, output.result, call)
            if len(prediction.labels) == 1 and not prediction.has_errors:
                span.set_attribute(telemetry.ML_OUTPUT_LABEL, prediction.labels[0])
                span.set_attribute(telemetry.ML_OUTPUT_CONFIDENCE, float(prediction.confidences[0]))
            context = telemetry.recorded(span)
            return replace(
                prediction,
                traceparent=telemetry.traceparent(context) if context else None,
                timing=(output.queue, output.compute),
            )

    async def _infer(
        self, loaded: Loaded, prepared: Array, deadline: Deadline, call: ModelCall, span: Span
    ) -> ComputeOutput[Array]:
        try:
            output = await self._engine.compute(
                lambda: _compute(loaded, prepared), deadline, loaded.is_short(len(prepared))
            )
        except WorkerError as error:
            call.end(success=False)
            telemetry.fail(span, error, error.error_type)
            raise
        call.end(success=True)
        return output

    def _attributes(
        self, loaded: Loaded, rows: FeatureRows, data_id: str | None
    ) -> dict[str, AttributeValue]:
        manifest = loaded.manifest
        attributes: dict[str, AttributeValue] = {
            telemetry.ML_MODEL_NAME: manifest.name,
            telemetry.ML_MODEL_VERSION: manifest.version,
            telemetry.ML_RUN_ID: manifest.run_id,
            telemetry.ML_VARIANT: self._variant,
            telemetry.ML_BATCH_SIZE: len(rows),
            telemetry.ML_FRAMEWORK: telemetry.FRAMEWORK,
            telemetry.ML_DEVICE: "cpu",
        }
        if data_id is not None:
            attributes[telemetry.ML_DATA_ID] = data_id
        return attributes


def _links(loaded: Loaded) -> list[Link]:
    run = loaded.manifest.training
    if run is None:
        return []
    return telemetry.training_link(loaded.manifest.run_id, run.trace_id, run.span_id)


def _preprocess(loaded: Loaded, values: Array, call: ModelCall) -> Array:
    with telemetry.span("preprocess_input"):
        call.record_out_of_range(values)
        return loaded.normalised(values)


def _compute(loaded: Loaded, prepared: Array) -> Array:
    """Runs on a compute thread unless it is short.

    A row that overflows is NaN; scikit-learn would refuse them all.
    """
    with telemetry.span("model_inference") as span:
        computable = np.isfinite(prepared).all(axis=1)
        probabilities = np.full((len(prepared), len(loaded.manifest.classes)), np.nan, np.float32)
        try:
            if computable.any():
                probabilities[computable] = loaded.probabilities(prepared[computable])
        except Exception as error:  # a model may raise anything, which fails one request only
            failure = ComputeError("the model failed")
            failure.__cause__ = error
            telemetry.fail(span, failure, failure.error_type)
            raise failure from error
        span.add_event("inference_completed", {telemetry.ML_BATCH_SIZE: len(prepared)})
        return probabilities


def _postprocess(
    loaded: Loaded, rows: FeatureRows, probabilities: Array, call: ModelCall
) -> BatchPrediction:
    with telemetry.span("postprocess_output"):
        prediction = _collect(loaded, rows, probabilities)
        call.record_predictions(prediction)
        return prediction


def _collect(loaded: Loaded, rows: FeatureRows, computed: Array) -> BatchPrediction:
    """Assigns the computed rows to the good rows of the request.

    A row whose computation overflowed has an error, too, and costs the other rows nothing.
    """
    good = np.flatnonzero([error is None for error in rows.errors])
    finite = np.isfinite(computed).all(axis=1)
    errors = list(rows.errors)
    for index in good[~finite]:
        errors[index] = RowErrorCode.OUT_OF_RANGE
    probabilities = np.zeros((len(rows), computed.shape[1]), np.float32)
    probabilities[good[finite]] = computed[finite]
    labels = [""] * len(rows)
    # Of equal probabilities `argmax` takes the first, as the Rust service does.
    for index in good[finite]:
        labels[index] = loaded.manifest.classes[probabilities[index].argmax()]
    confidences = probabilities.max(axis=1, initial=0.0)
    return BatchPrediction(errors, labels, confidences, probabilities)
