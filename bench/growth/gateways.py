"""Hits through 1, 2 and 4 gateways on one Elasticsearch, with the same number of connections in all."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

from paths import PATHS, receiver, script, system

from growth.elasticsearch import Elasticsearch
from growth.load import Options, heading, measure, meters_of, row
from growth.part import part

COUNTS = (1, 2, 4)
# Seconds, at least.
WARM_UP = 5


@contextlib.contextmanager
def gateways(count: int, model_service: str, telemetry: str, options: Options) -> Iterator[dict[str, int]]:
    """The addresses and processes of gateways that share a store and a model service."""
    arguments = ["--prediction-store", options.prediction_store, "--model-service", model_service]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(part(options.program, "gateway", arguments, telemetry)) for _ in range(count)]
        yield {gateway.address: gateway.pid for gateway in started}


def table(options: Options) -> None:
    connections = max(options.connections, COUNTS[-1])
    with receiver() as telemetry, system(options.program, telemetry, options.prediction_store) as (addresses, pids):
        print(f"{connections} connections in all, {options.seconds} s for each row; CPU time in µs per request\n")
        columns = ("requests/s", "p50 ms", "p99 ms", "gateways together", "Elasticsearch")
        heading("path", "gateways", *columns)
        with tempfile.TemporaryDirectory() as folder:
            # Misses store what the hits then find. Both warm up the JVM, which the first row would do else.
            for name in ("miss", "hit"):
                file = script(PATHS[name], pathlib.Path(folder))
                url = addresses["gateway"] + PATHS[name].url
                measure([url], file, meters_of(pids), connections, max(WARM_UP, options.seconds))
        for name in ("hit", "miss"):
            for count in COUNTS:
                with gateways(count, addresses["model-service"], telemetry, options) as started:
                    line(name, started, connections, options)


def line(name: str, started: dict[str, int], connections: int, options: Options) -> None:
    path = PATHS[name]
    meters = {**meters_of(started), "Elasticsearch": Elasticsearch(options.prediction_store).usage}
    urls = [address + path.url for address in started]
    with tempfile.TemporaryDirectory() as folder:
        load = measure(urls, script(path, pathlib.Path(folder)), meters, connections, options.seconds)
    together = sum(load.micros(address) for address in started)
    times = (f"{together:.1f}", f"{load.micros('Elasticsearch'):.1f}")
    row(name, len(started), f"{load.per_second:.0f}", f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}", *times)
