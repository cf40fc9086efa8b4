"""Processes under test, and waits for their output."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[3]
SOURCES = Path(__file__).resolve().parents[1] / "src"
DATA = ROOT / "data" / "wine_quality" / "winequality-red.csv"
# Generous, because the machine may be busy.
DEADLINE = 120.0
HELP = "set THROUGHLINE_BIN to a built `throughline` to run this"
BINARY = os.environ.get("THROUGHLINE_BIN")

# The first wine of the data set, in the order of the model.
FIRST_WINE = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4]


def eventually(condition: Callable[[], T | None], what: str) -> T:
    """Calls `condition` until it returns something true; fails at the deadline."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        # A pause between two calls.
        threading.Event().wait(0.02)
    raise AssertionError(f"no {what} within {DEADLINE} s")


class Process:
    """A process that writes JSON lines to its standard output."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**clean, "PYTHONPATH": str(SOURCES), **(environment or {})},
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def event(self, name: str) -> dict[str, Any]:
        """Waits for the log record of this event name."""
        return self.line(lambda record: record.get("event.name") == name)

    def line(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Waits for a JSON line."""

        def found() -> dict[str, Any] | None:
            return next((record for record in self.records() if wanted(record)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, DEADLINE)
            record = found()
        output = "\n".join(self.lines)
        assert record is not None, f"not in the output:\n{output}"
        return record

    def records(self) -> list[dict[str, Any]]:
        """All log records so far."""
        records = []
        for line in list(self.lines):
            with contextlib.suppress(ValueError):
                records.append(json.loads(line))
        return records

    @property
    def url(self) -> str:
        """The address that it listens on."""
        url: str = self.event("server.listening")["url"]
        return url

    @property
    def output_has_ended(self) -> bool:
        """Whether it and all processes that it has started have closed its standard output."""
        return self._ended

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def close_stdin(self) -> None:
        """Ends its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> int:
        """Its exit code, after the end of its output."""
        code = self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def stop(self) -> int:
        """Sends SIGTERM and waits; kills it at the deadline."""
        self.signal()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """A process that runs during a block."""
    process = Process(command, environment)
    try:
        yield process
    finally:
        process.stop()


def worker_command(repository: Path, feature_store: str, *options: str) -> list[str]:
    """The command line of the service on a free port."""
    command = [sys.executable, "-m", "throughline_worker", "--listen", "127.0.0.1:0"]
    return [
        *command,
        "--model-repository",
        str(repository),
        "--feature-store",
        feature_store,
        *options,
    ]


def binary() -> str:
    """The Rust binary; only for tests that are skipped without it."""
    assert BINARY is not None, HELP
    return BINARY


def fill(feature_store: str) -> None:
    """Writes the wines into the feature store by Feast's protocol."""
    rows = [line.split(",") for line in DATA.read_text().splitlines()]
    names = rows[0][1:12]
    columns: dict[str, list[Any]] = {"wine_id": [row[0] for row in rows[1:]]}
    columns |= {
        name: [float(row[index + 1]) for row in rows[1:]] for index, name in enumerate(names)
    }
    columns["event_timestamp"] = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())] * (
        len(rows) - 1
    )
    for start in range(0, len(rows) - 1, 500):
        part = {name: values[start : start + 500] for name, values in columns.items()}
        body = {"feature_view_name": "wine_features", "df": part}
        answer = httpx.post(f"{feature_store}/write-to-online-store", json=body, timeout=DEADLINE)
        assert answer.status_code == 200, answer.text


@dataclass(frozen=True)
class Client:
    """A client of an inference server."""

    process: Process

    @property
    def url(self) -> str:
        """The address that the server listens on."""
        return self.process.url

    def infer(
        self, body: Any, path: str = "/v2/models/wine_quality/infer", **options: Any
    ) -> httpx.Response:
        """Posts a JSON body."""
        return self.post(path, json.dumps(body).encode(), **options)

    def post(self, path: str, content: bytes, **options: Any) -> httpx.Response:
        """Posts bytes."""
        return httpx.post(self.url + path, content=content, timeout=DEADLINE, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Gets a path."""
        return httpx.get(self.url + path, timeout=DEADLINE, **options)


def by_ids(*ids: str, **members: Any) -> dict[str, Any]:
    """The body of a request for entities."""
    return {
        "inputs": [
            {"name": "data_id", "shape": [len(ids)], "datatype": "BYTES", "data": list(ids)}
        ],
        **members,
    }


def by_features(*rows: list[float], **members: Any) -> dict[str, Any]:
    """The body of a request with features."""
    return {
        "inputs": [
            {"name": "features", "shape": [len(rows), 11], "datatype": "FP32", "data": rows}
        ],
        **members,
    }


def outputs(answer: httpx.Response) -> dict[str, Any]:
    """Data of the outputs by name."""
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}
