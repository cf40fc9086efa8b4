"""Shared fixtures: a trained repository, a real feature store, a running service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from harness import BINARY, DATA, HELP, Client, binary, fill, running, worker_command

from throughline_worker.repository import Manifest
from throughline_worker.train.run import TrainOptions, train

# The same examples each time, and no deadline, because the machine may be busy.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("steady")

# A port on which nothing listens.
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A repository with one version, and its manifest. Tests must not change it."""
    root = tmp_path_factory.mktemp("models")
    return root, train(TrainOptions(DATA, root))


@pytest.fixture
def repository(trained: tuple[Path, Manifest], tmp_path: Path) -> Path:
    """A copy of the repository, which a test may change."""
    return Path(shutil.copytree(trained[0], tmp_path / "models"))


@pytest.fixture(scope="session")
def feature_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real feature store with all wines."""
    if BINARY is None:
        pytest.skip(HELP)
    database = tmp_path_factory.mktemp("features") / "features.db"
    command = [
        binary(),
        "feature-store",
        "--listen",
        "127.0.0.1:0",
        "--database",
        str(database),
        "--allow-faults",
    ]
    with running(command, {"OTEL_SDK_DISABLED": "true"}) as process:
        fill(process.url)
        yield process.url


@pytest.fixture(scope="session")
def client(trained: tuple[Path, Manifest]) -> Iterator[Client]:
    """A service without a feature store."""
    with running(worker_command(trained[0], NOWHERE, "--allow-faults")) as process:
        yield Client(process)


@pytest.fixture(scope="session")
def whole(trained: tuple[Path, Manifest], feature_store: str) -> Iterator[Client]:
    """A service with a feature store."""
    with running(worker_command(trained[0], feature_store, "--allow-faults")) as process:
        yield Client(process)
