"""Who answers: Throughline's own services, started by `throughline up`."""

import contextlib
import json
import pathlib
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

from load.bodies import WINES, wine
from load.processes import child
from load.telemetry import Telemetry

# What the gateway takes in one request.
MOST_IDS = 1_000
PORTS = [word for name in ("gateway", "model-service", "feature-store") for word in (f"--{name}-port", "0")]


class Running(NamedTuple):
    """The address of each service and the id of each process, by name."""

    addresses: dict[str, str]
    pids: dict[str, int]
    # Whether all memory is the C library's. Python and Go have allocators of their own.
    rust: bool = False


@contextlib.contextmanager
def system(program: pathlib.Path, telemetry: Telemetry, store: str | None) -> Iterator[Running]:
    """A running system, on ports and in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command: list[str | pathlib.Path] = [program, "up", "--no-python", "--no-encoder", "--data-dir", folder, *PORTS]
        # With an address it starts no explorer, which telemetry that is off does not need either.
        command += ["--otlp-endpoint", telemetry.variables.get("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]
        command += ["--prediction-store", store] if store else []
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=telemetry.environment(),
        )
        try:
            addresses = _addresses(process)
            yield Running(addresses, {name: child(process.pid, name) for name in addresses}, rust=True)
        finally:
            process.terminate()
            process.wait()


def _addresses(process: subprocess.Popen[str]) -> dict[str, str]:
    addresses, said = {}, []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if found := re.match(r"(gateway|model-service|feature-store) +(http\S+)", line):
            addresses[found[1]] = found[2]
        if line.startswith("Then:"):
            return addresses
    raise SystemExit("the system does not start:\n" + "".join(said))


def store_predictions(gateway: str) -> None:
    """Each wine's prediction, so that every request of the path hit is one."""
    for begin in range(0, WINES, MOST_IDS):
        ids = [wine(number) for number in range(begin, min(begin + MOST_IDS, WINES))]
        post(f"{gateway}/v1/predictions", {"model": "wine_quality", "data_ids": ids})


def post(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request in JSON."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def stored_prediction(gateway: str) -> dict[str, Any]:
    """One of those that the gateway has stored."""
    with urllib.request.urlopen(f"{gateway}/v1/predictions?model=wine_quality&limit=1", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)["predictions"][0]
    return found
