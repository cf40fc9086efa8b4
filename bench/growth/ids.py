"""The cost of an id in requests of 1 to 1,000 ids, which is the most that the gateway takes."""

import json
import pathlib
import tempfile

from paths import PATHS, Path, receiver, script, system, wine

from growth.load import Meter, Options, heading, measure, meters_of, row

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
    store = None if options.prediction_store == "sqlite" else options.prediction_store
    with receiver() as telemetry, system(options.program, telemetry, store) as (addresses, pids):
        print(f"{options.connections} connections, {options.seconds} s for each row; CPU time in µs per id\n")
        heading("path", "ids", "requests/s", "ids/s", "p50 ms", "p99 ms", *PROCESSES)
        # Misses first: they store what the hits then find.
        for name in ("miss", "hit"):
            for count in COUNTS:
                line(name, PATHS[name]._replace(bodies=bodies(count)), count, addresses, meters_of(pids), options)


def line(
    name: str, path: Path, count: int, addresses: dict[str, str], meters: dict[str, Meter], options: Options
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = script(path, pathlib.Path(folder))
        load = measure([addresses[path.service] + path.url], file, meters, options.connections, options.seconds)
    ids, times = load.per_second * count, (f"{load.micros(process, count):.1f}" for process in PROCESSES)
    row(name, count, f"{load.per_second:.0f}", f"{ids:.0f}", f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}", *times)
