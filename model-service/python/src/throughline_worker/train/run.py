"""One training run: its spans, its metrics, and the log record for the dashboards."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import sklearn
from opentelemetry.trace import Span, SpanContext, format_span_id, format_trace_id

from throughline_worker import telemetry
from throughline_worker.repository import (
    Check,
    Dataset,
    Lookup,
    Manifest,
    Metrics,
    Normalisation,
    ReferenceProfile,
    TrainingRun,
    write_version,
)
from throughline_worker.train import data, profile
from throughline_worker.train.data import CLASSES, FEATURES, Data
from throughline_worker.train.learn import Fit, Hyperparameters, Stage, learn
from throughline_worker.train.split import Split, split

# About one row in this many goes to the validation part.
PARTS = 5
# The SDK's default limit of events on a span; longer trainings record every second stage, every
# third, and so on.
MAX_EVENTS = 128
# Validation rows whose probabilities the manifest keeps.
CHECK_ROWS = 5

_meter = telemetry.meter()
_LOSS = _meter.create_gauge("ml.training.loss", unit="1", description="Training loss of an epoch")
_VALIDATION_ACCURACY = _meter.create_gauge(
    "ml.training.validation_accuracy", unit="1", description="Accuracy on the held-out rows"
)
_DURATION = telemetry.histogram(
    "ml.training.duration",
    "s",
    "Duration of a training run",
    (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)

_log = logging.getLogger("throughline_worker.train")


class TrainError(Exception):
    """Why there is no new version; `error_type` is the bounded word for `error.type`."""

    def __init__(self, text: str, error_type: str) -> None:
        super().__init__(text)
        self.error_type = error_type


@dataclass(frozen=True)
class TrainOptions:
    """What to train, on which data, into which repository."""

    data: Path
    model_repository: Path
    model: str = "wine_quality"
    dataset: str = "wine_quality"
    seed: int = 42
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    source_commit: str | None = None


def train(options: TrainOptions) -> Manifest:
    """Trains and writes a new version; returns its manifest."""
    run = _Run(options)
    with telemetry.span(f"train {options.model}", run.attributes()) as span:
        run.begin(span)
        try:
            manifest = run.train()
        except TrainError as error:
            telemetry.fail(span, error, error.error_type)
            raise
        run.record_result(span, manifest, run.seconds())
        return manifest


class _Run:
    def __init__(self, options: TrainOptions) -> None:
        self.options = options
        self.id = secrets.token_hex(16)
        self.labels = {telemetry.MODEL_NAME: options.model}
        self._began = time.perf_counter()
        self._span: SpanContext | None = None

    def begin(self, span: Span) -> None:
        """Remembers the span of the whole run, if it is recorded."""
        self._span = telemetry.recorded(span)

    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def _training(self) -> TrainingRun:
        span = self._span
        return TrainingRun(
            duration_seconds=self.seconds(),
            trace_id=format_trace_id(span.trace_id) if span else None,
            span_id=format_span_id(span.span_id) if span else None,
        )

    def attributes(self) -> dict[str, str | float]:
        options = self.options
        return {
            telemetry.ML_MODEL_NAME: options.model,
            telemetry.ML_RUN_ID: self.id,
            telemetry.ML_DATASET: options.dataset,
            telemetry.ML_LEARNING_RATE: options.hyperparameters.learning_rate,
            telemetry.ML_FRAMEWORK: telemetry.FRAMEWORK,
            telemetry.ML_DEVICE: "cpu",
        }

    def train(self) -> Manifest:
        with _stage("load_data"):
            loaded, parts = self._load()
        with _stage("train_model") as span:
            fit = self._fit(parts, span)
        with _stage("evaluate_model"):
            metrics, reference = self._evaluate(fit, parts)
        with _stage("save_model"):
            manifest = self._manifest(loaded, metrics, reference, _check(fit, parts))
            try:
                return write_version(self.options.model_repository, manifest, fit.weights())
            except OSError as error:
                raise TrainError(
                    f"the version cannot be written: {error}", "write_error"
                ) from error

    def record_result(self, span: Span, manifest: Manifest, seconds: float) -> None:
        metrics = manifest.metrics
        span.set_attribute(telemetry.ML_MODEL_VERSION, manifest.version)
        span.set_attribute(telemetry.ML_TRAINING_ACCURACY, metrics.training_accuracy)
        span.set_attribute(telemetry.ML_VALIDATION_ACCURACY, metrics.validation_accuracy)
        span.set_attribute(telemetry.ML_BASELINE_ACCURACY, metrics.majority_baseline)
        span.set_attribute(telemetry.ML_DATASET_SHA256, manifest.dataset.sha256)
        _DURATION.record(seconds, self.labels)
        _log.info(
            "training metrics",
            extra={
                "event.name": "ml.training.metrics",
                telemetry.ML_MODEL_NAME: manifest.name,
                telemetry.ML_MODEL_VERSION: manifest.version,
                telemetry.ML_RUN_ID: manifest.run_id,
                telemetry.ML_DATASET: manifest.dataset.name,
                telemetry.ML_LEARNING_RATE: self.options.hyperparameters.learning_rate,
                telemetry.ML_TRAINING_ACCURACY: metrics.training_accuracy,
                telemetry.ML_VALIDATION_ACCURACY: metrics.validation_accuracy,
            },
        )

    def _load(self) -> tuple[Data, Split]:
        try:
            loaded = data.read(self.options.data)
        except OSError as error:
            raise TrainError(
                f"cannot read {self.options.data}: {error.strerror}", "data_unreadable"
            ) from error
        except data.DataError as error:
            raise TrainError(str(error), "data_invalid") from error
        parts = split(loaded.examples, PARTS, self.options.seed)
        if not len(parts.validation) or len(np.unique(parts.training.classes)) < len(CLASSES):
            rows = len(loaded.examples)
            raise TrainError(
                f"{rows} rows are too few for a training part and a validation part", "data_invalid"
            )
        return loaded, parts

    def _fit(self, parts: Split, span: Span) -> Fit:
        every = -(-self.options.hyperparameters.n_estimators // MAX_EVENTS)

        def on_stage(stage: Stage) -> None:
            if stage.number % every == 0:
                attributes = {
                    telemetry.ML_TRAINING_EPOCH: stage.number,
                    "ml.training.loss": stage.loss,
                }
                span.add_event("epoch_completed", attributes)
            _LOSS.set(stage.loss, self.labels)

        return learn(parts.training, self.options.hyperparameters, self.options.seed, on_stage)

    def _evaluate(self, fit: Fit, parts: Split) -> tuple[Metrics, ReferenceProfile]:
        metrics = Metrics(
            training_accuracy=fit.accuracy(parts.training),
            validation_accuracy=fit.accuracy(parts.validation),
            majority_baseline=_majority_baseline(parts),
            training_rows=len(parts.training),
            validation_rows=len(parts.validation),
        )
        _VALIDATION_ACCURACY.set(metrics.validation_accuracy, self.labels)
        return metrics, profile.reference(
            parts.training, fit.probabilities(parts.validation.features)
        )

    def _manifest(
        self, loaded: Data, metrics: Metrics, reference: ReferenceProfile, check: Check
    ) -> Manifest:
        options = self.options
        return Manifest(
            name=options.model,
            version="",
            run_id=self.id,
            created_at=datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
            source_commit=options.source_commit,
            dataset=Dataset(options.dataset, loaded.sha256, len(loaded.examples)),
            weights_sha256="",
            features=list(FEATURES),
            lookup=Lookup(feature_view="wine_features", join_key="wine_id"),
            # Trees compare one feature at a time, so scaling would not change their predictions.
            normalisation=Normalisation(mean=[0.0] * len(FEATURES), std=[1.0] * len(FEATURES)),
            classes=list(CLASSES),
            hyperparameters=options.hyperparameters.as_fields(),
            seed=options.seed,
            metrics=metrics,
            reference=reference,
            framework_version=sklearn.__version__,
            check=check,
            training=self._training(),
        )


@contextmanager
def _stage(name: str) -> Iterator[Span]:
    """One stage of the training in its span."""
    with telemetry.span(name) as span:
        try:
            yield span
        except TrainError as error:
            telemetry.fail(span, error, error.error_type)
            raise


def _check(fit: Fit, parts: Split) -> Check:
    rows = parts.validation.features[:CHECK_ROWS]
    return Check(features=rows.tolist(), probabilities=fit.probabilities(rows).tolist())


def _majority_baseline(parts: Split) -> float:
    """Accuracy on the validation part of always answering the most frequent class."""
    high = float(parts.training.classes.mean()) >= 0.5
    return float((parts.validation.classes == int(high)).mean())
