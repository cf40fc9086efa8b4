"""The Go program of bench/peers/go."""

import contextlib
import pathlib
import re
import subprocess
from collections.abc import Iterator

from load.telemetry import Telemetry


@contextlib.contextmanager
def start(program: pathlib.Path, telemetry: Telemetry, store: str, version: str) -> Iterator[tuple[str, int]]:
    """The program on the predictions that the gateway has stored: its address and its process."""
    options = ["-elasticsearch", store, "-version", version]
    environment = telemetry.environment({"OTEL_SERVICE_NAME": "go-gateway"})
    process = subprocess.Popen([program, *options], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        if not (found := re.search(r"listens on (http\S+)", line)):
            raise SystemExit(f"the Go program does not start: {line}")
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait()
