"""The cost of an id in requests of 1 to 1,000 ids, which is the most that the gateway takes."""

import json
import pathlib
import tempfile

from growth.table import Options, heading, latencies, row, traced
from load import wrk
from load.bodies import PATHS, wine
from load.measure import Pressure, measure, meters_of
from load.system import Running, system

COUNTS = (1, 10, 100, 1000)
PROCESSES = ("gateway", "model-service", "feature-store")
# A body of 1,000 ids has 12 kB; more bodies would only fill the memory of wrk.
BODIES = 97


def bodies(count: int) -> list[str]:
    """The ids of one body are all different, since the gateway computes an id once."""
    groups = range(0, BODIES * count, count)
    return [
        json.dumps({"model": "wine_quality", "data_ids": [wine(begin + step) for step in range(count)]})
        for begin in groups
    ]


def table(options: Options) -> None:
    """A row for each path and number of ids."""
    with traced() as telemetry, system(options.program, telemetry, options.named_store()) as running:
        print(f"{options.connections} connections, {options.seconds} s for each row; CPU time in µs per id\n")
        heading("path", "ids", "requests/s", "ids/s", "p50 ms", "p99 ms", *PROCESSES)
        # Misses first: they store what the hits then find.
        for name in ("miss", "hit"):
            for count in COUNTS:
                line(name, count, running, options)


def line(name: str, count: int, running: Running, options: Options) -> None:
    """One row."""
    path = PATHS[name]._replace(bodies=bodies(count))
    with tempfile.TemporaryDirectory() as folder:
        file = wrk.script(path, pathlib.Path(folder))
        url = running.addresses[path.service] + path.url
        load = measure([url], file, meters_of(running.pids), Pressure(options.connections, options.seconds))
    times = (f"{load.micros(process, count):.1f}" for process in PROCESSES)
    rate = load.said.per_second
    row(name, count, f"{rate:.0f}", f"{rate * count:.0f}", *latencies(load.said), *times)
