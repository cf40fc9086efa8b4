"""A service of several processes: all answer, all drain, none is left, and what dies comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import NOWHERE
from harness import (
    BINARY,
    DEADLINE,
    FIRST_WINE,
    HELP,
    Client,
    Process,
    by_features,
    by_ids,
    eventually,
    outputs,
    running,
    worker_command,
)
from test_limits import StubStore
from test_limits import store as store  # noqa: PLC0414 # fixtures
from test_limits import stub as stub  # noqa: PLC0414
from test_process import is_closed
from test_telemetry import DISTRO, Explorer, caller, instrumentation, tree, wrapped
from test_telemetry import explorer as explorer  # noqa: PLC0414

from throughline_worker import sibling, siblings
from throughline_worker.balance import Counts
from throughline_worker.config import Config
from throughline_worker.listener import obtain
from throughline_worker.repository import Manifest


def command(trained: tuple[Path, Manifest], store: str, *options: str, count: int = 2) -> list[str]:
    return worker_command(trained[0], store, "--processes", str(count), *options)


def others(process: Process, count: int = 1) -> list[int]:
    """Waits until so many others have ever served; their process ids, the latest last."""

    def found() -> list[int]:
        pids = [
            record["process.pid"]
            for record in process.records()
            if record.get("event.name") == "server.process_started"
        ]
        return pids if len(pids) >= count else []

    return eventually(found, f"{count} other processes")


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process that does nothing during a block, so that others must do the work."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def assert_all_ended(process: Process) -> None:
    """Each process holds the pipe of the output open."""
    assert process.output_has_ended, "a process is left"


def events(process: Process, name: str) -> int:
    return sum(record.get("event.name") == name for record in process.records())


def test_each_process_answers(trained: tuple[Path, Manifest]) -> None:
    process = Process(command(trained, NOWHERE, count=3))
    client = Client(process)
    pids = [process.pid, *others(process, 2)]
    for busy in pids:
        with contextlib.ExitStack() as idle:
            for pid in set(pids) - {busy}:
                idle.enter_context(paused(pid))
            assert client.get("/readyz").status_code == 200
            assert outputs(client.infer(by_features(FIRST_WINE)))["label"] == ["low"]
    assert process.stop() == 0
    assert_all_ended(process)
    assert events(process, "server.listening") == 1
    assert events(process, "server.stopped") == 1


@pytest.mark.parametrize("from_terminal", [False, True])
def test_a_signal_drains_each_process(
    trained: tuple[Path, Manifest], store: StubStore, from_terminal: bool
) -> None:
    """A terminal sends SIGINT to all processes of its group."""
    store.released.clear()
    process = Process(command(trained, store.url))
    client = Client(process)
    [other] = others(process)
    with ThreadPoolExecutor(2) as pool:
        with paused(process.pid):
            waiting = [pool.submit(client.infer, by_ids("a"))]
            eventually(lambda: store.asked == 1, "the request of the other process")
        with paused(other):
            waiting.append(pool.submit(client.infer, by_ids("a")))
            eventually(lambda: store.asked == 2, "the request of the first process")
        if from_terminal:
            os.kill(other, signal.SIGINT)
        process.signal(signal.SIGINT if from_terminal else signal.SIGTERM)
        eventually(lambda: is_closed(client), "the end of accepting")
        store.released.set()
        answers = [answer.result() for answer in waiting]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert {answer.headers["connection"] for answer in answers} == {"close"}
    assert process.wait() == 0
    assert_all_ended(process)


def test_a_process_that_does_not_drain_fails_the_service(
    trained: tuple[Path, Manifest], store: StubStore
) -> None:
    store.released.clear()
    process = Process(command(trained, store.url, "--drain-timeout", "200ms"))
    others(process)
    with ThreadPoolExecutor(1) as pool:
        with paused(process.pid):
            waiting = pool.submit(Client(process).infer, by_ids("a"))
            eventually(lambda: store.asked, "the request of the other process")
        process.signal()
        assert process.wait() == 1
        assert waiting.result().json()["code"] == "draining"
    assert_all_ended(process)
    assert "still in flight" in process.event("server.failed")["error"]
    assert events(process, "server.stopped") == 0


def test_a_process_that_does_not_end_is_killed(trained: tuple[Path, Manifest]) -> None:
    limits = "--drain-timeout", "200ms", "--flush-timeout", "200ms"
    process = Process(command(trained, NOWHERE, *limits))
    [other] = others(process)
    os.kill(other, signal.SIGSTOP)
    process.signal()
    assert process.wait() == 1
    assert_all_ended(process)
    assert "1 of its processes" in process.event("server.failed")["error"]


def test_a_second_signal_ends_all_at_once(trained: tuple[Path, Manifest], store: StubStore) -> None:
    store.released.clear()
    process = Process(command(trained, store.url, "--drain-timeout", "1h"))
    client = Client(process)
    others(process)
    with ThreadPoolExecutor(1) as pool:
        with paused(process.pid):
            waiting = pool.submit(client.infer, by_ids("a"))
            eventually(lambda: store.asked, "the request of the other process")
        # The first process waits for the other one.
        process.signal()
        eventually(lambda: is_closed(client), "the end of accepting")
        process.signal()
        assert process.wait() == 130
        assert waiting.exception() is not None
    assert_all_ended(process)


def test_a_stop_before_the_others_serve(trained: tuple[Path, Manifest]) -> None:
    process = Process(command(trained, NOWHERE, count=4))
    assert Client(process).get("/livez").status_code == 200
    assert process.stop() == 0
    assert_all_ended(process)


def test_the_end_of_standard_input_stops_all(trained: tuple[Path, Manifest]) -> None:
    process = Process(command(trained, NOWHERE, "--exit-with-parent"))
    others(process)
    process.close_stdin()
    assert process.wait() == 0
    assert_all_ended(process)


@pytest.mark.parametrize("serve", [False, True])
def test_the_others_end_with_the_first(trained: tuple[Path, Manifest], serve: bool) -> None:
    process = Process(command(trained, NOWHERE))
    assert Client(process).get("/livez").status_code == 200
    if serve:
        others(process)
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert_all_ended(process)


def test_a_process_that_is_killed_under_load_comes_back(trained: tuple[Path, Manifest]) -> None:
    process = Process(command(trained, NOWHERE))
    client = Client(process)
    [killed] = others(process)
    over = threading.Event()

    def load() -> list[int | str]:
        """Results of requests, each on a connection of its own."""
        results: list[int | str] = []
        while not over.is_set():
            try:
                results.append(client.infer(by_features(FIRST_WINE)).status_code)
            except httpx.TransportError as error:
                results.append(type(error).__name__)
        return results

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(load) for _ in range(3)]
        os.kill(killed, signal.SIGKILL)
        try:
            [_, again] = others(process, 2)
        finally:
            over.set()
        results = [client.result() for client in clients]
    ended = process.event("server.process_ended")
    assert (ended["level"], ended["process.pid"], ended["error"]) == ("WARN", killed, "signal 9")
    for one in results:
        # At most the one that the process was working on.
        assert len(one) - one.count(200) <= 1, one
        assert one[-1] == 200
    with paused(process.pid):
        assert client.get("/readyz").status_code == 200
    assert again != killed
    assert process.stop() == 0
    assert_all_ended(process)


def test_a_connection_is_for_the_process_with_the_fewest() -> None:
    first = Counts.new(2)
    second = Counts.inherited(first.descriptor, 1)
    first.begin()
    first.set(5)
    assert not first.others_have_fewer(), "the other one does not accept yet"
    second.begin()
    assert first.others_have_fewer()
    assert not second.others_have_fewer()
    second.set(4)
    assert first.others_have_fewer()
    assert not first.gives_away(), "the difference would only change sides"
    second.add()
    assert not first.others_have_fewer()
    second.end()
    second.set(0)
    assert not first.others_have_fewer(), "it accepts no more"
    os.close(first.descriptor)


@pytest.mark.parametrize(
    ("program", "error"),
    [(sys.executable, "exit code 3"), ("/no/such/program", "No such file or directory")],
)
def test_the_pauses_grow_while_it_dies_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, program: str, error: str
) -> None:
    """The command is another one, because the real one does not fail like this on demand."""
    monkeypatch.setattr(sibling, "_command", lambda *_: [program, "-c", "raise SystemExit(3)"])
    monkeypatch.setattr(siblings, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(siblings, "LONGEST_PAUSE", 0.02)

    async def scenario() -> None:
        settings = Config(listen=("127.0.0.1", 0), processes=2)
        with obtain(settings) as listener:
            kept = siblings.Siblings(settings, listener)
            end = asyncio.get_running_loop().time() + DEADLINE
            while len(caplog.records) < 3:
                assert asyncio.get_running_loop().time() < end
                await asyncio.sleep(0.001)
            kept.drain()
            assert await kept.drained(), "there is nothing that it could have given up"
            os.close(listener.counts.descriptor)

    asyncio.run(scenario())
    told = [record.getMessage() for record in caplog.records[:3]]
    assert [text.rpartition(" starts in ")[2] for text in told] == ["0.01 s", "0.02 s", "0.02 s"]
    assert all(error in text for text in told)


@pytest.mark.skipif(BINARY is None, reason=HELP)
@pytest.mark.parametrize("distribution", ["edot", "distro"])
def test_each_process_is_traced_and_gets_connections_that_are_kept(
    trained: tuple[Path, Manifest], explorer: Explorer, distribution: str
) -> None:
    environment, python = instrumentation(explorer.endpoint), sys.executable
    if distribution == "distro":
        if DISTRO is None:
            pytest.skip("set THROUGHLINE_DISTRO_PYTHON")
        python = DISTRO
        environment["OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"] = "os,otel,service_instance"
    with (
        running(wrapped(command(trained, NOWHERE), python), environment) as process,
        contextlib.ExitStack() as stack,
    ):
        kept = [
            stack.enter_context(httpx.Client(base_url=process.url, timeout=DEADLINE))
            for _ in range(4)
        ]
        # Most likely all at the first process, because the other one is still starting.
        for client in kept:
            assert client.get("/livez").status_code == 200
        others(process)

        def both() -> set[str]:
            found = {instance(client, explorer) for client in kept}
            return found if len(found) == 2 else set()

        assert {len(found) for found in eventually(both, "answers of both")} == {36}


def instance(client: httpx.Client, explorer: Explorer) -> str:
    """The id of the process that answers, by the trace of the answer."""
    trace_id, headers = caller()
    path = "/v2/models/wine_quality/infer"
    assert client.post(path, json=by_features(FIRST_WINE), headers=headers).status_code == 200
    spans = explorer.spans(trace_id, 8)
    assert tree(spans).count("predict wine_quality") == 1
    [found] = {span["resource"]["service.instance.id"] for span in spans}
    return str(found)
