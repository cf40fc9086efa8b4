"""`POST /v2/models/{model_name}[/versions/{model_version}]/infer`."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from throughline_worker.deadline import Deadline
from throughline_worker.errors import InputError, TooManyRows, UnknownEntities
from throughline_worker.feature_rows import FeatureRows
from throughline_worker.features import FeatureStore
from throughline_worker.http.layers import DEADLINE
from throughline_worker.http.paths import find
from throughline_worker.oip import (
    HEADER_LENGTH,
    Datatype,
    Encoded,
    InferRequest,
    InferResponse,
    RequestedOutput,
    Tensor,
    decode,
    encode_for,
    parse_header_length,
)
from throughline_worker.predict import Predictor
from throughline_worker.prediction import BatchPrediction
from throughline_worker.repository import Loaded, ModelRepository

# The most rows of one request.
MAX_ROWS = 1000

DATA_ID, FEATURES = "data_id", "features"
LABEL, CONFIDENCE, PROBABILITIES = "label", "confidence", "probabilities"
# Only in answers with a failed row: the `RowErrorCode` of each row, empty for good rows.
ERROR = "error"
# Accepted besides FP32: clients of dynamic languages send whatever number type their arrays have.
NUMBERS = frozenset({Datatype.FP32, Datatype.FP64, Datatype.INT64, Datatype.INT32})


class InferHandler:
    """The handler of the infer routes."""

    def __init__(
        self, repository: ModelRepository, features: FeatureStore, predictor: Predictor
    ) -> None:
        self._repository = repository
        self._features = features
        self._predictor = predictor

    async def infer(self, request: Request) -> Response:
        """Reads the request, looks features up if it has data ids, predicts, answers."""
        loaded = find(self._repository, request)
        inference = await _decoded(request)
        deadline: Deadline = request.scope[DEADLINE]
        timeout = inference.timeout()
        if timeout is not None:
            deadline = deadline.within(timeout)
        tensor = _input(inference, loaded)
        if tensor.name == FEATURES:
            rows, data_id, features_ms = _feature_rows(tensor, loaded), None, None
        else:
            begin = time.perf_counter()
            ids = tensor.texts()
            rows = await self._features.lookup(loaded.manifest, ids, deadline)
            features_ms = (time.perf_counter() - begin) * 1e3
            if rows.is_all_unknown:
                raise UnknownEntities
            data_id = ids[0] if len(ids) == 1 else None
        prediction = await self._predictor.predict(loaded, rows, data_id, deadline)
        return _respond(
            _encode(inference, loaded, prediction), _server_timing(features_ms, prediction)
        )


async def _decoded(request: Request) -> InferRequest:
    header = request.headers.get(HEADER_LENGTH)
    length = None if header is None else parse_header_length(header)
    inference = decode(await request.body(), length)
    inference.check_outputs([LABEL, CONFIDENCE, PROBABILITIES, ERROR])
    return inference


def _input(request: InferRequest, loaded: Loaded) -> Tensor:
    """The one input of the request, checked against the model's metadata."""
    if len(request.inputs) != 1:
        raise InputError(f"exactly one input is needed: {DATA_ID} or {FEATURES}")
    tensor = request.inputs[0]
    rows = tensor.shape[0] if tensor.shape else 0
    if rows == 0:
        raise InputError("the batch has no rows")
    if rows > MAX_ROWS:
        raise TooManyRows(rows, MAX_ROWS)
    width = len(loaded.manifest.features)
    if tensor.name == DATA_ID:
        if tensor.datatype is not Datatype.BYTES or tensor.shape not in ((rows,), (rows, 1)):
            raise InputError(f"input {DATA_ID} must be BYTES of shape [n]")
    elif tensor.name == FEATURES:
        if tensor.shape != (rows, width):
            raise InputError(f"input {FEATURES} must be FP32 of shape [n, {width}]")
        if tensor.datatype not in NUMBERS:
            raise InputError(f"input {FEATURES} must be FP32")
    else:
        raise InputError(f"the only inputs are {DATA_ID} and {FEATURES}")
    return tensor


def _feature_rows(tensor: Tensor, loaded: Loaded) -> FeatureRows:
    # A float64 beyond the range of float32 becomes infinite, which counts as missing.
    with np.errstate(over="ignore"):
        values = np.asarray(tensor.data).astype(np.float32)
    return FeatureRows.of(values.reshape(-1, len(loaded.manifest.features)))


def _encode(request: InferRequest, loaded: Loaded, prediction: BatchPrediction) -> Encoded:
    outputs = [
        Tensor.of_texts(LABEL, prediction.labels),
        Tensor.of_floats(CONFIDENCE, prediction.confidences),
        Tensor.of_floats(PROBABILITIES, prediction.probabilities),
    ]
    if prediction.has_errors:
        words = ["" if error is None else error.value for error in prediction.errors]
        outputs.append(Tensor.of_texts(ERROR, words))
        if not request.wants_output(ERROR):
            # A client that chose its outputs without `error` must not take failed rows for
            # predictions.
            request = replace(request, outputs=[*request.outputs, RequestedOutput(ERROR)])
    manifest = loaded.manifest
    parameters: dict[str, str | int | float | bool] = {"run_id": manifest.run_id}
    if prediction.traceparent is not None:
        parameters["traceparent"] = prediction.traceparent
    return encode_for(
        request, InferResponse(manifest.name, manifest.version, request.id, parameters, outputs)
    )


def _respond(encoded: Encoded, timing: str) -> Response:
    response = Response(encoded.body, media_type=encoded.content_type)
    if encoded.header_length is not None:
        response.headers[HEADER_LENGTH] = str(encoded.header_length)
    if timing:
        response.headers["server-timing"] = timing
    return response


def _server_timing(features_ms: float | None, prediction: BatchPrediction) -> str:
    """The time of each stage in milliseconds, for gateway and browsers (W3C Server Timing)."""
    parts = [] if features_ms is None else [f"features;dur={features_ms:.3f}"]
    if prediction.timing is not None:
        queue, compute = prediction.timing
        parts.append(f"queue;dur={queue * 1e3:.3f}, compute;dur={compute * 1e3:.3f}")
    return ", ".join(parts)
