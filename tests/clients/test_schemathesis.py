"""Schemathesis: requests made from /openapi.json, good and bad, and everything that the document promises checked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness import http
from harness.system import System

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
PHASES = "examples, coverage, fuzzing, stateful"


@pytest.mark.client("Schemathesis", distribution="schemathesis", against="gateway, `/openapi.json`")
@pytest.mark.call(f"all checks; {PHASES}")
def test_openapi(system: System, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("st")),
        f"--config-file={CONFIGURATION}",
        "run",
        f"{system.gateway}/openapi.json",
        f"--phases={PHASES.replace(' ', '')}",
        "--report=json",
        "--report-json-path=report.json",
        "--no-color",
    ]
    # It writes files into the current folder.
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    # It succeeds also if it could test nothing.
    described = http.get(f"{system.gateway}/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    tested = json.loads((tmp_path / "report.json").read_text())["operations"]["tested"]
    # It does not test the path of the document.
    assert tested == len(operations - {"GET /openapi.json"})
