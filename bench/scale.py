"""Measures how costs grow: with ids, connections, stored rows and gateways; and the explorer under a stream of spans.

    cargo build --release
    python3 bench/scale.py [--program target/release/throughline] [--seconds N] [--connections N] TABLE...

Tables (bench/growth/, one file each):

    ids          1, 10, 100 and 1,000 ids in a request
    connections  1 to 512 connections
    predictions  10^3 to 10^N predictions in the store (--up-to N, --prediction-store sqlite|URL of Elasticsearch)
    features     10^3 to 10^N entities in the store (--up-to N, --feature-store sqlite|URL of Redis)
    gateways     1, 2 and 4 gateways on one Elasticsearch (--prediction-store URL)
    explorer     the explorer under a steady stream (--minutes N, --spans-per-second N)

Everything is traced, and `wrk` makes the load on the same cores, as in bench/paths.py. `--seconds` is the time of each
row. Stores are filled without the services, under names that nobody else uses; Elasticsearch and Redis are tidied up.
Needs Linux and Python.
"""

import argparse
import importlib
import pathlib

from growth.table import Options
from load.folders import TARGET

TABLES = {
    "ids": "growth.ids",
    "connections": "growth.connections",
    "predictions": "growth.predictions",
    "features": "growth.features",
    "gateways": "growth.gateways",
    "explorer": "growth.stream",
}


def main() -> None:
    """Print one table after the other."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", type=pathlib.Path, default=TARGET / "release/throughline")
    arguments.add_argument("--seconds", type=int, default=10)
    # Few, so that a latency is that of the work and not that of a queue.
    arguments.add_argument("--connections", type=int, default=8)
    arguments.add_argument("--up-to", type=int, default=6, metavar="POWER")
    arguments.add_argument("--prediction-store", default="sqlite", metavar="sqlite|URL")
    arguments.add_argument("--feature-store", default="sqlite", metavar="sqlite|URL")
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--spans-per-second", type=int, default=10_000)
    arguments.add_argument("tables", nargs="+", choices=list(TABLES), metavar="TABLE")
    options = arguments.parse_args()
    if "gateways" in options.tables and options.prediction_store == "sqlite":
        arguments.error(
            "gateways needs --prediction-store, with the address of an Elasticsearch: they do not share a file"
        )
    tables = options.tables
    del options.tables
    options.program = options.program.resolve()
    for name in tables:
        print(f"\n### {name}\n", flush=True)
        importlib.import_module(TABLES[name]).table(Options(**vars(options)))


if __name__ == "__main__":
    main()
