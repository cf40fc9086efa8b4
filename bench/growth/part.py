"""One part of the system as a process of its own, beside or instead of those of `throughline up`."""

import contextlib
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

from load.telemetry import Telemetry

DEADLINE = 300


class Part(NamedTuple):
    """A running part."""

    address: str
    # The explorer's receiver.
    otlp: str
    pid: int
    # From its start until it answered that it is ready.
    seconds: float


@contextlib.contextmanager
def part(program: pathlib.Path, name: str, options: list[str], telemetry: Telemetry) -> Iterator[Part]:
    """Starts a part on a free port and waits until it is ready."""
    # A file and not a pipe, which would have to be read all the time.
    with tempfile.NamedTemporaryFile("w+") as log:
        began = time.monotonic()
        command = [str(program), name, "--listen", "127.0.0.1:0", *options]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=telemetry.environment())
        try:
            address, otlp = wait_until_ready(process, pathlib.Path(log.name), name)
            yield Part(address, otlp, process.pid, time.monotonic() - began)
        finally:
            process.terminate()
            process.wait()


def wait_until_ready(process: subprocess.Popen[Any], log: pathlib.Path, name: str) -> tuple[str, str]:
    """The address of the part and that of its receiver, as its log says them."""
    end = time.monotonic() + DEADLINE
    while process.poll() is None and time.monotonic() < end:
        address = re.search(rf"{name} listens on (http[^\s\"]+)", log.read_text())
        if address and is_ready(address[1]):
            # Read again: it may have said so later than where it listens.
            otlp = re.search(r"OTLP/HTTP on (http[^\s\"]+)", log.read_text())
            return address[1], otlp[1] if otlp else ""
        time.sleep(0.005)
    raise SystemExit(f"{name} does not start:\n{log.read_text()}")


def is_ready(address: str) -> bool:
    """Whether it says so."""
    with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"{address}/readyz", timeout=10) as answer:
        return bool(answer.status == 200)
    return False
