"""curl: no library, no instrumentation, the trace context by hand."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import Wine, Yardstick
from harness.caller import Caller
from harness.system import System
from harness.targets import MODEL, Target
from harness.traces import Explorer

LOOKUP = ("feature-store", "POST /get-online-features")


def run(*arguments: str) -> str:
    program = shutil.which("curl")
    assert program is not None, "curl is not installed"
    words = [program, "--silent", "--show-error", "--max-time", "20", *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout  # noqa: S603


# Not pinned: the one of the machine is used.
pytestmark = pytest.mark.client("curl", version="the system's", against="feature store")


def curl(*arguments: str, headers: dict[str, str]) -> tuple[Any, dict[str, list[str]]]:
    """The answer's JSON and headers. Without `-H content-type` curl sends that of a form, which the services accept."""
    given = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    body, _, written = run(*given, "--write-out", "\n%{header_json}", *arguments).rpartition("\n{")
    return json.loads(body), json.loads("{" + written)


@pytest.mark.call("POST …/infer with `traceparent`")
def test_infer(url: str, target: Target, yardstick: Yardstick, caller: Caller, explorer: Explorer) -> None:
    body = '{"inputs":[{"name":"data_id","datatype":"BYTES","shape":[1],"data":["wine-0021"]}]}'
    with caller.call("curl infer") as call:
        answer, headers = curl("-d", body, f"{url}/v2/models/{MODEL}/infer", headers=call.headers | target.headers)
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    expected = yardstick(["wine-0021"])
    assert outputs == {
        "label": expected.labels,
        "confidence": expected.confidences,
        "probabilities": expected.probabilities[0],
    }
    assert call.trace_id in headers["traceresponse"][0]
    trace = explorer.wait(call.trace_id, *LOOKUP)
    (lookup,) = trace.find(*LOOKUP)
    assert trace.servers(lookup) == target.services
    assert trace.services() == {"client", *target.services}


@pytest.mark.call("POST …/infer with `--compressed`, body in gzip")
def test_compressed(url: str, target: Target, yardstick: Yardstick, wines: list[Wine], tmp_path: Path) -> None:
    ids = [wine.data_id for wine in wines[400:600]]
    tensor = {"name": "data_id", "datatype": "BYTES", "shape": [len(ids)], "data": ids}
    packed = tmp_path / "request.json.gz"
    packed.write_bytes(gzip.compress(json.dumps({"inputs": [tensor]}).encode()))
    sent = target.headers | {"content-encoding": "gzip"}
    address = f"{url}/v2/models/{MODEL}/infer"
    answer, headers = curl("--compressed", "--data-binary", f"@{packed}", address, headers=sent)
    assert headers["content-encoding"] == ["gzip"]
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    expected = yardstick(ids)
    assert (outputs["label"], outputs["confidence"]) == (expected.labels, expected.confidences)


@pytest.mark.call("POST /v1/predictions with `traceparent`, body in gzip")
def test_predictions(system: System, edge: Target, caller: Caller, explorer: Explorer, tmp_path: Path) -> None:
    packed = tmp_path / "request.json.gz"
    packed.write_bytes(gzip.compress(json.dumps({"model": MODEL, "data_ids": ["wine-0022"]}).encode()))
    with caller.call("curl predictions") as call:
        sent = call.headers | edge.headers | {"content-encoding": "gzip", "cache-control": "no-cache"}
        sent["content-type"] = "application/json"
        address = f"{system.gateway}/v1/predictions"
        answer, _ = curl("--compressed", "--data-binary", f"@{packed}", address, headers=sent)
    (prediction,) = answer["predictions"]
    assert prediction["confidence"] == max(prediction["probabilities"])
    assert prediction["computed_by"]["trace_id"] == call.trace_id
    trace = explorer.wait(call.trace_id, *LOOKUP)
    assert trace.servers(trace.find(*LOOKUP)[0]) == edge.services


@pytest.mark.call("POST /get-online-features, as Feast's documentation has it")
def test_features(system: System, wines: list[Wine], caller: Caller, explorer: Explorer) -> None:
    body = {"features": ["wine_features:alcohol"], "entities": {"wine_id": ["wine-0023", "nobody"]}}
    with caller.call("curl features") as call:
        address = f"{system.feature_store}/get-online-features"
        answer, _ = curl("-d", json.dumps(body), address, headers=call.headers)
    names = answer["metadata"]["feature_names"]
    columns = dict(zip(names, answer["results"], strict=True))
    assert columns["alcohol"]["values"] == [wines[22].features["alcohol"], None]
    assert columns["alcohol"]["statuses"] == ["PRESENT", "NOT_FOUND"]
    assert explorer.wait(call.trace_id, *LOOKUP).services() == {"client", "feature-store"}
