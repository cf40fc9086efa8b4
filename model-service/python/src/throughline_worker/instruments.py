"""The metrics of predictions.

Attribute values come from manifests and configuration, never from requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from opentelemetry.util.types import AnyValue

from throughline_worker import telemetry
from throughline_worker.prediction import BatchPrediction
from throughline_worker.repository import Manifest

# Seconds, for work below a millisecond.
COMPUTE_SECONDS = [
    1e-5,
    2.5e-5,
    5e-5,
    1e-4,
    2.5e-4,
    5e-4,
    1e-3,
    2.5e-3,
    5e-3,
    1e-2,
    5e-2,
    0.1,
    0.5,
    1.0,
    5.0,
]

_meter = telemetry.meter()
_CALLS = _meter.create_counter("ai.inference.calls", unit="{call}", description="Inference calls")
_LATENCY = telemetry.histogram(
    "ai.inference.latency",
    "s",
    "Duration of inference calls, from the features to the probabilities",
    COMPUTE_SECONDS,
)
_CONFIDENCE = telemetry.histogram(
    "ml.prediction.confidence",
    "1",
    "Probability of the predicted class",
    [step / 20 for step in range(1, 20)],
)
_LABELS = _meter.create_counter(
    "ml.prediction.labels", unit="{prediction}", description="Predictions by class"
)
_MISSING = _meter.create_counter(
    "ml.input.missing", unit="{value}", description="Missing input values by feature"
)
_OUT_OF_RANGE = _meter.create_counter(
    "ml.input.out_of_range",
    unit="{value}",
    description="Input values outside the range of the training data by feature",
)


class ModelCall:
    """One call of a model, timed from its beginning."""

    def __init__(self, manifest: Manifest, variant: str) -> None:
        self._manifest = manifest
        self._variant = variant
        self._begin = time.perf_counter()
        self._model: dict[str, AnyValue] = {telemetry.MODEL_NAME: manifest.name}
        self._version: dict[str, AnyValue] = {
            **self._model,
            telemetry.ML_MODEL_VERSION: manifest.version,
        }

    def end(self, success: bool) -> None:
        """Records the end of the inference.

        Called inside its span, so that exemplars can point there.
        """
        attributes: dict[str, AnyValue] = {
            **self._version,
            telemetry.ML_VARIANT: self._variant,
            telemetry.SUCCESS: success,
        }
        _CALLS.add(1, attributes)
        _LATENCY.record(time.perf_counter() - self._begin, attributes)

    def record_missing(self, counts: Iterable[int]) -> None:
        """Counts the missing values by feature."""
        for feature, count in zip(self._manifest.features, counts, strict=True):
            if count:
                _MISSING.add(count, {**self._model, telemetry.ML_FEATURE_NAME: feature})

    def record_out_of_range(self, values: NDArray[np.float32]) -> None:
        """Counts the raw values outside the range of the training part."""
        low, high = self._manifest.reference.range
        outside = (values < low) | (values > high)
        if not outside.any():
            return
        counts = np.count_nonzero(outside, axis=0)
        for index in np.flatnonzero(counts):
            feature = {telemetry.ML_FEATURE_NAME: self._manifest.reference.features[index].name}
            _OUT_OF_RANGE.add(int(counts[index]), {**self._model, **feature})

    def record_predictions(self, prediction: BatchPrediction) -> None:
        """Counts the classes and records the confidence of each row."""
        counts: dict[str, int] = {}
        for label, confidence in zip(prediction.labels, prediction.confidences, strict=True):
            if label:
                counts[label] = counts.get(label, 0) + 1
                _CONFIDENCE.record(
                    float(confidence), {**self._version, telemetry.ML_OUTPUT_LABEL: label}
                )
        for label, count in counts.items():
            _LABELS.add(count, {**self._version, telemetry.ML_OUTPUT_LABEL: label})
