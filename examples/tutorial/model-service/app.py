"""Serves the model that train.py wrote: `python app.py HOST:PORT`."""

import json
import logging
import sys

import numpy as np
import skops.io
import train
import uvicorn
import wines
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

MODEL = skops.io.load(train.MODEL)
RUN = json.loads(train.RUN.read_text())
WINES = wines.read()

log = logging.getLogger("app")


def find_features(data_ids: list[str]) -> np.ndarray:
    """The measurements of the wines."""
    return np.array([WINES[data_id][0] for data_id in data_ids])


def run_model(features: np.ndarray) -> np.ndarray:
    """The probability of each class, for each wine."""
    probabilities: np.ndarray = MODEL.predict_proba(features)
    return probabilities


def predict(data_ids: list[str]) -> tuple[list[str], list[float]]:
    """The class of each wine, and the confidence in it."""
    features = find_features(data_ids)
    probabilities = run_model(features)
    log.info("predicted")
    labels = list(MODEL.classes_[probabilities.argmax(axis=1)])
    return labels, probabilities.max(axis=1).round(4).tolist()


async def infer(request: Request) -> JSONResponse:
    """Answers an inference request of the Open Inference Protocol V2."""
    labels, confidences = predict((await request.json())["inputs"][0]["data"])
    outputs = [output("label", "BYTES", labels), output("confidence", "FP32", confidences)]
    return JSONResponse({"model_name": request.path_params["model_name"], "outputs": outputs})


def output(name: str, datatype: str, data: list[str] | list[float]) -> dict[str, object]:
    """A tensor of the answer, with one value for each wine."""
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


async def ready(_: Request) -> JSONResponse:
    """Answers a health check."""
    return JSONResponse({"ready": True})


app = Starlette(
    routes=[
        Route("/v2/models/{model_name}/infer", infer, methods=["POST"]),
        Route("/v2/health/ready", ready),
    ]
)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    host, _, port = sys.argv[1].partition(":")
    uvicorn.run(app, host=host, port=int(port), log_config=None, access_log=False)
