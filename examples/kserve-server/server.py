"""`wine_quality` served by KServe's Python model server: a `kserve.Model` and nothing else, no line of telemetry.

`python server.py --http_port 8085 --model-dir model --feature-store http://127.0.0.1:6566`; traced with
`opentelemetry-instrument` before it. README.md has the rest.
"""

import argparse
from pathlib import Path
from typing import Any, TypeVar

import httpx
import joblib
import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server
from kserve.errors import InvalidInput, ModelNotReady
from kserve.utils.utils import generate_uuid

from train import CLASSES, FEATURES, FILE

Headers = dict[str, str] | None
T = TypeVar("T", InferInput, InferOutput)

# Seconds; as long as the other model services wait for the feature store.
FEATURE_TIMEOUT = 2.0


class WineQuality(Model):
    """Wines by their id or by their features in; label, confidence and probabilities out."""

    def __init__(self, name: str, model_dir: Path, feature_store: str) -> None:
        super().__init__(name)
        self._path = model_dir / FILE
        self._features = httpx.AsyncClient(base_url=feature_store, timeout=FEATURE_TIMEOUT)

    def load(self) -> bool:
        """Read the model that train.py wrote."""
        self._pipeline = joblib.load(self._path)
        self.ready = True
        return self.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the input metadata. The gateway sends ids because `data_id` is among them."""
        return [
            {"name": "data_id", "datatype": "BYTES", "shape": [-1]},
            {"name": "features", "datatype": "FP32", "shape": [-1, len(FEATURES)]},
        ]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the output metadata. An answer has `error` only when a row has no prediction."""
        return [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "confidence", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(CLASSES)]},
            {"name": "error", "datatype": "BYTES", "shape": [-1]},
        ]

    async def preprocess(self, payload: dict[str, Any] | InferRequest, headers: Headers = None) -> InferRequest:
        """Replace an input `data_id` by the `features` that the feature store has for these ids."""
        del headers
        if not isinstance(payload, InferRequest) or len(payload.inputs) != 1:
            raise InvalidInput("exactly one input is needed, by the Open Inference Protocol: data_id or features")
        (given,) = payload.inputs
        if 0 in given.shape:
            raise InvalidInput("the batch has no rows")
        if given.name == "data_id" and given.datatype == "BYTES":
            payload.inputs = await self._lookup(texts(given))
        elif given.name != "features" or given.datatype != "FP32":
            raise InvalidInput("the only inputs are data_id (BYTES) and features (FP32)")
        return payload

    async def _lookup(self, ids: list[str]) -> list[InferInput]:
        """Look features up over Feast's protocol; return them and, for each row, an error code or an empty text."""
        question = {"features": [f"wine_features:{name}" for name in FEATURES], "entities": {"wine_id": ids}}
        try:
            response = await self._features.post("/get-online-features", json=question)
            response.raise_for_status()
        except httpx.HTTPError as error:
            # KServe answers 503, which clients may retry.
            raise ModelNotReady(self.name, f"The feature store does not answer: {error!r}") from error
        answer = response.json()
        # By name: the server chooses the order of the columns.
        columns = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
        values = np.array([columns[name]["values"] for name in FEATURES], dtype=np.float32).T
        statuses = zip(*(columns[name]["statuses"] for name in FEATURES), strict=True)
        codes = np.array([failure(of_row) for of_row in statuses], dtype=np.object_)
        return [tensor(InferInput, "features", "FP32", values), tensor(InferInput, "error", "BYTES", codes)]

    def predict(
        self, payload: InferRequest, headers: Headers = None, response_headers: Headers = None
    ) -> InferResponse:
        """Run the pipeline on all complete rows; the others have a code in an output `error`."""
        del headers, response_headers
        features = rows(payload.inputs[0])
        codes = texts(payload.inputs[1]) if len(payload.inputs) > 1 else [""] * len(features)
        complete = np.array([not code for code in codes]) & np.isfinite(features).all(axis=1)
        probabilities = np.zeros((len(features), len(CLASSES)), dtype=np.float32)
        if complete.any():
            probabilities[complete] = self._pipeline.predict_proba(features[complete].astype(np.float64))
        labels = [CLASSES[row.argmax()] if good else "" for row, good in zip(probabilities, complete, strict=True)]
        outputs = [
            tensor(InferOutput, "label", "BYTES", np.array(labels, dtype=np.object_)),
            tensor(InferOutput, "confidence", "FP32", probabilities.max(axis=1)),
            tensor(InferOutput, "probabilities", "FP32", probabilities),
        ]
        if not complete.all():
            errors = [code or ("" if good else "missing_features") for code, good in zip(codes, complete, strict=True)]
            outputs.append(tensor(InferOutput, "error", "BYTES", np.array(errors, dtype=np.object_)))
        return InferResponse(
            # KServe's own check of the answer wants an id even if the request has none.
            response_id=payload.id or generate_uuid(),
            model_name=self.name,
            infer_outputs=outputs,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


def failure(statuses: tuple[str, ...]) -> str:
    """Return the gateway's error code for an incomplete row of features, or an empty text."""
    for status, code in (("NOT_FOUND", "unknown_entity"), ("OUTSIDE_MAX_AGE", "outside_max_age")):
        if status in statuses:
            return code
    return "" if set(statuses) == {"PRESENT"} else "missing_features"


def texts(given: InferInput) -> list[str]:
    """Return the elements of a BYTES tensor: text if they came in JSON, bytes if they came binary."""
    elements = given.as_numpy().flatten().tolist()
    return [element.decode() if isinstance(element, bytes) else str(element) for element in elements]


def rows(given: InferInput) -> np.ndarray:
    """Return an FP32 tensor as rows of features."""
    try:
        values = given.as_numpy()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"input {given.name}: {error}") from error
    if values.ndim != 2 or values.shape[1] != len(FEATURES):
        raise InvalidInput(f"input {given.name} must be of shape [n, {len(FEATURES)}]")
    return values


def tensor(kind: type[T], name: str, datatype: str, values: np.ndarray) -> T:
    """Return a tensor of KServe's type."""
    return kind(name=name, shape=list(values.shape), datatype=datatype, data=values)


def main() -> None:
    """Serve until a signal arrives. The other flags are KServe's own."""
    parser = argparse.ArgumentParser(parents=[model_server.parser], conflict_handler="resolve")
    parser.set_defaults(model_name="wine_quality", enable_grpc=False)
    parser.add_argument("--model-dir", type=Path, required=True, help="where train.py wrote the model")
    parser.add_argument("--feature-store", default="http://127.0.0.1:6566", help="address of the feature store")
    options = parser.parse_args()
    model = WineQuality(options.model_name, options.model_dir, options.feature_store)
    model.load()
    ModelServer(http_port=options.http_port, enable_grpc=options.enable_grpc, workers=1).start([model])


if __name__ == "__main__":
    main()
