"""What every table needs: its options, its telemetry, and its lines."""

import contextlib
import itertools
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from load import wrk
from load.receiver import receiver
from load.telemetry import Telemetry, settings

T = TypeVar("T")
# The columns that are not numbers.
WORDS = ("path",)


class Options(NamedTuple):
    """What the command line says."""

    program: pathlib.Path
    seconds: int
    connections: int
    up_to: int
    prediction_store: str
    feature_store: str
    minutes: float
    spans_per_second: int

    def named_store(self) -> str | None:
        """The store of `throughline up`: only an Elasticsearch has to be named."""
        return None if self.prediction_store == "sqlite" else self.prediction_store


@contextlib.contextmanager
def traced() -> Iterator[Telemetry]:
    """The telemetry of every table: all of it, to a receiver."""
    with receiver() as endpoint:
        (telemetry,) = settings(["on"], [], endpoint)
        yield telemetry


def batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """The things in lists of this size; the last one may be shorter."""
    rest = iter(things)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def resident(pid: int) -> float:
    """MiB of memory that a process has now."""
    found = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def latencies(said: wrk.Said) -> tuple[str, str]:
    """The cells of half and of nearly all requests."""
    return f"{said.p50_ms:.2f}", f"{said.p99_ms:.2f}"


def heading(*columns: str) -> None:
    """The first two lines of a table: numbers stand to the right."""
    row(*columns)
    print("|" + "".join("---|" if column in WORDS else "--:|" for column in columns), flush=True)


def row(*cells: object) -> None:
    """A line of a table, at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
