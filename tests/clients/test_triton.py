"""NVIDIA's tritonclient, http and http.aio: what most programs that speak the Open Inference Protocol use."""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http as sync_http
import tritonclient.http.aio as aio_http
from tritonclient.utils import InferenceServerException

from conftest import Wine, Yardstick
from harness import http
from harness.caller import Caller
from harness.system import System
from harness.targets import MODEL, Target
from harness.traces import Explorer, Trace

IDS = ["wine-0001", "wine-0450", "wine-1599"]
LOOKUP = ("feature-store", "POST /get-online-features")


class Aio:
    """The aio client with the interface of the sync one, so that the same tests run on both."""

    def __init__(self, address: str, verbose: bool) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(self._make(address, verbose))

    async def _make(self, address: str, verbose: bool) -> Any:
        return aio_http.InferenceServerClient(address, verbose=verbose)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not asyncio.iscoroutinefunction(method):
            return method
        return lambda *args, **named: self._runner.run(method(*args, **named))

    def close(self) -> None:
        """Close the connections and their loop."""
        self._runner.run(self._client.close())
        self._runner.close()


def sync(address: str, verbose: bool) -> Any:
    return sync_http.InferenceServerClient(address, verbose=verbose)


Make = Callable[[str, bool], Any]


@pytest.fixture(
    params=[
        pytest.param(sync, id="sync", marks=pytest.mark.client("tritonclient.http", distribution="tritonclient")),
        pytest.param(Aio, id="aio", marks=pytest.mark.client("tritonclient.http.aio", distribution="tritonclient")),
    ]
)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a client of either kind."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def client(make: Make, url: str) -> Iterator[Any]:
    """A client of the target."""
    client = make(urlsplit(url).netloc, False)
    yield client
    client.close()


def data_ids(ids: list[str], binary: bool = True) -> Any:
    """The input `data_id`."""
    tensor = sync_http.InferInput("data_id", [len(ids)], "BYTES")
    tensor.set_data_from_numpy(np.array(ids, dtype=np.object_), binary_data=binary)
    return tensor


def features(wines: list[Wine], binary: bool = True) -> Any:
    """The input `features`, [n, 11]."""
    rows = np.array([list(wine.features.values()) for wine in wines], dtype=np.float32)
    tensor = sync_http.InferInput("features", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return tensor


def wanted(names: list[str], binary: bool) -> list[Any]:
    return [sync_http.InferRequestedOutput(name, binary_data=binary) for name in names]


def texts(array: Any) -> list[str]:
    """Binary BYTES come as bytes, those of JSON as text."""
    return [entry.decode() if isinstance(entry, bytes) else entry for entry in array.tolist()]


def check(result: Any, ids: list[str], yardstick: Yardstick) -> None:
    """Every value is that of plain JSON, to the last bit of FP32."""
    expected = yardstick(ids)
    assert result.get_response()["model_name"] == MODEL
    assert result.get_response()["model_version"] == expected.version
    assert texts(result.as_numpy("label")) == expected.labels
    confidence, probabilities = result.as_numpy("confidence"), result.as_numpy("probabilities")
    assert (confidence.dtype, probabilities.dtype) == (np.float32, np.float32)
    assert (confidence.shape, probabilities.shape) == ((len(ids),), (len(ids), 2))
    np.testing.assert_array_equal(confidence, np.array(expected.confidences, dtype=np.float32))
    np.testing.assert_array_equal(probabilities, np.array(expected.probabilities, dtype=np.float32))


def check_trace(trace: Trace, target: Target) -> None:
    """The request went from the caller to the feature store in one trace, through the services of the target."""
    (lookup,) = trace.find(*LOOKUP)
    assert trace.servers(lookup) == target.services
    assert trace.services() == {"client", *target.services}
    assert trace.roots()[0].service == "client"


@pytest.mark.call("infer `data_id`, binary")
def test_binary(client: Any, target: Target, yardstick: Yardstick, caller: Caller, explorer: Explorer) -> None:
    with caller.call("triton binary") as call:
        result = client.infer(MODEL, [data_ids(IDS)], headers=call.headers | target.headers)
    label = result.get_output("label")
    assert label["parameters"]["binary_data_size"] > 0, "binary is what was asked for"
    assert "data" not in label
    check(result, IDS, yardstick)
    check_trace(explorer.wait(call.trace_id, *LOOKUP), target)


@pytest.mark.call("infer `data_id`, JSON")
def test_json(client: Any, target: Target, yardstick: Yardstick, caller: Caller, explorer: Explorer) -> None:
    outputs = wanted(["label", "confidence", "probabilities"], binary=False)
    with caller.call("triton json") as call:
        tensor = data_ids(IDS, binary=False)
        result = client.infer(MODEL, [tensor], outputs=outputs, headers=call.headers | target.headers)
    assert result.get_output("label")["data"] == yardstick(IDS).labels
    check(result, IDS, yardstick)
    check_trace(explorer.wait(call.trace_id, *LOOKUP), target)


@pytest.mark.call("infer `features` FP32 [n, 11]")
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_features(
    client: Any,
    target: Target,
    yardstick: Yardstick,
    wines: list[Wine],
    caller: Caller,
    explorer: Explorer,
    binary: bool,
) -> None:
    """Features of the caller give the same predictions as those of the feature store, without a look-up."""
    chosen = [wine for wine in wines if wine.data_id in IDS]
    with caller.call("triton features") as call:
        result = client.infer(MODEL, [features(chosen, binary)], headers=call.headers | target.headers)
    check(result, IDS, yardstick)
    trace = explorer.wait(call.trace_id, target.service, f"predict {MODEL}")
    assert trace.servers(trace.find(target.service, f"predict {MODEL}")[0]) == target.services[:-1]


@pytest.mark.call("infer, request in gzip or deflate")
@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_compressed_request(
    client: Any,
    target: Target,
    yardstick: Yardstick,
    wines: list[Wine],
    caller: Caller,
    explorer: Explorer,
    algorithm: str,
    binary: bool,
) -> None:
    ids = [wine.data_id for wine in wines[:200]]
    with caller.call(f"triton {algorithm}") as call:
        result = client.infer(
            MODEL,
            [data_ids(ids, binary)],
            headers=call.headers | target.headers,
            request_compression_algorithm=algorithm,
        )
    check(result, ids, yardstick)
    check_trace(explorer.wait(call.trace_id, *LOOKUP), target)


@pytest.mark.call("infer, answer in gzip or deflate")
@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_answer(
    make: Make,
    url: str,
    target: Target,
    yardstick: Yardstick,
    wines: list[Wine],
    capsys: pytest.CaptureFixture[str],
    algorithm: str,
) -> None:
    ids = [wine.data_id for wine in wines[200:400]]
    client = make(urlsplit(url).netloc, True)
    try:
        result = client.infer(MODEL, [data_ids(ids)], headers=target.headers, response_compression_algorithm=algorithm)
    finally:
        client.close()
    check(result, ids, yardstick)
    # A verbose client prints the headers of the answer, which it gives no other access to.
    encoding = re.search(r"content-encoding'(?:,|:) '(\w+)'", capsys.readouterr().out, re.IGNORECASE)
    # A server may ignore the client's preference: the worker in Python knows gzip only.
    assert (encoding and encoding[1]) == (None if target.python and algorithm == "deflate" else algorithm)


@pytest.mark.call("infer, outputs chosen, binary and JSON mixed")
def test_chosen_outputs(client: Any, target: Target, yardstick: Yardstick) -> None:
    outputs = wanted(["probabilities"], binary=True) + wanted(["label"], binary=False)
    result = client.infer(MODEL, [data_ids(IDS)], outputs=outputs, headers=target.headers)
    assert {output["name"] for output in result.get_response()["outputs"]} == {"probabilities", "label"}
    assert result.as_numpy("confidence") is None
    assert result.get_output("label")["data"] == yardstick(IDS).labels
    assert "binary_data_size" in result.get_output("probabilities")["parameters"]
    np.testing.assert_array_equal(
        result.as_numpy("probabilities"), np.array(yardstick(IDS).probabilities, dtype=np.float32)
    )


@pytest.mark.call("infer, request id, version and parameters")
def test_request_id(client: Any, target: Target, yardstick: Yardstick) -> None:
    version = yardstick(IDS).version
    named: dict[str, Any] = {
        "request_id": "order-66",
        "model_version": version,
        "parameters": {"note": "ignored", "n": 1},
    }
    result = client.infer(MODEL, [data_ids(IDS)], headers=target.headers, **named)
    assert result.get_response()["id"] == "order-66"
    check(result, IDS, yardstick)


@pytest.mark.call("infer, one id unknown")
def test_partly_unknown(client: Any, target: Target, yardstick: Yardstick) -> None:
    """The rows that are known are answered; the output `error` comes even when it was not asked for."""
    ids = ["wine-0001", "nobody", "wine-0450"]
    result = client.infer(MODEL, [data_ids(ids)], outputs=wanted(["label"], binary=True), headers=target.headers)
    assert texts(result.as_numpy("error")) == ["", "unknown_entity", ""]
    first, last = yardstick(["wine-0001", "wine-0450"]).labels
    assert texts(result.as_numpy("label")) == [first, "", last]


@pytest.mark.call("trace context by a client plugin")
def test_plugin(client: Any, target: Target, yardstick: Yardstick, caller: Caller, explorer: Explorer) -> None:
    class Propagation(sync_http.InferenceServerClientPlugin):  # type: ignore[misc]
        def __call__(self, request: Any) -> None:
            request.headers.update(call.headers | target.headers)

    client.register_plugin(Propagation())
    with caller.call("triton plugin") as call:
        result = client.infer(MODEL, [data_ids(IDS)])
    client.unregister_plugin()
    check(result, IDS, yardstick)
    check_trace(explorer.wait(call.trace_id, *LOOKUP), target)


@pytest.mark.call("live, ready, model ready")
def test_health(client: Any, target: Target) -> None:
    assert client.is_server_live(headers=target.headers)
    assert client.is_server_ready(headers=target.headers)
    assert client.is_model_ready(MODEL, headers=target.headers)
    assert not client.is_model_ready("nothing", headers=target.headers)
    assert not client.is_model_ready(MODEL, "999", headers=target.headers)


@pytest.mark.call("server and model metadata, config, repository index")
def test_reads(client: Any, url: str, target: Target, yardstick: Yardstick) -> None:
    server = client.get_server_metadata(headers=target.headers)
    assert server["name"] == target.service
    assert "binary_tensor_data" in server["extensions"]
    metadata = client.get_model_metadata(MODEL, headers=target.headers)
    assert metadata == http.get(f"{url}/v2/models/{MODEL}", target.headers).json()
    assert metadata["name"] == MODEL
    version = yardstick(IDS).version
    assert version in metadata["versions"]
    shapes = {
        tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in metadata["inputs"] + metadata["outputs"]
    }
    assert shapes["features"] == ("FP32", [-1, 11])
    assert shapes["data_id"] == ("BYTES", [-1])
    assert shapes["label"] == ("BYTES", [-1])
    assert shapes["confidence"] == ("FP32", [-1])
    assert shapes["probabilities"] == ("FP32", [-1, 2])
    assert client.get_model_metadata(MODEL, version, headers=target.headers)["versions"] == metadata["versions"]
    assert client.get_model_config(MODEL, headers=target.headers)["name"] == MODEL
    index = client.get_model_repository_index(headers=target.headers)
    assert {(entry["name"], entry["version"], entry["state"]) for entry in index} >= {(MODEL, version, "READY")}


REFUSALS: dict[str, tuple[Callable[[Any, dict[str, str]], object], str, str]] = {
    "unknown model": (lambda c, h: c.infer("nothing", [data_ids(IDS)], headers=h), "404", "nothing"),
    "unknown version": (lambda c, h: c.infer(MODEL, [data_ids(IDS)], "999", headers=h), "404", "999"),
    "unknown ids only": (lambda c, h: c.infer(MODEL, [data_ids(["nobody"])], headers=h), "404", "none of the data ids"),
    "bad shape": (lambda c, h: c.infer(MODEL, [wrong_shape()], headers=h), "400", "[n, 11]"),
    "bad datatype": (lambda c, h: c.infer(MODEL, [wrong_type()], headers=h), "400", "FP32"),
    "unknown input": (lambda c, h: c.infer(MODEL, [wrong_name()], headers=h), "400", "data_id"),
    "unknown output": (
        lambda c, h: c.infer(MODEL, [data_ids(IDS)], outputs=wanted(["nothing"], binary=True), headers=h),
        "400",
        "nothing",
    ),
    "metadata of an unknown model": (lambda c, h: c.get_model_metadata("nothing", headers=h), "404", "nothing"),
}


def wrong_shape() -> Any:
    tensor = sync_http.InferInput("features", [1, 3], "FP32")
    return tensor.set_data_from_numpy(np.ones((1, 3), dtype=np.float32))


def wrong_type() -> Any:
    tensor = sync_http.InferInput("features", [1, 11], "BOOL")
    return tensor.set_data_from_numpy(np.ones((1, 11), dtype=np.bool_))


def wrong_name() -> Any:
    tensor = sync_http.InferInput("x", [1], "FP32")
    return tensor.set_data_from_numpy(np.ones(1, dtype=np.float32))


@pytest.mark.call("errors as InferenceServerException")
@pytest.mark.parametrize("refusal", REFUSALS)
def test_refusals(client: Any, target: Target, refusal: str) -> None:
    ask, status, text = REFUSALS[refusal]
    with pytest.raises(InferenceServerException) as caught:
        ask(client, target.headers)
    assert caught.value.status() == status
    assert text in caught.value.message()


@pytest.mark.call("extensions: load and unload where they are allowed; no statistics, shared memory, trace settings")
def test_extensions(client: Any, target: Target) -> None:
    """The server does not claim what it does not have, and a client that tries gets an error message."""
    headers = target.headers

    def refused(status: str, ask: Callable[[], object]) -> None:
        with pytest.raises(InferenceServerException) as caught:
            ask()
        assert caught.value.status() == status
        assert caught.value.message()

    refused("404", lambda: client.get_inference_statistics(MODEL, headers=headers))
    refused("404", lambda: client.get_system_shared_memory_status(headers=headers))
    refused("404", lambda: client.get_trace_settings(MODEL, headers=headers))
    if target.through_gateway or target.python:
        # The gateway does not pass these calls on, and the worker was started without them.
        status = "404" if target.through_gateway else "403"
        refused(status, lambda: client.load_model(MODEL, headers=headers))
        refused(status, lambda: client.unload_model(MODEL, headers=headers))
    else:
        client.load_model(MODEL, headers=headers)
        refused("404", lambda: client.unload_model("no_such_model", headers=headers))


@pytest.mark.call("faults behind the service: 503, and 504 by the client's `timeout`")
def test_faults(client: Any, target: Target) -> None:
    """A failure of the feature store reaches the caller as an error of the protocol, with a message."""

    def infer(fault: str, **named: Any) -> InferenceServerException:
        baggage = ",".join(filter(None, [target.headers.get("baggage"), f"fault=feature-store:{fault}"]))
        with pytest.raises(InferenceServerException) as caught:
            client.infer(MODEL, [data_ids(IDS)], headers={"baggage": baggage}, **named)
        return caught.value

    assert infer("error").status() == "503"
    assert "feature" in infer("drop").message()
    # The protocol's own deadline, in microseconds.
    late = infer("latency:3000", timeout=200_000)
    assert late.status() == "504"


@pytest.mark.call("a variant that does not exist is refused")
def test_unknown_variant(make: Make, system: System, edge: Target) -> None:
    """An unknown variant in the header is an error, not a hint."""
    del edge
    client = make(urlsplit(system.gateway).netloc, False)
    with pytest.raises(InferenceServerException, match="nobody") as caught:
        client.infer(MODEL, [data_ids(IDS)], headers={"baggage": "ml.variant=nobody"})
    client.close()
    assert caught.value.status() == "400"


@pytest.mark.client("tritonclient.http", distribution="tritonclient")
@pytest.mark.call("async_infer, 20 at once")
def test_async_infer(
    system: System, url: str, target: Target, wines: list[Wine], caller: Caller, explorer: Explorer
) -> None:
    """The sync client uses greenlets: each answer belongs to its own request."""
    del system
    client = sync_http.InferenceServerClient(urlsplit(url).netloc, concurrency=20)
    yardstick = Yardstick(url, target)
    ids = [wine.data_id for wine in wines[:20]]
    with caller.call("triton async") as call:
        headers = call.headers | target.headers
        started = [client.async_infer(MODEL, [data_ids([one])], request_id=one, headers=headers) for one in ids]
        for one, answer in zip(ids, started, strict=True):
            result = answer.get_result()
            assert result.get_response()["id"] == one
            check(result, [one], yardstick)
    client.close()
    trace = explorer.wait(call.trace_id, *LOOKUP, count=len(ids))
    assert all(trace.servers(lookup) == target.services for lookup in trace.find(*LOOKUP))
