"""A model server of others, KServe's, as a variant behind the gateway: examples/kserve-server.

The gateway of these tests is one more, beside that of the running system: it has routes of its own.
"""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import http
from harness.caller import Call, Caller
from harness.system import FOREIGN, System
from harness.targets import MODEL
from harness.traces import Explorer, Trace
from harness.wait import until

if TYPE_CHECKING:
    from conftest import Wine

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "kserve-server"
ENVIRONMENT = ROOT / "target" / "clients" / "kserve-server"
SERVICE = "kserve-model-server"
INFER = f"/v2/models/{MODEL}/infer"
# KServe, scikit-learn and the instrumentation are read first.
START_DEADLINE = 120.0
# From wines to their probabilities.
Predict = Callable[[list["Wine"]], list[list[float]]]


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of an environment from the example's lock."""
    run(str(ROOT / ".ci" / "environment"), str(ENVIRONMENT), str(EXAMPLE / "requirements.lock"))
    return ENVIRONMENT / "bin" / "python"


@pytest.fixture(scope="session")
def model(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that the example's training made."""
    folder = tmp_path_factory.mktemp("kserve-model")
    data = ROOT / "data" / "wine_quality" / "winequality-red.csv"
    run(str(python), "-B", str(EXAMPLE / "train.py"), "--data", str(data), "--model-dir", str(folder))
    return folder


@pytest.fixture(scope="session")
def directly(python: Path, model: Path) -> Predict:
    """The probabilities of wines by the model called directly, without any server."""
    program = (
        "import json, sys, joblib, numpy as np;"
        "rows = np.array(json.load(sys.stdin), dtype=np.float32).astype(np.float64);"
        "print(json.dumps(joblib.load(sys.argv[1]).predict_proba(rows).tolist()))"
    )

    def predict(wines: list["Wine"]) -> list[list[float]]:
        rows = json.dumps([list(wine.features.values()) for wine in wines])
        answer = run(str(python), "-c", program, str(model / "model.joblib"), stdin=rows)
        probabilities: list[list[float]] = json.loads(answer)
        return probabilities

    return predict


@pytest.fixture(scope="module")
def kserve(python: Path, model: Path, system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server, traced without a line of code."""
    with serving(python, model, system, tmp_path_factory.mktemp("kserve")) as (url, _):
        yield url


@pytest.fixture(scope="module")
def gateway(kserve: str, system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway with the server as a variant that has no traffic of its own."""
    with routing(system, kserve, "weight = 0", tmp_path_factory.mktemp("gateway")) as url:
        yield url


def run(*command: str, stdin: str | None = None, folder: Path | None = None) -> str:
    """Run a program to its end."""
    ran = subprocess.run(  # noqa: S603 - the example and its tools
        command, input=stdin, cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout


@contextmanager
def started(
    command: list[str], settings: Mapping[str, str], log: Path, listening: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Start a server, wait for the line of its log with the address, and stop it in the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the programs under test
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**environment, **settings}
        )

    def address() -> str | None:
        found = re.search(listening, log.read_text())
        assert found or process.poll() is None, f"{command} ended:\n{log.read_text()}"
        return found and found[1]

    try:
        yield until(f"{command[0]} listens", address, START_DEADLINE), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def serving(python: Path, model: Path, system: System, folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Start the example as its README says, on a free port."""
    lines = (EXAMPLE / "instrumentation.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings |= {"OTEL_EXPORTER_OTLP_ENDPOINT": system.otlp, "PYTHONPYCACHEPREFIX": str(ENVIRONMENT / "pycache")}
    settings |= {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100"}
    command = [str(python.parent / "opentelemetry-instrument"), str(python), str(EXAMPLE / "server.py")]
    command += ["--http_port", "0", "--log_config_file", str(EXAMPLE / "log.yaml")]
    command += ["--model-dir", str(model), "--feature-store", system.feature_store]
    with started(command, settings, folder / "log", r"Uvicorn running on http://0\.0\.0\.0:(\d+)") as (port, process):
        yield f"http://127.0.0.1:{port}", process


@contextmanager
def routing(system: System, kserve: str, rule: str, folder: Path) -> Iterator[str]:
    """Start a gateway whose variants are the system's model service and, with `rule`, the server."""
    routes = folder / "routes.toml"
    routes.write_text(f"""
        [[models.{MODEL}.variants]]
        name = "primary"
        weight = 1
        [[models.{MODEL}.variants]]
        name = "kserve"
        url = "{kserve}"
        {rule}
    """)
    binary = os.environ.get("THROUGHLINE_BIN", str(ROOT / "target" / "debug" / "throughline"))
    command = [binary, "gateway", "--listen", "127.0.0.1:0", "--model-service", system.model_service]
    command += ["--prediction-store", f"sqlite:{folder}/predictions.db", "--routes", str(routes)]
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": system.otlp, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    settings["OTEL_BLRP_SCHEDULE_DELAY"] = "100"
    with started(command, settings, folder / "log", r'"url":"(http://[^"]+)"') as (url, _):
        until("the gateway is ready", lambda: http.get(f"{url}/readyz").status == 200 or None)
        yield url


def ask(gateway: str, data_ids: list[str], call: Call | None = None, *, force: str | None = "kserve") -> http.Answer:
    """Ask the gateway for predictions of a variant."""
    headers = dict(call.headers) if call else {}
    if force is not None:
        headers["baggage"] = f"ml.variant={force}"
    return http.post(f"{gateway}/v1/predictions", {"model": MODEL, "data_ids": data_ids}, headers)


def passed(trace: Trace, name: str = "POST /get-online-features") -> list[list[str]]:
    """Return the services on the way to each of the feature store's spans."""
    return [trace.servers(span) for span in trace.find("feature-store", name)]


def logs(explorer: Explorer, trace_id: str, event: str) -> list[dict[str, Any]]:
    """Return the attributes of the log events of a trace, once there is one."""

    def probe() -> list[dict[str, Any]] | None:
        records = http.get(f"{explorer.url}/api/logs?trace_id={trace_id}").json()["logs"]
        return [record["attributes"] for record in records if record.get("event_name") == event] or None

    return until(f"trace {trace_id} has a log event {event}", probe)


def links(explorer: Explorer, trace_id: str) -> list[dict[str, Any]]:
    """Return the links of all spans of a trace."""
    document = http.get(f"{explorer.url}/api/traces/{trace_id}").json()
    scopes = [scope for resource in document["resourceSpans"] for scope in resource["scopeSpans"]]
    return [link for scope in scopes for span in scope["spans"] for link in span.get("links", [])]


def test_it_is_clean() -> None:
    """The example is held to the rules of these tests."""
    ruff, rules = str(Path(sys.executable).with_name("ruff")), str(Path(__file__).with_name("pyproject.toml"))
    run(ruff, "check", "--no-cache", "--config", rules, ".", folder=EXAMPLE)
    run(ruff, "format", "--no-cache", "--config", rules, "--check", ".", folder=EXAMPLE)


def test_a_miss_is_the_models_own_answer_in_one_trace(
    gateway: str,
    caller: Caller,
    explorer: Explorer,
    wines: list["Wine"],
    directly: Predict,
) -> None:
    """Values as the model called directly gives them; client, gateway, KServe and feature store share a trace."""
    asked = wines[:20]
    with caller.call("kserve, a miss") as call:
        answer = ask(gateway, [wine.data_id for wine in asked], call)

    assert answer.status == 200, answer.body
    assert answer.headers["cache-status"] == "throughline; fwd=miss; stored"
    for entry, wine, probabilities in zip(answer.json()["predictions"], asked, directly(asked), strict=True):
        assert (entry["data_id"], entry["variant"], entry["cached"]) == (wine.data_id, "kserve", False)
        assert entry["probabilities"] == pytest.approx(probabilities, abs=1e-6)
        assert entry["confidence"] == pytest.approx(max(probabilities), abs=1e-6)
        assert entry["label"] == ("low", "high")[probabilities.index(max(probabilities))]
        assert (entry["model_version"], entry["run_id"]) == ("", None)
    trace = explorer.wait(call.trace_id, "feature-store", "POST /get-online-features")
    assert passed(trace) == [["gateway", SERVICE, "feature-store"]]
    (server,) = trace.find(SERVICE, f"POST {INFER.replace(MODEL, '{model_name}')}")
    assert (server.kind, server.attributes["http.response.status_code"]) == ("SERVER", 200)
    assert [span.kind for span in trace.find(SERVICE, "POST")] == ["CLIENT"]
    (sent,) = trace.find("gateway", "POST")
    assert server.parent_id == sent.span_id
    (edge,) = trace.find("gateway", "POST /v1/predictions")
    # KServe names no span of its own, so the link points to the request that caused the computation.
    computed_by = {"trace_id": call.trace_id, "span_id": edge.span_id}
    assert all(entry["computed_by"] == computed_by for entry in answer.json()["predictions"])
    assert (edge.attributes["ml.model_name"], edge.attributes["ml.variant"]) == (MODEL, "kserve")


def test_the_gateway_caches_for_it(gateway: str, caller: Caller, explorer: Explorer) -> None:
    """The second request is a hit without a call; a request for another variant is not."""
    first = ask(gateway, ["wine-0101", "wine-0102"]).json()["predictions"]
    with caller.call("kserve, a hit") as call:
        answer = ask(gateway, ["wine-0101", "wine-0102"], call)
    other = ask(gateway, ["wine-0101"], force="primary")

    assert answer.headers["cache-status"] == "throughline; hit"
    assert answer.json()["predictions"] == [{**entry, "cached": True} for entry in first]
    trace = explorer.wait(call.trace_id, "gateway", "POST /v1/predictions")
    assert SERVICE not in trace.services()
    (link,) = links(explorer, call.trace_id)
    assert {"trace_id": link["traceId"], "span_id": link["spanId"]} == first[0]["computed_by"]
    (entry,) = other.json()["predictions"]
    assert (entry["variant"], entry["cached"]) == ("primary", False)


def test_the_choice_is_an_event(gateway: str, caller: Caller, explorer: Explorer) -> None:
    """A forced variant is logged by the conventions for feature flags."""
    with caller.call("kserve, forced") as call:
        assert ask(gateway, ["wine-0103"], call).status == 200
    (event,) = logs(explorer, call.trace_id, "feature_flag.evaluation")
    assert event["feature_flag.key"] == MODEL
    assert event["feature_flag.result.variant"] == "kserve"
    assert event["feature_flag.result.reason"] == "targeting_match"


def test_without_weight_it_gets_no_traffic(gateway: str) -> None:
    """Only a request that forces the variant gets it."""
    entries = ask(gateway, [f"wine-{number:04}" for number in range(201, 301)], force=None).json()["predictions"]
    assert {entry["variant"] for entry in entries} == {"primary"}


def test_an_unknown_wine_leaves_the_others(gateway: str) -> None:
    """A row that fails is an entry with an error; if all fail it is the status of the answer."""
    good, bad = ask(gateway, ["wine-0104", "nobody's"]).json()["predictions"]
    assert good["label"] in ("low", "high")
    assert bad["error"]["code"] == "unknown_entity"
    none = ask(gateway, ["nobody's"])
    assert (none.status, none.json()["code"]) == (404, "unknown_entity")


READS = ["", "/ready", "/versions/1", "/versions/1/ready", "/config"]


@pytest.mark.parametrize("path", READS)
def test_reads_of_the_model_pass_through_as_they_are(gateway: str, kserve: str, path: str) -> None:
    """The forced variant answers them, byte for byte, errors too."""
    path = f"/v2/models/{MODEL}{path}"
    through, direct = http.get(f"{gateway}{path}", {"baggage": "ml.variant=kserve"}), http.get(f"{kserve}{path}")
    assert (through.status, through.headers["content-type"]) == (direct.status, direct.headers["content-type"])
    assert through.body == direct.body


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models"])
def test_reads_of_the_server_pass_through_too(gateway: str, kserve: str, path: str) -> None:
    """A client that forces the variant gets the metadata of its server, without KServe's redirect of /v2/."""
    through, direct = (
        http.get(f"{gateway}{path}", {"baggage": "ml.variant=kserve"}),
        http.get(kserve + path.rstrip("/")),
    )
    assert (through.status, through.body) == (200, direct.body)


@pytest.mark.parametrize(
    "more",
    [{}, {"parameters": {"binary_data_output": True}}, {"outputs": [{"name": "label"}]}, {"outputs": [{"name": "no"}]}],
    ids=["json", "binary", "one output", "an output that is not"],
)
def test_inference_passes_through_as_it_is(gateway: str, kserve: str, more: dict[str, Any]) -> None:
    """Bodies are not touched, binary ones with the header that splits them."""
    tensor = {"name": "data_id", "datatype": "BYTES", "shape": [2], "data": ["wine-0105", "wine-0106"]}
    body = {"id": "same", "inputs": [tensor], **more}
    direct = http.post(f"{kserve}{INFER}", body)
    through = http.post(f"{gateway}{INFER}", body, {"baggage": "ml.variant=kserve"})
    length = "inference-header-content-length"
    assert (through.status, through.body) == (direct.status, direct.body)
    assert through.headers.get(length) == direct.headers.get(length)
    assert (length in through.headers) == ("parameters" in more)


def test_beside_the_primary_it_is_compared_and_never_answers(
    kserve: str, system: System, caller: Caller, explorer: Explorer, tmp_path: Path
) -> None:
    """As a shadow it computes the same ids in the same trace, and the gateway counts how often both agree."""
    data_ids = [f"wine-{number:04}" for number in range(301, 321)]
    with routing(system, kserve, 'mode = "shadow"', tmp_path) as gateway:
        with caller.call("kserve, a shadow") as call:
            answer = ask(gateway, data_ids, call, force=None)
        assert {entry["variant"] for entry in answer.json()["predictions"]} == {"primary"}
        trace = explorer.wait(call.trace_id, SERVICE, f"POST {INFER.replace(MODEL, '{model_name}')}")
        trace = explorer.wait(call.trace_id, "feature-store", "POST /get-online-features", count=2)
        assert sorted(passed(trace)) == [
            ["gateway", SERVICE, "feature-store"],
            ["gateway", "model-service", "feature-store"],
        ]
        agreement = until("the variants are compared", lambda: compared(gateway, len(data_ids)))
    shadow = {entry["data_id"]: entry["label"] for entry in infer(kserve, data_ids)}
    agreed = sum(shadow[entry["data_id"]] == entry["label"] for entry in answer.json()["predictions"])
    assert (agreement["pairs"], agreement["agreed"]) == (len(data_ids), agreed)
    assert agreement["interval95"][0] <= agreement["share"] <= agreement["interval95"][1]


def compared(gateway: str, pairs: int) -> dict[str, Any] | None:
    """Return the agreement of the shadow with the primary once it covers `pairs`."""
    (entry,) = (model for model in http.get(f"{gateway}/v1/models").json()["models"] if model["name"] == MODEL)
    (shadow,) = (variant for variant in entry["variants"] if variant["name"] == "kserve")
    assert shadow["mode"] == "shadow"
    agreement: dict[str, Any] | None = shadow["statistics"]["agreement"]
    return agreement if agreement is not None and agreement["pairs"] >= pairs else None


def infer(url: str, data_ids: list[str]) -> list[dict[str, str]]:
    """Return the labels that a server gives to ids by plain JSON."""
    tensor = {"name": "data_id", "datatype": "BYTES", "shape": [len(data_ids)], "data": data_ids}
    outputs = http.post(f"{url}{INFER}", {"inputs": [tensor]}).json()["outputs"]
    (labels,) = (output["data"] for output in outputs if output["name"] == "label")
    return [{"data_id": data_id, "label": label} for data_id, label in zip(data_ids, labels, strict=True)]


def test_when_it_is_gone_the_cause_is_logged_and_the_primary_answers(
    python: Path, model: Path, system: System, caller: Caller, explorer: Explorer, tmp_path: Path
) -> None:
    """A killed server: a clean error, its cause in the trace, stored predictions and the other variant still there."""
    (folder := tmp_path / "kserve").mkdir()
    with (
        serving(python, model, system, folder) as (kserve, process),
        routing(system, kserve, "weight = 0", tmp_path) as gateway,
    ):
        assert ask(gateway, ["wine-0401"]).status == 200
        process.kill()
        process.wait()
        with caller.call("kserve, gone") as call:
            gone = ask(gateway, ["wine-0402"], call)
        stored, primary = ask(gateway, ["wine-0401"]), ask(gateway, ["wine-0402"], force=None)

    assert (gone.status, gone.headers["content-type"]) == (503, "application/problem+json")
    assert (gone.json()["code"], gone.json()["trace_id"]) == ("model_unavailable", call.trace_id)
    assert "retry-after" in gone.headers
    trace = explorer.wait(call.trace_id, "gateway", "POST /v1/predictions")
    (edge,) = trace.find("gateway", "POST /v1/predictions")
    assert edge.failed
    assert edge.attributes["error.type"] == "model_unavailable"
    stack_traces = " ".join(event["exception.stacktrace"] for event in logs(explorer, call.trace_id, "exception"))
    assert "the model service cannot be reached" in stack_traces
    assert "Connection refused" in stack_traces
    (entry,) = stored.json()["predictions"]
    assert (entry["variant"], entry["cached"]) == ("kserve", True)
    (entry,) = primary.json()["predictions"]
    assert (entry["variant"], entry["cached"]) == ("primary", False)


TENSOR = {"name": "data_id", "datatype": "BYTES", "shape": [1], "data": ["wine-0001"]}


@pytest.mark.parametrize(
    ("body", "status", "key"),
    [
        ({"parameters": {"timeout": 500_000, "variant": "x"}, "inputs": [TENSOR]}, 200, "outputs"),
        ({"inputs": [TENSOR], "outputs": [{"name": "no"}]}, 400, "error"),
        ({"inputs": []}, 400, "error"),
        ({"inputs": [{**TENSOR, "shape": [0], "data": []}]}, 400, "error"),
        ({"inputs": [{**TENSOR, "name": "x"}]}, 400, "error"),
        ({"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 11], "data": [1]}]}, 400, "error"),
        # A message of FastAPI, not of the protocol.
        ({"inputs": [{"name": "data_id", "datatype": "BYTES", "data": ["wine-0001"]}]}, 422, "detail"),
        ({"parameters": {"timeout": None}, "inputs": [TENSOR]}, 422, "detail"),
        (b"{", 422, "detail"),
    ],
)
def test_what_kserve_answers(kserve: str, body: object, status: int, key: str) -> None:
    """Statuses and forms of errors are as the README of the example describes them."""
    answer = http.post(f"{kserve}{INFER}", body)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json"), answer.body
    assert key in answer.json()


def test_what_kserve_does_not_read(kserve: str) -> None:
    """Compression, JSON of another content type, and binary tensors that are too short."""
    body = json.dumps({"inputs": [TENSOR]}).encode()
    compressed = http.post(f"{kserve}{INFER}", gzip.compress(body), {"content-encoding": "gzip"})
    assert (compressed.status, compressed.json()) == (400, {"detail": "There was an error parsing the body"})
    text = http.post(f"{kserve}{INFER}", body, {"content-type": "text/plain"})
    assert text.status == 400
    assert "header is missing" in text.json()["error"]
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 11], "parameters": {"binary_data_size": 44}}
    body = json.dumps({"inputs": [tensor]}).encode()
    binary = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(body))}
    assert http.post(f"{kserve}{INFER}", body + bytes(44), binary).status == 200
    short = http.post(f"{kserve}{INFER}", body + bytes(10), binary)
    assert short.status == 500
    assert short.json()["error"].startswith("ValueError")


def test_what_kserve_leaves_out(kserve: str) -> None:
    """No versions anywhere, nulls where the protocol says optional, and an id even if none was given."""
    metadata = http.get(f"{kserve}/v2/models/{MODEL}").json()
    assert (metadata["versions"], metadata["platform"]) == (None, "")
    answer = http.post(f"{kserve}{INFER}", {"inputs": [TENSOR]}).json()
    assert (answer["model_version"], answer["parameters"]) == (None, None)
    assert all(output["parameters"] is None for output in answer["outputs"])
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["id"])
    version = http.post(f"{kserve}/v2/models/{MODEL}/versions/1/infer", {"inputs": [TENSOR]})
    assert (version.status, version.json()) == (501, {"error": "Model versioning not supported yet."})
    assert http.get(f"{kserve}/v2/").status == 307
    for missing in (http.get(f"{kserve}/v2/models/{MODEL}/config"), http.post(f"{kserve}/v2/repository/index", {})):
        assert (missing.status, missing.json()) == (404, {"detail": "Not Found"})
    unknown = http.get(f"{kserve}/v2/models/nonsense")
    assert (unknown.status, unknown.json()) == (404, {"error": "Model with name nonsense does not exist."})


def test_a_feature_store_that_is_away_is_a_503(
    python: Path, model: Path, system: System, caller: Caller, explorer: Explorer, tmp_path: Path
) -> None:
    """The answer has a status that a client may retry, the trace has the cause, and other rows are still predicted."""
    nowhere = System(**{**vars(system), "feature_store": "http://127.0.0.1:9"})
    row = {"name": "features", "datatype": "FP32", "shape": [1, 11], "data": [7.4] * 11}
    with serving(python, model, nowhere, tmp_path) as (kserve, _):
        with caller.call("kserve, no features") as call:
            by_id = http.post(f"{kserve}{INFER}", {"inputs": [TENSOR]}, call.headers)
        by_features = http.post(f"{kserve}{INFER}", {"inputs": [row]})
        trace = explorer.wait(call.trace_id, SERVICE, "POST")
        records = until("the exception is logged", lambda: raised(explorer, call.trace_id))
    assert by_id.status == 503
    assert "The feature store does not answer: ConnectError" in by_id.json()["error"]
    assert by_features.status == 200
    (lookup,) = trace.find(SERVICE, "POST")
    assert (lookup.kind, lookup.failed) == ("CLIENT", True)
    assert lookup.attributes["error.type"].endswith("ConnectError")
    assert all("ModelNotReady" in record["exception.stacktrace"] for record in records)


def raised(explorer: Explorer, trace_id: str) -> list[dict[str, Any]] | None:
    """Return the attributes of the log records of a trace that hold an exception, if there is one."""
    records = [
        record["attributes"] for record in http.get(f"{explorer.url}/api/logs?trace_id={trace_id}").json()["logs"]
    ]
    return [record for record in records if "exception.stacktrace" in record] or None
