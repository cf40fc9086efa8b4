"""requests and httpx, which most Python programs use, traced by OpenTelemetry's instrumentations alone."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from typing import Any

import httpx
import pytest
import requests
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor

from harness.caller import Call, Caller
from harness.system import System
from harness.targets import MODEL, Target
from harness.traces import Explorer, Trace

LOOKUP = ("feature-store", "POST /get-online-features")
TIMEOUT = 60

# From method, URL, JSON and headers to the answer of either library.
Send = Callable[[str, str, Any, Mapping[str, str]], Any]


def by_requests(method: str, url: str, body: Any, headers: Mapping[str, str]) -> requests.Response:
    return requests.request(method, url, json=body, headers=headers, timeout=TIMEOUT)


def by_httpx(method: str, url: str, body: Any, headers: Mapping[str, str]) -> httpx.Response:
    with httpx.Client(timeout=TIMEOUT) as client:
        return client.request(method, url, json=body, headers=headers)


def by_async_httpx(method: str, url: str, body: Any, headers: Mapping[str, str]) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            return await client.request(method, url, json=body, headers=headers)

    with asyncio.Runner() as runner:
        return runner.run(send(), context=copy_context())


def caller_of(name: str, distribution: str) -> pytest.MarkDecorator:
    return pytest.mark.client(name, distribution=distribution, against="gateway")


@pytest.fixture(
    params=[
        pytest.param((by_requests, RequestsInstrumentor), id="requests", marks=caller_of("requests", "requests")),
        pytest.param((by_httpx, HTTPXClientInstrumentor), id="httpx", marks=caller_of("httpx", "httpx")),
        pytest.param(
            (by_async_httpx, HTTPXClientInstrumentor), id="async-httpx", marks=caller_of("httpx, AsyncClient", "httpx")
        ),
    ]
)
def send(request: pytest.FixtureRequest, caller: Caller) -> Iterator[Send]:
    """Sends by an HTTP library that its instrumentation traces."""
    del caller
    by, instrumentor = request.param
    instrumentor().instrument()
    yield by
    instrumentor().uninstrument()


def check_trace(trace: Trace, call: Call, services: list[str]) -> None:
    """One trace, from the caller's span through its CLIENT span, which its instrumentation made, to the features."""
    (lookup,) = trace.find(*LOOKUP)
    assert trace.servers(lookup) == services
    assert trace.services() == {"client", *services}
    (sent,) = [span for span in trace.spans if span.service == "client" and span.kind == "CLIENT"]
    (served,) = [span for span in trace.spans if span.service == "gateway" and span.kind == "SERVER"]
    assert (sent.parent_id, served.parent_id) == (call.span_id, sent.span_id)


@pytest.mark.call("POST /v1/predictions: a miss, then a hit with its link")
def test_predictions(send: Send, system: System, edge: Target, caller: Caller, explorer: Explorer) -> None:
    url = f"{system.gateway}/v1/predictions"
    body = {"model": MODEL, "data_ids": ["wine-0011", "wine-0012"]}
    with caller.call("miss") as miss:
        # The flags of a root of this SDK: sampled, and with a random id (W3C trace context, level 2).
        assert miss.headers["traceparent"].endswith("-03")
        computed = send("POST", url, body, edge.headers | {"cache-control": "no-cache"})
    assert computed.status_code == 200
    first = computed.json()["predictions"]
    assert [entry["data_id"] for entry in first] == body["data_ids"]
    assert not any(entry["cached"] for entry in first)
    assert {entry["computed_by"]["trace_id"] for entry in first} == {miss.trace_id}
    assert miss.trace_id in computed.headers["traceresponse"]
    check_trace(explorer.wait(miss.trace_id, *LOOKUP), miss, edge.services)

    with caller.call("hit") as hit:
        stored = send("POST", url, body, edge.headers)
    second = stored.json()["predictions"]
    assert [{**entry, "cached": False} for entry in second] == first
    assert all(entry["cached"] for entry in second)
    trace = explorer.wait(hit.trace_id, "gateway", "POST /v1/predictions")
    (served,) = trace.find("gateway", "POST /v1/predictions")
    assert (first[0]["computed_by"]["trace_id"], first[0]["computed_by"]["span_id"]) in served.links
    assert trace.services() == {"client", "gateway"}


@pytest.mark.call("GET /v1/predictions/{model}/{data_id}")
def test_one_prediction(send: Send, system: System, edge: Target, caller: Caller, explorer: Explorer) -> None:
    url = f"{system.gateway}/v1/predictions/{MODEL}/wine-0013"
    with caller.call("one") as call:
        answer = send("GET", url, None, edge.headers | {"cache-control": "no-cache"})
    prediction = answer.json()
    assert prediction["label"] in ("low", "high")
    assert prediction["confidence"] == max(prediction["probabilities"])
    assert prediction["computed_by"]["trace_id"] == call.trace_id
    check_trace(explorer.wait(call.trace_id, *LOOKUP), call, edge.services)


@pytest.mark.call("search, GET /v1/predictions")
def test_search(send: Send, system: System, edge: Target) -> None:
    url = f"{system.gateway}/v1/predictions"
    wanted = send("GET", f"{url}/{MODEL}/wine-0014", None, edge.headers).json()
    asked = f"{url}?model={MODEL}&label={wanted['label']}&limit=1000"
    found = send("GET", asked, None, {}).json()["predictions"]
    assert {entry["label"] for entry in found} == {wanted["label"]}
    assert {**wanted, "cached": True} in found


@pytest.mark.call("POST /v2/models/{model}/infer")
def test_infer(send: Send, system: System, edge: Target, caller: Caller, explorer: Explorer) -> None:
    ids = ["wine-0015", "wine-0016"]
    body = {"inputs": [{"name": "data_id", "datatype": "BYTES", "shape": [2], "data": ids}]}
    with caller.call("infer") as call:
        answer = send("POST", f"{system.gateway}/v2/models/{MODEL}/infer", body, edge.headers)
    assert answer.status_code == 200
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    predictions = send("POST", f"{system.gateway}/v1/predictions", {"model": MODEL, "data_ids": ids}, edge.headers)
    entries = predictions.json()["predictions"]
    assert outputs["label"] == [entry["label"] for entry in entries]
    assert outputs["confidence"] == pytest.approx([entry["confidence"] for entry in entries], rel=1e-6)
    check_trace(explorer.wait(call.trace_id, *LOOKUP), call, edge.services)


@pytest.mark.call("errors: RFC 9457 and the trace id")
def test_errors(send: Send, system: System, edge: Target, caller: Caller) -> None:
    cases = [
        ("POST", "/v1/predictions", {"model": "nothing", "data_ids": ["x"]}, 404, "unknown_model"),
        ("POST", "/v1/predictions", {"model": MODEL, "data_ids": ["nobody"]}, 404, "unknown_entity"),
        ("POST", "/v1/predictions", {"model": MODEL}, 422, None),
        ("GET", f"/v1/predictions/{MODEL}/nobody", None, 404, "unknown_entity"),
    ]
    for method, path, body, status, code in cases:
        with caller.call("error") as call:
            answer = send(method, system.gateway + path, body, edge.headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), path
        problem = answer.json()
        assert problem["status"] == status
        assert problem["trace_id"] == call.trace_id
        assert code in (None, problem["code"])
