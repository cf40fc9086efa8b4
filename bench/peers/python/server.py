"""`wine_quality` behind FastAPI, by the Open Inference Protocol: what a team writes that has a model and a framework.

`MODEL=models/wine_quality/1 opentelemetry-instrument uvicorn server:app`. bench/paths.py compares with it. It has
no line of telemetry, and answers no other question of the protocol.
"""

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import skops.io
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

FOLDER = Path(os.environ["MODEL"])
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())
MEAN = np.array(MANIFEST["normalisation"]["mean"], dtype=np.float32)
STD = np.array(MANIFEST["normalisation"]["std"], dtype=np.float32)
# Its classes are in the file's own list; the file was written here a moment ago.
MODEL = skops.io.load(FOLDER / "model.skops", trusted=skops.io.get_untrusted_types(file=FOLDER / "model.skops"))

app = FastAPI()


class Input(BaseModel):
    """A tensor of a request."""

    name: Literal["features"]
    shape: tuple[int, int]
    datatype: Literal["FP32"]
    data: list[float]


class Output(BaseModel):
    """A tensor of an answer."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class Request(BaseModel):
    """Rows of features."""

    id: str | None = None
    inputs: list[Input]


class Answer(BaseModel):
    """A prediction for each row."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Output]


# Not `async`: FastAPI then calls it in a thread, as it should be for what computes.
@app.post("/v2/models/wine_quality/infer")
def infer(request: Request) -> Answer:
    """Predict each row."""
    given = request.inputs[0]
    if given.shape[1] != len(MEAN) or len(given.data) != given.shape[0] * given.shape[1]:
        raise HTTPException(400, f"input features must be of shape [n, {len(MEAN)}]")
    rows = np.array(given.data, dtype=np.float32).reshape(given.shape)
    probabilities = MODEL.predict_proba((rows - MEAN) / STD).astype(np.float32)
    labels = [MANIFEST["classes"][best] for best in probabilities.argmax(axis=1)]
    count = len(labels)
    outputs = [
        Output(name="label", shape=[count], datatype="BYTES", data=labels),
        Output(name="confidence", shape=[count], datatype="FP32", data=probabilities.max(axis=1).tolist()),
        Output(
            name="probabilities",
            shape=list(probabilities.shape),
            datatype="FP32",
            data=probabilities.ravel().tolist(),
        ),
    ]
    return Answer(model_name=MANIFEST["name"], model_version=MANIFEST["version"], id=request.id, outputs=outputs)
