"""Fixtures of all tests with clients: the running system, its traces, a caller with a span, the yardstick's values."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import http
from harness.caller import Caller
from harness.results import Collector
from harness.system import System, running
from harness.targets import MODEL, Target, targets
from harness.traces import Explorer

WINES = Path(__file__).parents[2] / "data" / "wine_quality" / "winequality-red.csv"


def pytest_configure(config: pytest.Config) -> None:
    """Collect the results for the table."""
    config.pluginmanager.register(Collector())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test `target` all that speaks the Open Inference Protocol, and `edge` the ways through the gateway."""
    choices = {"target": targets(), "edge": [target for target in targets() if target.through_gateway]}
    for fixture, chosen in choices.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, chosen, ids=lambda target: target.name.replace(" ", "-").replace(",", ""))


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """Everything, running."""
    with running() as system:
        yield system


@pytest.fixture(scope="session")
def explorer(system: System) -> Explorer:
    """Where the traces are."""
    return Explorer(system.explorer)


@pytest.fixture(scope="session")
def caller(system: System) -> Iterator[Caller]:
    """A program of a user that has OpenTelemetry."""
    caller = Caller(system.otlp)
    yield caller
    caller.close()


@pytest.fixture
def url(system: System, target: Target) -> str:
    """The address of the target."""
    return target.url(system)


@dataclass(frozen=True)
class Wine:
    """One row of the data set."""

    data_id: str
    features: dict[str, float]


@pytest.fixture(scope="session")
def wines() -> list[Wine]:
    """All wines of the data set, in the order of its file."""
    with WINES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("data_id", "quality")]
    assert len(names) == 11
    return [Wine(row["data_id"], {name: float(row[name]) for name in names}) for row in rows]


@dataclass(frozen=True)
class Predicted:
    """The answer to plain JSON over plain HTTP, which each client must get, too."""

    version: str
    labels: list[str]
    confidences: list[float]
    probabilities: list[list[float]]


class Yardstick:
    """Asks a target without any client library."""

    def __init__(self, url: str, target: Target) -> None:
        self._url = f"{url}/v2/models/{MODEL}/infer"
        self._headers = target.headers

    def __call__(self, data_ids: list[str]) -> Predicted:
        """Return the checked predictions for `data_ids`."""
        tensor = {"name": "data_id", "datatype": "BYTES", "shape": [len(data_ids)], "data": data_ids}
        answer = http.post(self._url, {"inputs": [tensor]}, self._headers)
        assert answer.status == 200, answer.body
        body = answer.json()
        outputs = {output["name"]: output for output in body["outputs"]}
        flat, rows = outputs["probabilities"]["data"], len(data_ids)
        width = outputs["probabilities"]["shape"][1]
        predicted = Predicted(
            version=body["model_version"],
            labels=outputs["label"]["data"],
            confidences=outputs["confidence"]["data"],
            probabilities=[flat[row * width : (row + 1) * width] for row in range(rows)],
        )
        for row in range(rows):
            shares = predicted.probabilities[row]
            assert sum(shares) == pytest.approx(1, abs=1e-5)
            assert predicted.confidences[row] == max(shares)
            assert predicted.labels[row] == ("low", "high")[shares.index(max(shares))]
        return predicted


@pytest.fixture
def yardstick(url: str, target: Target) -> Yardstick:
    """The values that the target answers to plain JSON."""
    return Yardstick(url, target)
