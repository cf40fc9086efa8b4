"""`POST /v2/models/{model_name}[/versions/{model_version}]/infer`."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from throughline_worker.deadline import Deadline
from throughline_worker.errors import AllUnknown, InputError, TooManyRows
from throughline_worker.features import FeatureStore
from throughline_worker.http import body
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
from throughline_worker.predict import Prediction, Predictor
from throughline_worker.repository import Catalog, Loaded
from throughline_worker.rows import Rows

# Most rows of one request.
MAX_ROWS = 1000

DATA_ID, FEATURES = "data_id", "features"
LABEL, CONFIDENCE, PROBABILITIES = "label", "confidence", "probabilities"
# Only there when a row failed: a word for each failed row, empty for good ones.
ERROR = "error"
# Numbers that are taken beside FP32: clients of dynamic languages send what their arrays happen to hold.
NUMBERS = frozenset({Datatype.FP32, Datatype.FP64, Datatype.INT64, Datatype.INT32})


class Inference:
    """The handler of inferences."""

    def __init__(self, catalog: Catalog, features: FeatureStore, predictor: Predictor) -> None:
        self._catalog = catalog
        self._features = features
        self._predictor = predictor

    async def infer(self, request: Request) -> Response:
        """Reads the request, looks features up if it names entities, predicts, answers."""
        loaded = find(self._catalog, request)
        asked = await _decoded(request)
        deadline: Deadline = request.scope[DEADLINE]
        timeout = asked.timeout()
        if timeout is not None:
            deadline = deadline.within(timeout)
        tensor = _input(asked, loaded)
        if tensor.name == FEATURES:
            rows, data_id, features_ms = _given(tensor, loaded), None, None
        else:
            begin = time.perf_counter()
            ids = tensor.texts()
            rows = await self._features.lookup(loaded.manifest, ids, deadline)
            features_ms = (time.perf_counter() - begin) * 1e3
            if rows.is_all_unknown:
                raise AllUnknown
            data_id = ids[0] if len(ids) == 1 else None
        prediction = await self._predictor.predict(loaded, rows, data_id, deadline)
        return _respond(_answer(asked, loaded, rows, prediction), _server_timing(features_ms, prediction))


async def _decoded(request: Request) -> InferRequest:
    header = request.headers.get(HEADER_LENGTH)
    length = None if header is None else parse_header_length(header)
    asked = decode(await body.read(request), length)
    asked.check_outputs([LABEL, CONFIDENCE, PROBABILITIES, ERROR])
    return asked


def _input(asked: InferRequest, loaded: Loaded) -> Tensor:
    """The one input of the request, if it is one that the model takes."""
    if len(asked.inputs) != 1:
        raise InputError(f"exactly one input is needed: {DATA_ID} or {FEATURES}")
    tensor = asked.inputs[0]
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


def _given(tensor: Tensor, loaded: Loaded) -> Rows:
    # A double beyond the range of float32 becomes infinite, and its row fails as one with a missing value.
    with np.errstate(over="ignore"):
        values = np.asarray(tensor.data).astype(np.float32)
    return Rows.of(values.reshape(-1, len(loaded.manifest.features)))


def _answer(asked: InferRequest, loaded: Loaded, rows: Rows, prediction: Prediction) -> Encoded:
    outputs = [
        Tensor.of_texts(LABEL, prediction.labels),
        Tensor.of_floats(CONFIDENCE, prediction.confidences),
        Tensor.of_floats(PROBABILITIES, prediction.probabilities),
    ]
    if rows.has_failures:
        outputs.append(Tensor.of_texts(ERROR, rows.failures))
        if not asked.wants_output(ERROR):
            # A client that chose its outputs without knowing of failures must not take them for predictions.
            asked = replace(asked, outputs=[*asked.outputs, RequestedOutput(ERROR)])
    manifest = loaded.manifest
    parameters: dict[str, str | int | float | bool] = {"run_id": manifest.run_id}
    if prediction.traceparent is not None:
        parameters["traceparent"] = prediction.traceparent
    return encode_for(asked, InferResponse(manifest.name, manifest.version, asked.id, parameters, outputs))


def _respond(encoded: Encoded, timing: str) -> Response:
    response = Response(encoded.body, media_type=encoded.content_type)
    if encoded.header_length is not None:
        response.headers[HEADER_LENGTH] = str(encoded.header_length)
    if timing:
        response.headers["server-timing"] = timing
    return response


def _server_timing(features_ms: float | None, prediction: Prediction) -> str:
    """Where the time went, for browsers' tools and for the gateway: milliseconds with fractions (W3C Server Timing)."""
    parts = [] if features_ms is None else [f"features;dur={features_ms:.3f}"]
    if prediction.timing is not None:
        queue, compute = prediction.timing
        parts.append(f"queue;dur={queue * 1e3:.3f}, compute;dur={compute * 1e3:.3f}")
    return ", ".join(parts)
