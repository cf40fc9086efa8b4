"""The telemetry of the service under `opentelemetry-instrument`, at a real OTLP receiver."""

from __future__ import annotations

import functools
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import NOWHERE
from harness import (
    BINARY,
    DATA,
    DEADLINE,
    FIRST_WINE,
    HELP,
    Client,
    Process,
    binary,
    by_features,
    by_ids,
    eventually,
    fill,
    outputs,
    running,
    worker_command,
)
from test_limits import StubStore
from test_limits import store as store  # noqa: PLC0414 # fixtures
from test_limits import stub as stub  # noqa: PLC0414

from throughline_worker import __version__
from throughline_worker.repository import Manifest

pytestmark = pytest.mark.skipif(BINARY is None, reason=HELP)

INFER = "POST /v2/models/{model_name}/infer"
ENVIRONMENT = Path(__file__).parents[1] / "instrumentation.env"
# The Python of an environment with the plain distro, from requirements-distro.lock.
DISTRO = os.environ.get("THROUGHLINE_DISTRO_PYTHON")

# The whole trace of a lookup by the id of one entity, with what the instrumentation adds: names,
# kinds and parents.
TREE = f"""
{INFER} SERVER model-service-python
  {INFER} http receive INTERNAL model-service-python
  POST CLIENT model-service-python
    POST /get-online-features SERVER feature-store
  predict wine_quality INTERNAL model-service-python
    preprocess_input INTERNAL model-service-python
    model_inference INTERNAL model-service-python
    postprocess_output INTERNAL model-service-python
  {INFER} http send INTERNAL model-service-python
  {INFER} http send INTERNAL model-service-python
"""


def instrumentation(endpoint: str) -> dict[str, str]:
    """The shipped environment, with faster exports."""
    lines = [
        line for line in ENVIRONMENT.read_text().splitlines() if line and not line.startswith("#")
    ]
    shipped = dict(line.split("=", 1) for line in lines)
    faster = {
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }
    return {**shipped, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **faster}


def wrapped(command: list[str], python: str = sys.executable) -> list[str]:
    """A command under `opentelemetry-instrument`, of this or of another environment."""
    return [str(Path(python).parent / "opentelemetry-instrument"), python, *command[1:]]


@dataclass(frozen=True)
class Explorer:
    """The receiver of the telemetry."""

    process: Process

    @property
    def endpoint(self) -> str:
        """Its OTLP endpoint."""
        url: str = self.process.event("explorer.otlp_listening")["url"]
        return url

    def get(self, path: str) -> Any:
        """The body of a read; `None` if it is not found."""
        answer = httpx.get(self.process.url + path, timeout=DEADLINE)
        return answer.json() if answer.status_code == 200 else None

    def spans(self, trace_id: str, count: int) -> list[dict[str, Any]]:
        """Waits for so many spans of a trace; with resource and scope."""

        def whole() -> list[dict[str, Any]]:
            found = []
            for resource in (self.get(f"/api/traces/{trace_id}") or {}).get("resourceSpans", []):
                of = attributes(resource["resource"])
                for scope in resource["scopeSpans"]:
                    found += [
                        {**span, "resource": of, "scope": scope["scope"]["name"]}
                        for span in scope["spans"]
                    ]
            return found if len(found) >= count else []

        return eventually(whole, f"{count} spans of {trace_id}")

    def logs(self, trace_id: str) -> list[dict[str, Any]]:
        """Waits for log records of a trace."""
        return eventually(
            lambda: (self.get(f"/api/logs?trace_id={trace_id}") or {}).get("logs"), "log records"
        )


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in of.get("attributes", [])}


def named(
    spans: list[dict[str, Any]], name: str, service: str = "model-service-python"
) -> dict[str, Any]:
    found = [
        span
        for span in spans
        if span["name"] == name and span["resource"]["service.name"] == service
    ]
    assert len(found) == 1, [span["name"] for span in spans]
    return found[0]


def tree(spans: list[dict[str, Any]]) -> str:
    kinds = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT"}
    ids = {span["spanId"] for span in spans}

    def lines(parent: str | None, depth: int) -> Iterator[str]:
        for span in sorted(spans, key=lambda span: int(span["startTimeUnixNano"])):
            own = span.get("parentSpanId")
            if (own if own in ids else None) == parent:
                name, kind = span["name"], kinds[span["kind"]]
                yield f"{'  ' * depth}{name} {kind} {span['resource']['service.name']}"
                yield from lines(span["spanId"], depth + 1)

    return "\n" + "\n".join(lines(None, 0)) + "\n"


def caller(flags: str = "01") -> tuple[str, dict[str, str]]:
    """A trace id for one test, and the headers with it."""
    trace_id = secrets.token_hex(16)
    return trace_id, {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"}


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    with running(
        [binary(), "explorer", "--listen", "127.0.0.1:0", "--otlp-listen", "127.0.0.1:0"]
    ) as process:
        yield Explorer(process)


@pytest.fixture(scope="module")
def traced_store(explorer: Explorer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    database = tmp_path_factory.mktemp("traced") / "features.db"
    command = [
        binary(),
        "feature-store",
        "--listen",
        "127.0.0.1:0",
        "--database",
        str(database),
        "--allow-faults",
    ]
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": explorer.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with running(command, environment) as process:
        fill(process.url)
        yield process.url


@pytest.fixture(scope="module", params=["edot", "distro"])
def observed(
    request: pytest.FixtureRequest,
    trained: tuple[Path, Manifest],
    explorer: Explorer,
    traced_store: str,
) -> Iterator[Client]:
    if request.param == "distro" and DISTRO is None:
        pytest.skip(
            "set THROUGHLINE_DISTRO_PYTHON to the Python of an environment with the plain distro"
        )
    python = sys.executable if request.param == "edot" or DISTRO is None else DISTRO
    environment = instrumentation(explorer.endpoint)
    if request.param == "distro":
        environment["OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"] = "os,otel,service_instance"
    command = wrapped(worker_command(trained[0], traced_store, "--allow-faults"), python)
    with running(command, environment) as process:
        # A feature in the memory of the store needs no database, so its trace has no span of one.
        assert outputs(Client(process).infer(by_ids("wine-0001")))["label"] == ["low"]
        yield Client(process)


def test_the_trace_of_a_lookup(observed: Client, explorer: Explorer) -> None:
    trace_id, headers = caller()
    answer = observed.infer(by_ids("wine-0001"), headers=headers)
    spans = explorer.spans(trace_id, 10)
    assert tree(spans) == TREE
    server, predict = named(spans, INFER), named(spans, "predict wine_quality")
    assert answer.headers["traceresponse"] == f"00-{trace_id}-{server['spanId']}-01"
    assert answer.json()["parameters"]["traceparent"] == f"00-{trace_id}-{predict['spanId']}-01"
    assert not any("status" in span and span["status"].get("code") == 2 for span in spans)


def test_the_attributes_of_a_lookup(
    observed: Client, explorer: Explorer, trained: tuple[Path, Manifest]
) -> None:
    trace_id, headers = caller()
    found = outputs(observed.infer(by_ids("wine-0001"), headers=headers))
    spans = explorer.spans(trace_id, 10)
    server = attributes(named(spans, INFER))
    assert server["http.request.method"] == "POST"
    assert server["http.route"] == "/v2/models/{model_name}/infer"
    assert server["url.path"] == "/v2/models/wine_quality/infer"
    assert server["http.response.status_code"] == "200"
    client = attributes(named(spans, "POST"))
    assert client["http.request.method"] == "POST"
    assert client["url.full"].endswith("/get-online-features")
    assert client["http.response.status_code"] == "200"
    assert not {name for span in spans for name in attributes(span)} & {
        "http.method",
        "http.url",
        "http.status_code",
    }
    predict = attributes(named(spans, "predict wine_quality"))
    assert predict.pop("ml.output.confidence") == pytest.approx(found["confidence"][0], abs=1e-6)
    assert predict == {
        "ml.model_name": "wine_quality",
        "ml.model_version": "1",
        "ml.run_id": trained[1].run_id,
        "ml.variant": "canary",
        "ml.batch_size": "1",
        "ml.framework": "scikit-learn",
        "ml.device": "cpu",
        "ml.data_id": "wine-0001",
        "ml.output.label": "low",
    }
    inference = named(spans, "model_inference")
    assert [event["name"] for event in inference["events"]] == ["inference_completed"]
    assert attributes(inference["events"][0]) == {"ml.batch_size": "1"}


def test_the_resource(observed: Client, explorer: Explorer) -> None:
    trace_id, headers = caller()
    observed.infer(by_features(FIRST_WINE), headers=headers)
    resource = explorer.spans(trace_id, 8)[0]["resource"]
    assert resource["service.name"] == "model-service-python"
    assert resource["service.namespace"] == "throughline"
    assert resource["service.version"] == __version__
    assert resource["deployment.environment.name"] == "development"
    assert len(resource["service.instance.id"]) == 36


def test_a_fault_is_recorded_on_the_span_where_it_happened(
    observed: Client, explorer: Explorer
) -> None:
    trace_id, headers = caller()
    answer = observed.infer(
        by_ids("a"), headers={**headers, "baggage": "fault=model-service-python:error"}
    )
    assert answer.json()["trace_id"] == trace_id
    server = named(explorer.spans(trace_id, 3), INFER)
    assert server["status"] == {
        "code": 2,
        "message": "fault on purpose: error in model-service-python",
    }
    assert attributes(server)["error.type"] == "fault_injected"
    assert attributes(server)["http.response.status_code"] == "500"
    [record] = explorer.logs(trace_id)
    assert (record["event_name"], record["severity"], record["span_id"]) == (
        "exception",
        "ERROR",
        server["spanId"],
    )
    assert record["attributes"]["exception.type"] == "fault_injected"
    assert "InjectedFault" in record["attributes"]["exception.stacktrace"]


def test_a_fault_of_the_store_is_recorded_here_too(observed: Client, explorer: Explorer) -> None:
    trace_id, headers = caller()
    answer = observed.infer(
        by_ids("wine-0001"), headers={**headers, "baggage": "fault=feature-store:error"}
    )
    assert answer.status_code == 503
    spans = explorer.spans(trace_id, 6)
    assert attributes(named(spans, INFER))["error.type"] == "feature_store_unavailable"
    assert attributes(named(spans, "POST"))["error.type"] == "500"
    assert named(spans, "POST /get-online-features", "feature-store")["status"]["code"] == 2
    ours = [
        record for record in explorer.logs(trace_id) if record["service"] == "model-service-python"
    ]
    assert "the feature store answered 500" in ours[0]["attributes"]["exception.stacktrace"]


def test_a_passed_deadline_is_recorded_on_the_prediction(
    observed: Client, explorer: Explorer
) -> None:
    trace_id, headers = caller()
    assert (
        observed.infer(
            by_features(FIRST_WINE, parameters={"timeout": 1}), headers=headers
        ).status_code
        == 504
    )
    predict = named(explorer.spans(trace_id, 6), "predict wine_quality")
    assert attributes(predict)["error.type"] == "deadline_passed"
    assert predict["status"]["code"] == 2


def test_a_client_error_is_no_error_of_the_server_span(
    observed: Client, explorer: Explorer
) -> None:
    trace_id, headers = caller()
    assert observed.infer({}, headers=headers).status_code == 400
    server = named(explorer.spans(trace_id, 4), INFER)
    assert "error.type" not in attributes(server)
    assert server["status"].get("code", 0) == 0


def test_unsampled_requests_and_probes_leave_no_trace(observed: Client, explorer: Explorer) -> None:
    unsampled, quiet = caller("00")
    answer = observed.infer(by_ids("wine-0001"), headers=quiet)
    assert "traceparent" not in answer.json()["parameters"], "nobody will find that span"
    probed, loud = caller()
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert observed.get(path, headers=loud).status_code == 200
    last, headers = caller()
    observed.infer(by_ids("wine-0001"), headers=headers)
    # Spans are exported in their order, so those of the earlier requests would have arrived.
    explorer.spans(last, 10)
    assert explorer.get(f"/api/traces/{unsampled}") is None
    assert explorer.get(f"/api/traces/{probed}") is None


def test_the_output_is_log_records_only(trained: tuple[Path, Manifest], explorer: Explorer) -> None:
    process = Process(
        wrapped(worker_command(trained[0], NOWHERE)), instrumentation(explorer.endpoint)
    )
    assert Client(process).get("/v2").status_code == 200
    assert process.stop() == 0
    assert all(line.startswith("{") for line in process.lines), process.lines


def test_hostile_headers_under_instrumentation(observed: Client) -> None:
    url = urlsplit(observed.url)
    hostile = [b"baggage", b"user-agent", b"traceparent", b"tracestate", b"x-other"]
    for names, status in ((hostile, b"200"), ([*hostile, b"host"], b"400")):
        lines = [name + b": \xff\\" for name in names]
        if status == b"200":
            lines.append(b"host: localhost")
        with socket.create_connection((url.hostname or "", url.port or 0), DEADLINE) as connection:
            connection.sendall(b"\r\n".join([b"GET /v2?%ff HTTP/1.1", *lines, b"", b""]))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 " + status)


def test_what_a_client_sends_is_not_logged(observed: Client) -> None:
    """The SDK's propagators log what they cannot read, which may hold a user's id."""
    sent = [
        ("baggage", 'user.id="SECRET",SECRET,SECRET=\u00e9;=,user=%zz SECRET'),
        ("baggage", f"user=SECRET{'x' * 9_000}"),
        ("baggage", f"SECRET{'x' * 4_000}=a"),
        ("tracestate", "user=SECRET=,SECRET"),
        ("tracestate", "user=SECRET,user=SECRET"),
        ("traceparent", "SECRET"),
    ]
    parent = caller()[1]["traceparent"]
    for name, value in sent:
        headers = {"traceparent": parent, name: value.encode("latin-1")}
        assert observed.infer(by_ids("wine-0001"), headers=headers).status_code == 200
    assert observed.get("/v2", headers={"Host": "secret.example"}).status_code == 421
    assert "SECRET" not in "".join(observed.process.lines)


def test_the_values_of_a_query_are_not_exported_and_texts_are_bounded(
    observed: Client, explorer: Explorer
) -> None:
    trace_id, headers = caller()
    headers |= {"User-Agent": "x" * 9_000}
    assert observed.get("/v2?user=SECRET&flag&a=b=c", headers=headers).status_code == 200
    [server] = [span for span in explorer.spans(trace_id, 3) if span["kind"] == 2]
    assert attributes(server)["url.query"] == "user=REDACTED&flag&a=REDACTED"
    assert "SECRET" not in str(server)
    assert len(attributes(server)["user_agent.original"]) == 4_096


@pytest.mark.parametrize("reachable", [True, False])
def test_the_password_of_the_feature_store_is_sent_and_never_told(
    trained: tuple[Path, Manifest], explorer: Explorer, store: StubStore, reachable: bool
) -> None:
    address = (store.url if reachable else NOWHERE).replace("//", "//m:SECRET@")
    command = wrapped(worker_command(trained[0], address))
    with running(command, instrumentation(explorer.endpoint)) as process:
        client = Client(process)
        if reachable:
            assert client.infer(by_ids("a")).status_code == 200
            assert store.authorization == "Basic bTpTRUNSRVQ="
            store.reply = lambda _ids: (401, b"")
        trace_id, headers = caller()
        answer = client.infer(by_ids("a"), headers=headers)
        assert answer.status_code == 503
        told = [answer.text, client.get("/readyz").text, str(explorer.spans(trace_id, 5))]
        [record] = explorer.logs(trace_id)
        assert "httpx" in record["attributes"]["exception.stacktrace"] or reachable
        told += [str(record), *process.lines]
    assert not [text for text in told if "SECRET" in text or "bTpTRUNSRVQ" in text]


def test_a_refusal_of_the_guard_has_a_span(observed: Client, explorer: Explorer) -> None:
    trace_id, headers = caller()
    answer = observed.get("/v2", headers={**headers, "Origin": "http://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_origin")
    assert answer.json()["trace_id"] == trace_id
    [server] = [span for span in explorer.spans(trace_id, 3) if span["kind"] == 2]
    # The Rust services have no route for it, so their name is `GET`.
    assert server["name"] == "GET /v2"
    assert attributes(server)["http.response.status_code"] == "403"
    assert server["status"].get("code", 0) == 0


METRICS = {
    "ai.inference.calls": {"model.name", "ml.model_version", "ml.variant", "success"},
    "ai.inference.latency": {"model.name", "ml.model_version", "ml.variant", "success"},
    "ml.prediction.confidence": {"model.name", "ml.model_version", "ml.output.label"},
    "ml.prediction.labels": {"model.name", "ml.model_version", "ml.output.label"},
    "ml.input.out_of_range": {"model.name", "ml.feature.name"},
    "ml.input.missing": {"model.name", "ml.feature.name"},
}


def series(explorer: Explorer, name: str) -> list[dict[str, Any]]:
    found = (explorer.get(f"/api/metrics?name={name}") or {}).get("series", [])
    return [one for one in found if one["service"] == "model-service-python"]


def test_the_metrics(observed: Client, explorer: Explorer) -> None:
    assert observed.infer(by_features([99.0, *FIRST_WINE[1:]])).status_code == 200
    body = by_features(FIRST_WINE, FIRST_WINE)
    body["inputs"][0] |= {"datatype": "FP64", "data": [[1e300, *FIRST_WINE[1:]], FIRST_WINE]}
    assert outputs(observed.infer(body))["error"] == ["missing_features", ""]
    for name, labels in METRICS.items():
        [one, *_] = eventually(functools.partial(series, explorer, name), name)
        assert set(one["attributes"]) == labels, name
    [calls, *_] = series(explorer, "ai.inference.calls")
    assert calls["attributes"]["ml.variant"] == "canary"
    assert calls["temporality"] == "cumulative"


def test_a_training_run(explorer: Explorer, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "throughline_worker.train",
        "wine_quality",
        "--data",
        str(DATA),
    ]
    environment = {**instrumentation(explorer.endpoint), "OTEL_SERVICE_NAME": "model-training"}
    process = Process(wrapped([*command, "--model-repository", str(tmp_path)]), environment)
    assert process.wait() == 0
    assert all(line.startswith("{") for line in process.lines), process.lines
    logged = process.event("ml.training.metrics")
    spans = explorer.spans(logged["trace_id"], 5)
    stages = ["load_data", "train_model", "evaluate_model", "save_model"]
    lines = "".join(f"  {stage} INTERNAL model-training\n" for stage in stages)
    assert tree(spans) == f"\ntrain wine_quality INTERNAL model-training\n{lines}"
    root = attributes(named(spans, "train wine_quality", "model-training"))
    assert root["ml.run_id"] == logged["ml.run_id"]
    assert root["ml.validation_accuracy"] == logged["ml.validation_accuracy"]
    assert root["ml.baseline_accuracy"] < root["ml.validation_accuracy"]
    assert len(root["ml.dataset_sha256"]) == 64
    events = named(spans, "train_model", "model-training")["events"]
    assert {event["name"] for event in events} == {"epoch_completed"}
    assert len(events) == 100
    [record] = explorer.logs(logged["trace_id"])
    assert (record["event_name"], record["body"]) == ("ml.training.metrics", "training metrics")
    assert record["attributes"]["ml.training_accuracy"] == logged["ml.training_accuracy"]

    # A prediction of that version links to its training.
    manifest = Manifest.parse((tmp_path / "wine_quality" / "1" / "manifest.json").read_bytes())
    assert manifest.training is not None
    assert manifest.training.trace_id == logged["trace_id"]
    served = Process(wrapped(worker_command(tmp_path, NOWHERE)), instrumentation(explorer.endpoint))
    answer = Client(served).infer(by_features(FIRST_WINE)).json()
    served.stop()
    trace_id = answer["parameters"]["traceparent"].split("-")[1]
    predict = named(explorer.spans(trace_id, 8), "predict wine_quality", "model-service-python")
    [link] = predict["links"]
    training = named(spans, "train wine_quality", "model-training")
    assert (link["traceId"], link["spanId"]) == (training["traceId"], training["spanId"])


def test_a_dead_collector_changes_nothing(trained: tuple[Path, Manifest]) -> None:
    command = wrapped(worker_command(trained[0], NOWHERE, "--flush-timeout", "500ms"))
    process = Process(command, instrumentation(NOWHERE))
    client = Client(process)
    assert [client.infer(by_features(FIRST_WINE)).status_code for _ in range(20)] == [200] * 20
    assert process.stop() == 0
    assert "Traceback" not in "".join(process.lines[-3:])
