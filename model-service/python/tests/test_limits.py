"""Admission, deadlines and slow clients.

The feature store is a stub, because a real one does not hang on demand.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from harness import (
    DEADLINE,
    FIRST_WINE,
    Client,
    by_features,
    by_ids,
    eventually,
    outputs,
    running,
    worker_command,
)

from throughline_worker import features
from throughline_worker.deadline import Deadline
from throughline_worker.engine import Engine
from throughline_worker.errors import DeadlinePassed, FeatureStoreError, QueueFull
from throughline_worker.features import FeatureStore
from throughline_worker.repository import Manifest
from throughline_worker.train.data import FEATURES


class StubStore:
    """A feature store whose answers, and their time, the test decides."""

    def __init__(self) -> None:
        self.reply: Callable[[list[str]], tuple[int, bytes]] = lambda ids: (200, good(ids))
        self.asked = 0
        self.authorization: str | None = None
        # While it is cleared, all answers wait.
        self.released = threading.Event()
        self.released.set()
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                store.authorization = self.headers["authorization"]
                store.asked += 1
                assert store.released.wait(DEADLINE)
                status, content = store.reply(body["entities"]["wine_id"])
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_arguments: Any) -> None:
                """Ignores clients that have disconnected, which some tests do on purpose."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def good(ids: list[str], **changed: Any) -> bytes:
    """The first wine for every id; `changed` replaces columns."""
    names = ["wine_id", *FEATURES]
    columns = [{"values": ids, "statuses": ["PRESENT"] * len(ids)}]
    for name, value in zip(FEATURES, FIRST_WINE, strict=True):
        column = {"values": [value] * len(ids), "statuses": ["PRESENT"] * len(ids)}
        columns.append(column | changed.get(name, {}))
    return json.dumps({"metadata": {"feature_names": names}, "results": columns}).encode()


@pytest.fixture(scope="module")
def stub() -> Iterator[StubStore]:
    """A stub for all tests of a module."""
    stub = StubStore()
    thread = threading.Thread(target=stub.server.serve_forever, args=(0.01,))
    thread.start()
    yield stub
    stub.released.set()
    stub.server.shutdown()
    stub.server.server_close()
    thread.join()


@pytest.fixture
def store(stub: StubStore) -> Iterator[StubStore]:
    """The stub, reset for one test."""
    stub.asked = 0
    stub.reply = lambda ids: (200, good(ids))
    yield stub
    stub.released.set()


@pytest.fixture(scope="module")
def limited(trained: tuple[Path, Manifest], stub: StubStore) -> Iterator[Client]:
    """A service that takes two requests at a time, with a long timeout."""
    options = ["--max-in-flight", "2", "--request-timeout", "10m", "--feature-timeout", "10m"]
    with running(worker_command(trained[0], stub.url, *options)) as process:
        yield Client(process)


@pytest.fixture(scope="module")
def impatient(trained: tuple[Path, Manifest], stub: StubStore) -> Iterator[Client]:
    """A service with short timeouts."""
    times = ["--header-timeout", "300ms", "--request-timeout", "300ms", "--body-timeout", "300ms"]
    with running(worker_command(trained[0], stub.url, *times)) as process:
        yield Client(process)


def test_columns_in_any_order_and_failed_rows(limited: Client, store: StubStore) -> None:
    alcohol: dict[str, list[Any]] = {
        "values": [9.4, None, None, "NaN", 9.4],
        "statuses": ["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE"],
    }
    alcohol["statuses"] += ["PRESENT", "INVALID"]

    def reply(ids: list[str]) -> tuple[int, bytes]:
        body = json.loads(good(ids, alcohol=alcohol))
        body["metadata"]["feature_names"].reverse()
        body["results"].reverse()
        return 200, json.dumps(body).encode()

    store.reply = reply
    found = outputs(limited.infer(by_ids(*"abcde")))
    assert found["error"] == [
        "",
        "missing_features",
        "outside_max_age",
        "missing_features",
        "missing_features",
    ]
    assert found["label"] == ["low", "", "", "", ""]


def test_a_cell_that_cannot_be_read_fails_its_row_only(limited: Client, store: StubStore) -> None:
    for cell in ("1e400", "-1e999", "9" * 400, r'"\ud800"', '{"a": 1}'):

        def reply(ids: list[str], cell: str = cell) -> tuple[int, bytes]:
            alcohol = {"values": [9.4, "CELL", 9.4]}
            return 200, good(ids, alcohol=alcohol).replace(b'"CELL"', cell.encode())

        store.reply = reply
        found = outputs(limited.infer(by_ids(*"abc")))
        assert found["error"] == ["", "missing_features", ""], cell
        assert found["label"] == ["low", "", "low"], cell


BAD_ANSWERS: list[tuple[int, bytes]] = [
    (200, b"{"),
    (200, b"[]"),
    (200, b"{}"),
    (200, b'{"metadata":{"feature_names":["alcohol"]},"results":[1]}'),
    (200, b'{"metadata":{"feature_names":["alcohol"]},"results":[{}]}'),
    (200, good(["a", "b"])),
    (200, b"[" * 100_000),
    (404, b'"no such view"'),
    (500, b""),
    (302, b""),
]


@pytest.mark.parametrize(("status", "content"), BAD_ANSWERS, ids=range(len(BAD_ANSWERS)))
def test_answers_that_cannot_be_used(
    limited: Client, store: StubStore, status: int, content: bytes
) -> None:
    store.reply = lambda _ids: (status, content)
    answer = limited.infer(by_ids("a"))
    assert (answer.status_code, answer.json()["code"]) == (503, "feature_store_unavailable")
    assert answer.headers["retry-after"] == "1"


def test_the_clients_deadline_is_kept(limited: Client, store: StubStore) -> None:
    store.released.clear()
    answer = limited.infer(by_ids("a", parameters={"timeout": 100_000}))
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_passed")


def test_a_deadline_that_has_passed_before_the_model(limited: Client) -> None:
    answer = limited.infer(by_features(FIRST_WINE, parameters={"timeout": 1}))
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_passed")


def test_the_lookup_has_a_timeout_of_its_own(
    trained: tuple[Path, Manifest], store: StubStore
) -> None:
    store.released.clear()

    async def lookup() -> None:
        async with features.client(1) as client:
            await FeatureStore(client, store.url, timeout=0.1).lookup(
                trained[1], ["a"], Deadline.after(60)
            )

    with pytest.raises(FeatureStoreError):
        anyio.run(lookup)


def test_a_request_has_a_timeout(impatient: Client, store: StubStore) -> None:
    store.released.clear()
    answer = impatient.infer(by_ids("a"))
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_passed")


def test_too_many_in_flight(limited: Client, store: StubStore) -> None:
    store.released.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(limited.infer, by_ids("a")) for _ in range(2)]
        eventually(lambda: store.asked == 2, "both requests")
        refused = limited.infer(by_features(FIRST_WINE))
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert limited.get("/v2").status_code == 429
        assert limited.get("/readyz").status_code == 200, "probes are outside of the limits"
        store.released.set()
        assert [answer.result().status_code for answer in waiting] == [200, 200]
    assert limited.infer(by_features(FIRST_WINE)).status_code == 200


def test_a_disconnected_client_frees_its_place(limited: Client, store: StubStore) -> None:
    store.released.clear()
    body = json.dumps(by_ids("a", parameters={"timeout": 300_000})).encode()
    for _ in range(2):
        connection = connect(limited)
        connection.sendall(head(len(body)) + body)
        connection.close()
    eventually(lambda: limited.infer(by_features(FIRST_WINE)).status_code == 200, "a free place")


def connect(client: Client) -> socket.socket:
    url = urlsplit(client.url)
    return socket.create_connection((url.hostname or "", url.port or 0), DEADLINE)


def read_all(connection: socket.socket) -> bytes:
    """All that the server sends before it closes the connection."""
    received = b""
    while part := connection.recv(65_536):
        received += part
    return received


def head(length: int) -> bytes:
    line = "POST /v2/models/wine_quality/infer HTTP/1.1"
    return f"{line}\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def test_a_request_has_a_context_of_its_own(limited: Client) -> None:
    """The rest of a large body is read in the context of its request."""
    large = json.dumps(by_features(*[FIRST_WINE] * 900, id="x" * 300_000)).encode()
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with httpx.Client(base_url=limited.url, timeout=DEADLINE) as connection:
        path = "/v2/models/wine_quality/infer"
        for _ in range(3):
            assert connection.post(path, content=large, headers=headers).status_code == 200
            assert "trace_id" not in connection.post(path, content=b"{").json()


@pytest.mark.parametrize("sent", [b"", b"GET /v2 HT", b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n"])
def test_an_incomplete_head_times_out(impatient: Client, sent: bytes) -> None:
    with connect(impatient) as connection:
        connection.sendall(sent)
        assert connection.recv(1) == b"", "closed by the server"


def test_an_idle_connection_is_closed(impatient: Client) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_all(connection).endswith(b'{"live":true}')


def test_an_incomplete_body_times_out(impatient: Client) -> None:
    with connect(impatient) as connection:
        connection.sendall(head(100) + b'{"inputs"')
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert b'"body_timeout"' in answer


def test_requests_in_a_row_on_one_connection(limited: Client) -> None:
    body = json.dumps(by_features(FIRST_WINE)).encode()
    with connect(limited) as connection:
        connection.sendall((head(len(body)) + body) * 3)
        received = b""
        while received.count(b'"model_name"') < 3:
            part = connection.recv(65_536)
            assert part, received
            received += part


def test_the_queue_is_bounded() -> None:
    """One task computes and one waits. A third is refused, and a cancelled one never begins."""

    async def scenario() -> None:
        engine, go, begun = (
            Engine(threads=1, queue_capacity=1),
            threading.Event(),
            threading.Event(),
        )
        late: list[int] = []

        def first() -> bool:
            begun.set()
            return go.wait(DEADLINE)

        computing = asyncio.create_task(engine.compute(first, Deadline.after(60)))
        assert await asyncio.to_thread(begun.wait, DEADLINE)
        waiting = asyncio.create_task(engine.compute(lambda: late.append(1), Deadline.after(60)))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await engine.compute(lambda: None, Deadline.after(60))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        again = asyncio.create_task(engine.compute(lambda: late.append(2), Deadline.after(60)))
        go.set()
        assert (await computing).result
        await again
        assert late == [2]
        with pytest.raises(DeadlinePassed):
            await engine.compute(lambda: None, Deadline.after(0))
        engine.close()

    asyncio.run(scenario())
