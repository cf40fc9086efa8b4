"""A peer as a process: its environment, its start, and its end."""

import contextlib
import pathlib
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

from load.folders import ROOT

# Seconds. Some read hundreds of megabytes of Python first.
DEADLINE = 120
Word = str | pathlib.Path


def environment(folder: pathlib.Path, lock: str) -> pathlib.Path:
    """The programs of an environment with the packages of a lock, which is made unless it is there."""
    subprocess.run([ROOT / ".ci/environment", folder, ROOT / lock], check=True)
    return folder.absolute() / "bin"


def run(command: Sequence[Word], variables: Mapping[str, str], folder: pathlib.Path) -> None:
    """A program that has to end well; what it says is shown only if it does not."""
    ran = subprocess.run(command, env=variables, cwd=folder, text=True, capture_output=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{command} failed:\n{ran.stdout}{ran.stderr}")


@contextlib.contextmanager
def temporary() -> Iterator[pathlib.Path]:
    """A folder for what a server writes."""
    with tempfile.TemporaryDirectory() as folder:
        yield pathlib.Path(folder)


@contextlib.contextmanager
def started(
    command: Sequence[Word], variables: Mapping[str, str], folder: pathlib.Path, port: str
) -> Iterator[tuple[str, int]]:
    """A server, when its log has a line that matches `port`: its address and its process."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=variables, cwd=folder
        )
    try:
        yield f"http://127.0.0.1:{_port(process, log, port)}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: pathlib.Path, pattern: str) -> str:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(pattern, log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise SystemExit(f"{process.args!r} does not start:\n{log.read_text()}")
