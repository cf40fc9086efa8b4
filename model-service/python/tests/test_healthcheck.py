"""`python -m throughline_worker.healthcheck`, the health check of the container."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import NOWHERE
from harness import SOURCES, Process, worker_command

from throughline_worker.repository import Manifest


def ask(*arguments: str, listen: str = "127.0.0.1:1") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "throughline_worker.healthcheck", *arguments]
    environment = {"PYTHONPATH": str(SOURCES), "MODEL_SERVICE_LISTEN": listen}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_ready_service_is_healthy_until_it_stops(trained: tuple[Path, Manifest]) -> None:
    process = Process(worker_command(trained[0], NOWHERE))
    url = process.url
    answer = ask("--url", url)
    assert answer.returncode == 0, answer.stderr
    assert '"ready":true' in answer.stdout
    # All addresses include loopback.
    port = url.rpartition(":")[2]
    assert ask(listen=f"0.0.0.0:{port}").returncode == 0
    assert process.stop() == 0
    answer = ask("--url", url)
    assert answer.returncode == 1
    assert "model-service-python is not ready" in answer.stderr


def test_a_service_without_a_model_is_not_healthy(tmp_path: Path) -> None:
    process = Process(worker_command(tmp_path, NOWHERE))
    answer = ask("--url", process.url)
    assert answer.returncode == 1
    assert "answers 503" in answer.stderr
    assert process.stop() == 0
