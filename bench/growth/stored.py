"""How reads of random ids change while a store grows from 10^3 rows on, each size with a new process."""

import pathlib
import tempfile
from collections.abc import Callable
from typing import NamedTuple, Protocol

from growth.part import part
from growth.table import Options, heading, latencies, resident, row
from load import wrk
from load.measure import Load, Meter, Pressure, measure, meters_of
from load.telemetry import Telemetry

FIRST = 3
MIB = 1024 * 1024


class Store(Protocol):
    """A store that is filled from outside."""

    # With which the process uses it.
    arguments: list[str]
    # The CPU time of the engine, if that is a process of its own.
    meters: dict[str, Meter]

    def fill(self, begin: int, end: int) -> None:
        """Adds the rows `begin` to `end`."""

    def size(self) -> int:
        """Bytes of all rows: on the disk, or in the memory of the engine."""


class Reads(NamedTuple):
    """The process that reads, and what it is asked."""

    name: str
    path: str
    # A body for each number of ids in a request; `%08d` is the number of a row.
    bodies: dict[int, str]
    # Ends the run if the rows up to this number are not found: a table of errors would look fast.
    check: Callable[[str, int], None]


def grow(store: Store, reads: Reads, arguments: list[str], telemetry: Telemetry, options: Options) -> None:
    """A row for each size of the store and each number of ids."""
    start = [*store.arguments, *arguments]
    # Makes the table or the index.
    with part(options.program, reads.name, start, telemetry):
        pass
    print(f"{options.connections} connections, {options.seconds} s for each row; CPU time in µs per request\n")
    processes = (reads.name, *store.meters)
    heading("stored", "MiB", "ready in s", "ids", "requests/s", "p50 ms", "p99 ms", *processes, "resident MiB")
    filled = 0
    for power in range(FIRST, options.up_to + 1):
        store.fill(filled, filled := 10**power)
        with part(options.program, reads.name, start, telemetry) as running:
            reads.check(running.address, filled - 1)
            begin = (f"{filled:,}", f"{store.size() / MIB:.1f}", f"{running.seconds:.2f}")
            meters = {**meters_of({reads.name: running.pid}), **store.meters}
            for ids, body in reads.bodies.items():
                load = random_reads(running.address + reads.path, body, filled, meters, options)
                figures = (f"{load.said.per_second:.0f}", *latencies(load.said))
                times = (f"{load.micros(process):.1f}" for process in meters)
                row(*begin, ids, *figures, *times, f"{resident(running.pid):.1f}")
                begin = ("", "", "")


def random_reads(url: str, body: str, count: int, meters: dict[str, Meter], options: Options) -> Load:
    """The load of requests for rows below `count`."""
    with tempfile.TemporaryDirectory() as folder:
        file = wrk.random_script(body, count, pathlib.Path(folder))
        return measure([url], file, meters, Pressure(options.connections, options.seconds))
