"""Each path with 1 to 512 connections: throughput, latency, and what the services refuse."""

import pathlib
import tempfile

from growth.table import Options, heading, latencies, row, traced
from load import wrk
from load.bodies import PATHS
from load.measure import Pressure, measure, meters_of
from load.system import Running, system

COUNTS = (1, 4, 16, 64, 256, 512)
NAMES = ("hit", "miss", "infer", "features-1")
PROCESSES = ("gateway", "model-service", "feature-store")


def table(options: Options) -> None:
    """A row for each path and number of connections."""
    with traced() as telemetry, system(options.program, telemetry, options.named_store()) as running:
        print(f"{options.seconds} s for each row; CPU time in µs per request\n")
        heading("path", "connections", "requests/s", "p50 ms", "p99 ms", "not 2xx", "broken", *PROCESSES)
        for name in NAMES:
            for count in COUNTS:
                line(name, count, running, options)


def line(name: str, count: int, running: Running, options: Options) -> None:
    """One row."""
    path = PATHS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = wrk.script(path, pathlib.Path(folder))
        # Refusals belong to this table: beyond their limits the services answer 429.
        url = running.addresses[path.service] + path.url
        load = measure([url], file, meters_of(running.pids), Pressure(count, options.seconds), strict=False)
    times = (f"{load.micros(process):.1f}" for process in PROCESSES)
    begin = (name, count, f"{load.said.answered_per_second():.0f}", *latencies(load.said))
    row(*begin, load.said.refused, load.said.broken, *times)
