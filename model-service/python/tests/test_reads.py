"""The reads: metadata of the server and its models, the repository index."""

from __future__ import annotations

import pytest
from harness import Client

MODEL = "/v2/models/wine_quality"
VERSION = f"{MODEL}/versions/1"


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server(client: Client, path: str) -> None:
    body = client.get(path).json()
    assert body["name"] == "model-service-python"
    assert body["extensions"] == ["binary_tensor_data", "parameters", "model_repository"]


def test_the_models(client: Client) -> None:
    assert client.get("/v2/models").json() == {"models": ["wine_quality"]}


@pytest.mark.parametrize("path", [MODEL, VERSION])
def test_a_model(client: Client, path: str) -> None:
    body = client.get(path).json()
    training = body.pop("training")
    assert len(training["run_id"]) == 32
    assert training["classes"] == ["low", "high"]
    assert 0.6 < training["validation_accuracy"] < 1.0
    assert body == {
        "name": "wine_quality",
        "versions": ["1"],
        "platform": "sklearn_skops",
        "inputs": [
            {"name": "data_id", "datatype": "BYTES", "shape": [-1]},
            {"name": "features", "datatype": "FP32", "shape": [-1, 11]},
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "confidence", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }


@pytest.mark.parametrize("path", [MODEL, VERSION])
def test_a_model_is_ready(client: Client, path: str) -> None:
    assert client.get(f"{path}/ready").json() == {"name": "wine_quality", "ready": True}


@pytest.mark.parametrize("path", [MODEL, VERSION])
def test_a_configuration(client: Client, path: str) -> None:
    body = client.get(f"{path}/config").json()
    assert (body["backend"], body["max_batch_size"]) == ("sklearn", 0)
    assert body["input"][0] == {"name": "data_id", "data_type": "TYPE_STRING", "dims": [-1]}
    assert body["output"][2] == {"name": "probabilities", "data_type": "TYPE_FP32", "dims": [-1, 2]}


def test_the_repository(client: Client) -> None:
    line = {"name": "wine_quality", "version": "1", "state": "READY", "reason": ""}
    for body in (b"", b"{}", b'{"ready":true}'):
        assert client.post("/v2/repository/index", body).json() == [line]
    for body in (b"{", b"[]", b'{"ready":1}'):
        assert client.post("/v2/repository/index", body).status_code == 400


def test_health(client: Client) -> None:
    assert client.get("/livez").json() == {"live": True}
    assert client.get("/readyz").json() == {"ready": True, "draining": False, "detail": {}}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True, "live": True}
