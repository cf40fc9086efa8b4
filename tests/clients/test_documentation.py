"""The code of docs/clients.md, run as a reader would run it, with the addresses of the running system."""

import ast
import asyncio
import re
import subprocess
from inspect import CO_COROUTINE
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.instrumentation.requests import RequestsInstrumentor

from harness.system import System

DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What each section's code prints, among other things.
PRINTED = {
    "One trace": "",
    "curl": r'"label":"low"(.|\n)*"data":\["low"\](.|\n)*9\.4',
    "requests, httpx": r"wine-0001 low 0\.\d+ (True|False)\nwine-0002",
    "tritonclient": r"\[b'low' b'\w+'\] \[0\.\d+",
    "KServe's client": r"'label': array\(\['low'",
    "Feast": r"\{'wine_id': \['wine-0001'\], 'alcohol': \[9\.4\], 'ph': \[3\.51\]\}",
}


def sections(system: System) -> dict[str, list[tuple[str, str]]]:
    """The blocks of code under each heading, with their languages and the addresses of the running system."""
    text = DOCUMENT.read_text()
    for default, url in {"8080": system.gateway, "6566": system.feature_store}.items():
        text = text.replace(f"127.0.0.1:{default}", urlsplit(url).netloc)
    parts = [part.partition("\n") for part in text.split("\n## ")[1:]]
    return {heading: BLOCK.findall(body) for heading, _, body in parts if BLOCK.search(body)}


def run(language: str, code: str) -> None:
    if language == "yaml":
        Path("feature_store.yaml").write_text(code)
    elif language == "sh":
        done = subprocess.run(["/bin/sh", "-eu", "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
        print(done.stdout)  # noqa: T201 - as the terminal would show it
    else:
        assert language == "python"
        names: dict[str, Any] = {}
        program = compile(code, str(DOCUMENT), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        outcome = eval(program, names)  # noqa: S307 - our own document
        if program.co_flags & CO_COROUTINE:
            asyncio.run(outcome)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("section", PRINTED)
def test_code(
    section: str,
    system: System,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for language, code in sections(system)[section]:
        run(language, code)
    RequestsInstrumentor().uninstrument()
    printed = capsys.readouterr().out
    assert re.search(PRINTED[section], printed), printed


def test_all_code_is_run(system: System) -> None:
    assert set(sections(system)) == set(PRINTED)
