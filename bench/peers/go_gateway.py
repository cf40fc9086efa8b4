"""The Go program of bench/peers/go."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from load.bodies import REFERENCES
from load.telemetry import Telemetry
from peers import process


class Services(NamedTuple):
    """The addresses of what it calls. Only a miss needs a model service."""

    elasticsearch: str
    feature_store: str
    model_service: str = ""


@contextlib.contextmanager
def start(program: pathlib.Path, telemetry: Telemetry, services: Services, version: str) -> Iterator[tuple[str, int]]:
    """The program on the predictions that the gateway has stored: its address and its process."""
    command: list[process.Word] = [program.resolve(), "-elasticsearch", services.elasticsearch, "-version", version]
    command += ["-model-service", services.model_service, "-feature-store", services.feature_store]
    command += ["-features", ",".join(REFERENCES)]
    variables = telemetry.environment({"OTEL_SERVICE_NAME": "go-gateway"})
    listening = r"listens on http://127\.0\.0\.1:(\d+)"
    with process.temporary() as folder, process.started(command, variables, folder, listening) as running:
        yield running
