"""The load of every table, what each process used meanwhile, and the lines of a table."""

import contextlib
import functools
import itertools
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from load import wrk
from load.processes import Usage, usage
from load.receiver import receiver
from load.telemetry import Telemetry, settings

T = TypeVar("T")
# Says what a process, or a whole engine, has used until now.
Meter = Callable[[], Usage]
# Not counted: fills caches and pools.
WARM_UP = 2
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


class Load(NamedTuple):
    """What wrk says of all addresses together, and what each process used meanwhile."""

    requests: int
    # Without those that were refused.
    per_second: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int
    used: dict[str, Usage]

    def micros(self, process: str, things: int = 1) -> float:
        """CPU time of a process for each of the `things` of a request."""
        used = self.used[process]
        return 1e6 * (used.user + used.system) / max(1, self.requests * things)

    def latencies(self) -> tuple[str, str]:
        """The cells of half and of nearly all requests."""
        return f"{self.p50_ms:.2f}", f"{self.p99_ms:.2f}"


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


def measure(
    urls: list[str], script: pathlib.Path, meters: dict[str, Meter], options: Options, strict: bool = True
) -> Load:
    """`strict` ends the run at an answer that is not 2xx."""
    wrk.run_all(urls, script, options.connections, min(WARM_UP, options.seconds))
    before = {name: meter() for name, meter in meters.items()}
    said = wrk.run_all(urls, script, options.connections, options.seconds)
    used = {name: meter().since(before[name]) for name, meter in meters.items()}
    if strict:
        for url, one in zip(urls, said, strict=True):
            wrk.must_succeed(url, one)
    return summed(said, used)


def summed(said: list[wrk.Said], used: dict[str, Usage]) -> Load:
    """All addresses together; of their latencies, the slowest."""
    requests, refused = sum(one.requests for one in said), sum(one.refused for one in said)
    return Load(
        requests=requests,
        per_second=sum(one.per_second for one in said) * (requests - refused) / max(1, requests),
        p50_ms=max(one.p50_ms for one in said),
        p99_ms=max(one.p99_ms for one in said),
        refused=refused,
        broken=sum(one.broken for one in said),
        used=used,
    )


def meters_of(pids: dict[str, int]) -> dict[str, Meter]:
    """A meter for each process, with its children."""
    return {name: functools.partial(usage, pid) for name, pid in pids.items()}


def resident(pid: int) -> float:
    """MiB of memory that a process has now."""
    found = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def heading(*columns: str) -> None:
    """The first two lines of a table: numbers stand to the right."""
    row(*columns)
    print("|" + "".join("---|" if column in WORDS else "--:|" for column in columns), flush=True)


def row(*cells: object) -> None:
    """A line of a table, at once."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
