"""KServe's Python model server, as in examples/kserve-server, without `opentelemetry-instrument`."""

import contextlib
import pathlib
from collections.abc import Iterator

from load.bodies import DATA
from load.folders import ROOT
from load.telemetry import Telemetry
from peers import process

EXAMPLE = ROOT / "examples/kserve-server"


@contextlib.contextmanager
def start(environments: pathlib.Path, telemetry: Telemetry) -> Iterator[tuple[str, int]]:
    """The example with the model that it trains, a logistic regression. Rows of features need no feature store."""
    programs = process.environment(environments / "kserve", "examples/kserve-server/requirements.lock")
    with process.temporary() as folder:
        variables = telemetry.environment({"PYTHONPYCACHEPREFIX": str(folder / "pycache")})
        model: list[process.Word] = ["--model-dir", folder / "model"]
        python = programs / "python"
        process.run([python, EXAMPLE / "train.py", "--data", DATA, *model], variables, folder)
        command: list[process.Word] = [python, EXAMPLE / "server.py", "--http_port", "0", *model]
        command += ["--log_config_file", EXAMPLE / "log.yaml"]
        with process.started(command, variables, folder, r"running on http://0\.0\.0\.0:(\d+)") as running:
            yield running
