"""KServe's own client with protocol v2. It is httpx inside, whose instrumentation makes the trace."""

import asyncio
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, InferResponse, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from conftest import Wine, Yardstick
from harness.caller import Caller
from harness.targets import MODEL, Target
from harness.traces import Explorer, Trace

pytestmark = pytest.mark.client("kserve, InferenceRESTClient", distribution="kserve")

IDS = ["wine-0002", "wine-0777", "wine-1598"]
LOOKUP = ("feature-store", "POST /get-online-features")


class Client:
    """The client and its loop; it is asynchronous only."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._make())

    async def _make(self) -> Any:
        return InferenceRESTClient(RESTConfig(protocol="v2", timeout=20, retries=0))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        # A runner keeps the context of its start, where the caller's span was not yet current.
        return lambda *args, **named: self._runner.run(method(*args, **named), context=copy_context())

    def end(self) -> None:
        """Close the connections and their loop."""
        self._runner.run(self._client.close())
        self._runner.close()


@pytest.fixture
def client(caller: Caller) -> Iterator[Client]:
    """A client in a program that has OpenTelemetry's instrumentation for httpx."""
    del caller
    HTTPXClientInstrumentor().instrument()
    client = Client()
    yield client
    client.end()
    HTTPXClientInstrumentor().uninstrument()


def data_ids(ids: list[str], binary: bool) -> InferInput:
    tensor = InferInput("data_id", [len(ids)], "BYTES")
    tensor.set_data_from_numpy(np.array(ids, dtype=np.object_), binary_data=binary)
    return tensor


def ask(
    tensor: InferInput, outputs: list[RequestedOutput] | None = None, request_id: str | None = None
) -> InferRequest:
    return InferRequest(MODEL, [tensor], request_id=request_id, request_outputs=outputs)


def check(response: InferResponse, ids: list[str], yardstick: Yardstick) -> None:
    """Every value is that of plain JSON, to the last bit of FP32."""
    expected = yardstick(ids)
    # The client does not read the version of an answer.
    assert response.model_name == MODEL
    arrays = {output.name: output.as_numpy() for output in response.outputs}
    assert [entry.decode() if isinstance(entry, bytes) else entry for entry in arrays["label"]] == expected.labels
    assert arrays["confidence"].dtype == np.float32
    assert arrays["probabilities"].shape == (len(ids), 2)
    np.testing.assert_array_equal(arrays["confidence"], np.array(expected.confidences, dtype=np.float32))
    np.testing.assert_array_equal(arrays["probabilities"], np.array(expected.probabilities, dtype=np.float32))


def check_trace(trace: Trace, target: Target) -> None:
    """From the caller's own CLIENT span to the feature store in one trace."""
    (lookup,) = trace.find(*LOOKUP)
    assert trace.servers(lookup) == target.services
    assert trace.services() == {"client", *target.services}
    (sent,) = [span for span in trace.spans if span.service == "client" and span.kind == "CLIENT"]
    first = next(span for span in trace.spans if span.kind == "SERVER" and span.service == target.services[0])
    assert first.parent_id == sent.span_id


@pytest.mark.call("infer `data_id`, binary and JSON")
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_data_ids(
    client: Any, url: str, target: Target, yardstick: Yardstick, caller: Caller, explorer: Explorer, binary: bool
) -> None:
    with caller.call("kserve infer") as call:
        response = client.infer(url, ask(data_ids(IDS, binary)), model_name=MODEL, headers=target.headers)
    check(response, IDS, yardstick)
    check_trace(explorer.wait(call.trace_id, *LOOKUP), target)


@pytest.mark.call("infer `features` FP32 [n, 11], binary and JSON")
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_features(client: Any, url: str, target: Target, yardstick: Yardstick, wines: list[Wine], binary: bool) -> None:
    rows = np.array([list(wine.features.values()) for wine in wines if wine.data_id in IDS], dtype=np.float32)
    tensor = InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    check(client.infer(url, ask(tensor), model_name=MODEL, headers=target.headers), IDS, yardstick)


@pytest.mark.call("infer, binary outputs chosen, request id")
def test_chosen_outputs(client: Any, url: str, target: Target, yardstick: Yardstick) -> None:
    outputs = [RequestedOutput(name, {"binary_data": True}) for name in ("label", "confidence", "probabilities")]
    headers: dict[str, str] = {}
    response = client.infer(
        url,
        ask(data_ids(IDS, binary=True), outputs, "order-67"),
        model_name=MODEL,
        headers=target.headers,
        response_headers=headers,
    )
    assert int(headers["inference-header-content-length"]) > 0
    assert response.id == "order-67"
    check(response, IDS, yardstick)


@pytest.mark.call("infer with a plain dictionary")
def test_dictionary(client: Any, url: str, target: Target, yardstick: Yardstick) -> None:
    body = {"inputs": [{"name": "data_id", "shape": [3], "datatype": "BYTES", "data": IDS}]}
    check(client.infer(url, body, model_name=MODEL, headers=target.headers), IDS, yardstick)


@pytest.mark.call("live, ready, model ready")
def test_health(client: Any, url: str, target: Target) -> None:
    assert client.is_server_live(url, headers=target.headers) is True
    assert client.is_server_ready(url, headers=target.headers) is True
    assert client.is_model_ready(url, MODEL, headers=target.headers) is True


@pytest.mark.call("errors as HTTPStatusError with the server's words")
def test_errors(client: Any, url: str, target: Target) -> None:
    def refusal(tensor: InferInput, model: str = MODEL) -> httpx.HTTPStatusError:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            client.infer(url, ask(tensor), model_name=model, headers=target.headers)
        return caught.value

    unknown = refusal(data_ids(IDS, binary=True), "nothing")
    assert unknown.response.status_code == 404
    assert "nothing" in str(unknown)
    nobody = refusal(data_ids(["nobody"], binary=False))
    assert nobody.response.status_code == 404
    assert "none of the data ids" in str(nobody)
    shape = InferInput("features", [1, 3], "FP32")
    shape.set_data_from_numpy(np.ones((1, 3), dtype=np.float32))
    assert refusal(shape).response.status_code == 400
    assert "[n, 11]" in str(refusal(shape))
    assert client.is_model_ready(url, "nothing", headers=target.headers) is False


@pytest.mark.call("infer, one id unknown")
def test_partly_unknown(client: Any, url: str, target: Target, yardstick: Yardstick) -> None:
    ids = ["nobody", "wine-0002"]
    response = client.infer(url, ask(data_ids(ids, binary=False)), model_name=MODEL, headers=target.headers)
    outputs = {output.name: output.as_numpy().tolist() for output in response.outputs}
    assert outputs["error"] == ["unknown_entity", ""]
    assert outputs["label"] == ["", *yardstick(["wine-0002"]).labels]
