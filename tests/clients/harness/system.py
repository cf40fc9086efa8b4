"""The system under test: started by `throughline up` on free ports, or one that runs already, named by variables."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import http
from harness.wait import until

# Training in a debug build takes seconds; the Python worker reads scikit-learn first.
START_DEADLINE = 180.0
STOP_DEADLINE = 30.0
# Whose telemetry settings or addresses must not reach the system under test.
FOREIGN = ("OTEL_", "THROUGHLINE_", "GATEWAY_", "MODEL_", "FEATURE_", "PREDICTION_", "EXPLORER_", "RUST_LOG")


@dataclass(frozen=True)
class System:
    """Where the parts listen."""

    gateway: str
    model_service: str
    model_service_python: str | None
    feature_store: str
    explorer: str
    otlp: str


def python_environment() -> Path | None:
    """Return the environment of the Python worker, if it is to be part of the system."""
    folder = os.environ.get("THROUGHLINE_PYTHON_ENVIRONMENT")
    return Path(folder) if folder else None


def has_python() -> bool:
    """Return whether the system has a Python model service; known before it is started."""
    return bool(os.environ.get("THROUGHLINE_MODEL_SERVICE_PYTHON_URL")) or python_environment() is not None


@contextmanager
def running() -> Iterator[System]:
    """Yield the system that the variables name, or start one and stop it afterwards."""
    named = _named(os.environ)
    if named is not None:
        yield named
        return
    folder = Path(tempfile.mkdtemp(prefix="throughline-clients-"))
    keep = False
    try:
        with _up(folder) as system:
            yield system
    except BaseException:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder)


def _named(variables: Mapping[str, str]) -> System | None:
    def url(part: str) -> str:
        return variables[f"THROUGHLINE_{part}_URL"].rstrip("/")

    if "THROUGHLINE_GATEWAY_URL" not in variables:
        return None
    python = variables.get("THROUGHLINE_MODEL_SERVICE_PYTHON_URL")
    parts = (url(part) for part in ("FEATURE_STORE", "EXPLORER", "OTLP"))
    return System(url("GATEWAY"), url("MODEL_SERVICE"), python and python.rstrip("/"), *parts)


@contextmanager
def _up(folder: Path) -> Iterator[System]:
    ports = ["gateway", "model-service", "feature-store", "explorer", "otlp"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    command = [_binary(), "up", "--data-dir", str(folder)]
    if (python := python_environment()) is not None:
        command += ["--python", "--python-environment", str(python)]
        ports.append("python")
    command += [word for part in ports for word in (f"--{part}-port", "0")]
    screen = folder / "screen"
    with screen.open("wb") as output:
        # A group of its own: Ctrl-C at pytest must reach the system once, from here.
        process = subprocess.Popen(  # noqa: S603 - the program under test
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, process_group=0
        )
    guard = _guard(process.pid)
    try:
        system = until("the system is up", lambda: _listening(process, folder), START_DEADLINE)
        until("the gateway is ready", lambda: http.get(f"{system.gateway}/readyz").status == 200 or None)
        yield system
    except TimeoutError as error:
        raise RuntimeError(f"{error}:\n{screen.read_text()}") from error
    finally:
        guard.kill()
        guard.communicate()
        _stop(process, screen)


def _guard(pid: int) -> "subprocess.Popen[bytes]":
    """Start a process that stops the system when pytest is killed and its standard input ends."""
    script = 'read -r _; kill -INT "$1"'
    return subprocess.Popen(  # noqa: S603 - a constant script
        ["/bin/sh", "-c", script, "sh", str(pid)], stdin=subprocess.PIPE, process_group=0
    )


def _binary() -> str:
    binary = os.environ.get("THROUGHLINE_BIN")
    if binary is None:
        binary = str(Path(__file__).parents[3] / "target" / "debug" / "throughline")
    if not Path(binary).is_file():
        raise FileNotFoundError(f"{binary}: build it with `cargo build -p throughline`, or set THROUGHLINE_BIN")
    return binary


def _listening(process: "subprocess.Popen[bytes]", folder: Path) -> System | None:
    if process.poll() is not None:
        raise RuntimeError(f"the system ended at its start:\n{(folder / 'screen').read_text()}")

    def url(part: str, event: str = "server.listening") -> str | None:
        return _url(folder / "logs" / f"{part}.log", event)

    gateway, model_service, feature_store = url("gateway"), url("model-service"), url("feature-store")
    explorer, otlp = url("explorer"), url("explorer", "explorer.otlp_listening")
    python = url("model-service-python")
    if not (gateway and model_service and feature_store and explorer and otlp) or (has_python() and not python):
        return None
    return System(gateway, model_service, python, feature_store, explorer, otlp)


def _url(log: Path, event: str) -> str | None:
    if not log.exists():
        return None
    for line in log.read_text().splitlines():
        # The last line may be half written, and a line may be no log record.
        if f'"{event}"' in line and line.endswith("}"):
            return str(json.loads(line)["url"])
    return None


def _stop(process: "subprocess.Popen[bytes]", screen: Path) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        status = process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        # Its parts stop when it has ended, since they hold the other end of its pipes.
        process.kill()
        status = process.wait()
    if status != 0:
        raise RuntimeError(f"the system ended with status {status}:\n{screen.read_text()}")
