"""`feast serve` with one worker and its usual local store, SQLite."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from load.bodies import DATA
from load.folders import ROOT
from load.telemetry import Telemetry
from peers import process

DEFINITIONS = ROOT / "bench/peers/feast"


@contextlib.contextmanager
def start(environments: pathlib.Path, telemetry: Telemetry) -> Iterator[tuple[str, int]]:
    """The wines as a feature repository of Feast's, filled and served. It has no telemetry to be traced with."""
    programs = process.environment(environments / "feast", "bench/peers/feast/requirements.lock")
    with process.temporary() as folder:
        # gunicorn puts a socket there.
        variables = telemetry.environment({"HOME": str(folder), "PYTHONPYCACHEPREFIX": str(folder / "pycache")})
        shutil.copy(DEFINITIONS / "feature_store.yaml", folder)
        process.run([programs / "python", DEFINITIONS / "fill.py", DATA], variables, folder)
        # By default a worker ends after 1,000 requests, and to import Feast again takes seconds.
        command: list[process.Word] = [programs / "feast", "serve", "--port", "0", "--workers", "1"]
        command += ["--no-access-log", "--max-requests", "0"]
        listening = r"Listening at: http://127\.0\.0\.1:(\d+)"
        with process.started(command, variables, folder, listening) as running:
            yield running
