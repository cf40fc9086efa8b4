"""bench/peers/python: the worker's model behind FastAPI, instrumented by Elastic's distribution as the worker is."""

import contextlib
import pathlib
from collections.abc import Iterator

from load.folders import ROOT
from load.telemetry import Telemetry
from peers import process, worker

PROGRAM = ROOT / "bench/peers/python"


@contextlib.contextmanager
def start(environments: pathlib.Path, telemetry: Telemetry) -> Iterator[tuple[str, int]]:
    """The program under uvicorn, with a model that the worker's training made with this environment's scikit-learn."""
    programs = process.environment(environments / "fastapi", "bench/peers/python/requirements.lock")
    with process.temporary() as folder:
        variables = worker.instrumented(telemetry, folder, "fastapi")
        variables["MODEL"] = str(worker.train(programs, variables, folder) / "wine_quality/1")
        command: list[process.Word] = [programs / "opentelemetry-instrument", programs / "uvicorn", "server:app"]
        command += ["--app-dir", PROGRAM, "--port", "0", "--no-access-log"]
        with process.started(command, variables, folder, r"running on http://127\.0\.0\.1:(\d+)") as running:
            yield running
