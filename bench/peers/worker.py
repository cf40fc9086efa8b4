"""Throughline's Python worker of this checkout, in the environment of its lock."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator

from load.bodies import DATA
from load.folders import ROOT
from load.telemetry import Telemetry
from peers import process

WORKER = ROOT / "model-service/python"


def several(processes: int) -> Callable[[pathlib.Path, Telemetry], contextlib.AbstractContextManager[tuple[str, int]]]:
    """The worker with so many processes."""
    return functools.partial(start, processes=processes)


@contextlib.contextmanager
def start(environments: pathlib.Path, telemetry: Telemetry, processes: int = 1) -> Iterator[tuple[str, int]]:
    """The worker alone, with the model that it trains, when all of its processes serve."""
    programs = process.environment(environments / "worker", "model-service/python/requirements.lock")
    with process.temporary() as folder:
        variables = instrumented(telemetry, folder, "model-service-python")
        models = train(programs, variables, folder)
        command: list[process.Word] = [programs / "opentelemetry-instrument", programs / "python"]
        command += ["-m", "throughline_worker", "--listen", "127.0.0.1:0", "--model-repository", models]
        command += ["--processes", str(processes)]
        # The log has the address once, and one line for each further process that serves.
        others = rf"(?s)\A(?=(?:.*?server\.process_started){{{processes - 1}}})"
        listening = others + r'.*?"url": "http://127\.0\.0\.1:(\d+)'
        with process.started(command, variables, folder, listening) as running:
            yield running


def instrumented(telemetry: Telemetry, folder: pathlib.Path, service: str) -> dict[str, str]:
    """The settings of the worker's instrumentation, for whoever is to be traced as it is."""
    lines = (WORKER / "instrumentation.env").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    own = {"PYTHONPATH": str(WORKER / "src"), "PYTHONPYCACHEPREFIX": str(folder / "pycache")}
    return telemetry.environment(settings, own, {"OTEL_SERVICE_NAME": service})


def train(programs: pathlib.Path, variables: dict[str, str], folder: pathlib.Path) -> pathlib.Path:
    """A model repository with version 1 of `wine_quality`, gradient-boosted trees."""
    models = folder / "models"
    command: list[process.Word] = [programs / "python", "-m", "throughline_worker.train", "wine_quality"]
    process.run([*command, "--data", DATA, "--model-repository", models], variables, folder)
    return models
