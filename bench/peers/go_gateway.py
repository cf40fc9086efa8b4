"""The Go program of bench/peers/go."""

import contextlib
import pathlib
from collections.abc import Iterator

from load.telemetry import Telemetry
from peers import process


@contextlib.contextmanager
def start(program: pathlib.Path, telemetry: Telemetry, store: str, version: str) -> Iterator[tuple[str, int]]:
    """The program on the predictions that the gateway has stored: its address and its process."""
    command: list[process.Word] = [program.resolve(), "-elasticsearch", store, "-version", version]
    variables = telemetry.environment({"OTEL_SERVICE_NAME": "go-gateway"})
    listening = r"listens on http://127\.0\.0\.1:(\d+)"
    with process.temporary() as folder, process.started(command, variables, folder, listening) as running:
        yield running
