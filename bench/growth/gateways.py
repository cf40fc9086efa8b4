"""Hits through 1, 2 and 4 gateways on one Elasticsearch, with the same number of connections in all."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

from growth.elasticsearch import Elasticsearch
from growth.part import part
from growth.table import Options, heading, latencies, row, traced
from load import wrk
from load.bodies import PATHS
from load.measure import Pressure, measure, meters_of
from load.system import Running, system
from load.telemetry import Telemetry

COUNTS = (1, 2, 4)
# Seconds, at least.
WARM_UP = 5


@contextlib.contextmanager
def gateways(count: int, model_service: str, telemetry: Telemetry, options: Options) -> Iterator[dict[str, int]]:
    """The addresses and processes of gateways that share a store and a model service."""
    arguments = ["--prediction-store", options.prediction_store, "--model-service", model_service]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(part(options.program, "gateway", arguments, telemetry)) for _ in range(count)]
        yield {gateway.address: gateway.pid for gateway in started}


def table(options: Options) -> None:
    """A row for each path and number of gateways."""
    options = options._replace(connections=max(options.connections, COUNTS[-1]))
    with traced() as telemetry, system(options.program, telemetry, options.prediction_store) as running:
        print(f"{options.connections} connections in all, {options.seconds} s for each row", end="; ")
        print("CPU time in µs per request\n")
        columns = ("requests/s", "p50 ms", "p99 ms", "gateways together", "Elasticsearch")
        heading("path", "gateways", *columns)
        warm_up(running, options)
        for name in ("hit", "miss"):
            for count in COUNTS:
                with gateways(count, running.addresses["model-service"], telemetry, options) as started:
                    line(name, started, options)


def warm_up(running: Running, options: Options) -> None:
    """Misses store what the hits then find. Both warm up the JVM, which the first row would do else."""
    for name in ("miss", "hit"):
        with tempfile.TemporaryDirectory() as folder:
            file = wrk.script(PATHS[name], pathlib.Path(folder))
            url = running.addresses["gateway"] + PATHS[name].url
            wrk.run(url, file, options.connections, max(WARM_UP, options.seconds))


def line(name: str, started: dict[str, int], options: Options) -> None:
    """One row."""
    path = PATHS[name]
    meters = {**meters_of(started), "Elasticsearch": Elasticsearch(options.prediction_store).usage}
    urls = [address + path.url for address in started]
    with tempfile.TemporaryDirectory() as folder:
        load = measure(
            urls, wrk.script(path, pathlib.Path(folder)), meters, Pressure(options.connections, options.seconds)
        )
    together = sum(load.micros(address) for address in started)
    times = (f"{together:.1f}", f"{load.micros('Elasticsearch'):.1f}")
    row(name, len(started), f"{load.said.per_second:.0f}", *latencies(load.said), *times)
