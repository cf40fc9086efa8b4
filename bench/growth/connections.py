"""Each path with 1 to 512 connections: throughput, latency, and what the services refuse."""

import pathlib
import tempfile

from paths import PATHS, receiver, script, system

from growth.load import Meter, Options, heading, measure, meters_of, row

COUNTS = (1, 4, 16, 64, 256, 512)
NAMES = ("hit", "miss", "infer", "features-1")
PROCESSES = ("gateway", "model-service", "feature-store")


def table(options: Options) -> None:
    store = None if options.prediction_store == "sqlite" else options.prediction_store
    with receiver() as telemetry, system(options.program, telemetry, store) as (addresses, pids):
        print(f"{options.seconds} s for each row; CPU time in µs per request\n")
        heading("path", "connections", "requests/s", "p50 ms", "p99 ms", "not 2xx", "broken", *PROCESSES)
        for name in NAMES:
            for count in COUNTS:
                line(name, count, addresses, meters_of(pids), options)


def line(name: str, count: int, addresses: dict[str, str], meters: dict[str, Meter], options: Options) -> None:
    path = PATHS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = script(path, pathlib.Path(folder))
        # Refusals belong to this table: beyond their limits the services answer 429.
        url = addresses[path.service] + path.url
        load = measure([url], file, meters, count, options.seconds, strict=False)
    times = (f"{load.micros(process):.1f}" for process in PROCESSES)
    latency = (f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}")
    row(name, count, f"{load.per_second:.0f}", *latency, load.refused, load.broken, *times)
