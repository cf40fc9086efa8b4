"""The process: start, drain, exit."""

from __future__ import annotations

import json
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import NOWHERE
from harness import Client, Process, by_ids, eventually, running, worker_command
from test_limits import StubStore, connect, head
from test_limits import store as store  # noqa: PLC0414 # fixtures
from test_limits import stub as stub  # noqa: PLC0414

from throughline_worker.repository import Manifest


def is_closed(client: Client) -> bool:
    try:
        connect(client).close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish(
    trained: tuple[Path, Manifest], store: StubStore, number: int
) -> None:
    store.released.clear()
    process = Process(worker_command(trained[0], store.url))
    client = Client(process)
    with ThreadPoolExecutor(1) as pool, httpx.Client() as idle:
        assert idle.get(f"{client.url}/v2").status_code == 200
        waiting = pool.submit(client.infer, by_ids("a"))
        eventually(lambda: store.asked, "the request")
        process.signal(number)
        eventually(lambda: is_closed(client), "the end of accepting")
        store.released.set()
        answer = waiting.result()
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
    assert process.wait() == 0
    assert process.event("server.stopped")["level"] == "INFO"


def test_the_end_of_standard_input_stops_the_service(trained: tuple[Path, Manifest]) -> None:
    process = Process(worker_command(trained[0], NOWHERE, "--exit-with-parent"))
    assert Client(process).get("/livez").status_code == 200
    process.close_stdin()
    assert process.wait() == 0


def test_a_drain_has_a_timeout(trained: tuple[Path, Manifest], store: StubStore) -> None:
    store.released.clear()
    process = Process(worker_command(trained[0], store.url, "--drain-timeout", "200ms"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Client(process).infer, by_ids("a"))
        eventually(lambda: store.asked, "the request")
        process.signal()
        assert process.wait() == 1
        answer = waiting.result()
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")
    assert "still in flight" in process.event("server.failed")["error"]


def test_an_incomplete_request_does_not_fail_the_drain(trained: tuple[Path, Manifest]) -> None:
    process = Process(worker_command(trained[0], NOWHERE, "--drain-timeout", "1s"))
    client = Client(process)
    with connect(client) as connection:
        connection.sendall(head(3)[:20])
        process.signal()
        assert process.wait() == 0


def test_the_first_request_of_a_connection_is_answered_while_draining(
    trained: tuple[Path, Manifest],
) -> None:
    process = Process(worker_command(trained[0], NOWHERE))
    client = Client(process)
    assert client.get("/readyz").status_code == 200
    with connect(client) as connection:
        # The server has accepted it when it answers a later connection.
        assert client.get("/livez").status_code == 200
        process.signal()
        eventually(lambda: is_closed(client), "the end of accepting")
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while part := connection.recv(65_536):
            received += part
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b'"draining":true' in received
    assert process.wait() == 0


def test_a_second_signal_exits_at_once(trained: tuple[Path, Manifest], store: StubStore) -> None:
    store.released.clear()
    process = Process(worker_command(trained[0], store.url, "--drain-timeout", "1h"))
    client = Client(process)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.infer, by_ids("a"))
        eventually(lambda: store.asked, "the request")
        process.signal()
        eventually(lambda: is_closed(client), "the end of accepting")
        process.signal()
        assert process.wait() == 130
        waiting.exception()


def test_a_port_in_use_is_named(trained: tuple[Path, Manifest]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process([*worker_command(trained[0], NOWHERE), "--listen", f"127.0.0.1:{port}"])
        assert process.wait() == 1
    message = process.event("server.failed")["message"]
    assert str(port) in message
    assert "--listen" in message


def test_without_the_wrapper_there_is_no_telemetry_and_no_error(
    trained: tuple[Path, Manifest],
) -> None:
    """The SDK is not imported, whatever the environment says."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_TRACES_EXPORTER": "otlp"}
    with running(worker_command(trained[0], NOWHERE), environment) as process:
        client = Client(process)
        trace_id = "0af7651916cd43dd8448eb211c80319c"
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        answer = client.infer(by_ids("a"), headers=headers)
        assert answer.json()["trace_id"] == trace_id, (
            "the caller's ids are in answers and log records all the same"
        )
        assert process.event("exception")["trace_id"] == trace_id
        modules = Path(f"/proc/{process.pid}/maps")
        if modules.exists():
            assert "grpc" not in modules.read_text()
    levels = {
        record["level"] for record in process.records() if record["event.name"] != "exception"
    }
    assert levels == {"INFO"}
    assert all(line.startswith("{") for line in process.lines)


def test_the_sdk_is_not_imported() -> None:
    code = (
        "import sys, throughline_worker.process, throughline_worker.train.run;"
        "import json; sdk = 'opentelemetry.sdk';"
        "print(json.dumps([name for name in sys.modules if name.startswith(sdk)]))"
    )
    process = Process([sys.executable, "-c", code])
    assert process.wait() == 0
    assert json.loads(process.lines[-1]) == []


def test_faults_are_off_unless_allowed(trained: tuple[Path, Manifest]) -> None:
    with running(worker_command(trained[0], NOWHERE)) as process:
        answer = Client(process).get("/v2", headers={"baggage": "fault=model-service-python:error"})
        assert answer.status_code == 200
