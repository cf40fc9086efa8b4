"""Measures each path through the system under load: requests/s, latency, and what each process spends on one request.

    cargo build --release
    python3 bench/paths.py [--program target/release/throughline] [--connections N] [--seconds N]
                           [--telemetry on,off] [--sampling RATIO,RATIO] [--syscalls] [--allocations]
                           [--prediction-store URL [--go PROGRAM]] [--peers NAME,NAME [--environments DIR]] [PATH...]

`wrk` makes the load (`apt-get install wrk`) and shares the cores with everything else. The telemetry goes to a receiver
that only reads it. CPU time is user and system time of a process with its children, and context switches are those of
all their threads, both from /proc.

Paths: hit, miss (gateway), infer (model-service, FP32 [1,11]), features-1, features-50 (feature-store).

`--telemetry off` is OTEL_SDK_DISABLED=true, `--sampling` a ratio of traces for the settings that are on. With several
settings a system runs for each, the paths are measured alternately, and each setting is compared with the last one.
`--syscalls` counts system calls by `perf`, `--allocations` the calls of the C library's allocator by the Rust processes
(Go and Python have their own), each in a run of its own.

Peers answer the same requests: `kserve` (untraced), `fastapi` and `worker` (Throughline's own in Python; both traced)
the path infer, as do `worker-2` and `worker-4` (the same with that many processes), `feast` (untraced) features-1 and
features-50. Each one's environment is made in `--environments` if it is not there, with the lock that its file in
bench/peers names: `.ci/environment target/peers/feast bench/peers/feast/requirements.lock`. `--go` measures hit and
miss, if they are asked for, with bench/peers/go as well: on the same Elasticsearch and feature store, with `fastapi` as
the model service.
Needs Linux and Python 3.11; an answer that is not 2xx ends the run.
"""

import argparse
import contextlib
import pathlib
from collections.abc import Callable

from load.bodies import PATHS
from load.folders import TARGET
from load.receiver import receiver
from load.system import Running, store_predictions, stored_prediction, system
from load.table import Table
from load.telemetry import OFF, Telemetry, settings
from peers import PEERS, fastapi, go_gateway


def parsed() -> argparse.Namespace:
    """The options, checked."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", type=pathlib.Path, default=TARGET / "release/throughline")
    arguments.add_argument("--connections", type=int, default=32)
    arguments.add_argument("--seconds", type=int, default=10)
    arguments.add_argument("--telemetry", type=words("on", "off"), default=["on"], metavar="on,off")
    arguments.add_argument("--sampling", type=ratios, default=[], metavar="RATIO,RATIO")
    arguments.add_argument("--syscalls", action="store_true", dest="system_calls")
    arguments.add_argument("--allocations", action="store_true")
    arguments.add_argument("--prediction-store", metavar="URL")
    arguments.add_argument("--go", type=pathlib.Path, metavar="PROGRAM")
    arguments.add_argument("--peers", type=words(*PEERS), default=[], metavar=",".join(PEERS))
    arguments.add_argument("--environments", type=pathlib.Path, default=TARGET / "peers", metavar="DIR")
    arguments.add_argument("paths", nargs="*", default=list(PATHS), metavar="PATH")
    options = arguments.parse_args()
    if unknown := set(options.paths) - set(PATHS):
        arguments.error(f"no such path: {', '.join(sorted(unknown))}; there are {', '.join(PATHS)}")
    if options.go and not options.prediction_store:
        arguments.error("--go needs --prediction-store, with the address of an Elasticsearch")
    return options


def words(*known: str) -> Callable[[str], list[str]]:
    """A reader of a list of these words."""

    def read(text: str) -> list[str]:
        found = text.split(",")
        if unknown := set(found) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
        return found

    return read


def ratios(text: str) -> list[float]:
    """A list of ratios."""
    found = [float(word) for word in text.split(",")]
    if not all(0 <= ratio <= 1 for ratio in found):
        raise argparse.ArgumentTypeError("a ratio is from 0 to 1")
    return found


def main() -> None:
    """Measure, and print each figure at once."""
    options = parsed()
    with receiver() as endpoint:
        asked = settings(options.telemetry, options.sampling, endpoint)
        table = Table(options)
        measure_system(options, asked, table)
        measure_peers(options, asked, table)
        table.compare()


def measure_system(options: argparse.Namespace, asked: list[Telemetry], table: Table) -> None:
    """Each path, with each setting after the other."""
    store = options.prediction_store
    with contextlib.ExitStack() as stack:
        program = options.program.resolve()
        systems = [(telemetry, stack.enter_context(system(program, telemetry, store))) for telemetry in asked]
        for _, running in systems if "hit" in options.paths else []:
            store_predictions(running.addresses["gateway"])
        table.head()
        for name in options.paths:
            for telemetry, running in systems:
                table.measure(name, PATHS[name], telemetry.traced, running)
        if options.go:
            measure_go(options, *systems[0], table)


def measure_go(options: argparse.Namespace, telemetry: Telemetry, running: Running, table: Table) -> None:
    """Hit and miss of the Go program, beside a running system whose stores it uses."""
    paths = [name for name in ("hit", "miss") if name in options.paths]
    services = go_gateway.Services(options.prediction_store, running.addresses["feature-store"])
    pids = {}
    with contextlib.ExitStack() as stack:
        if "miss" in paths:
            model_service, pid = stack.enter_context(fastapi.start(options.environments, telemetry))
            services = services._replace(model_service=model_service)
            pids = {"fastapi": pid, "feature-store": running.pids["feature-store"]}
        version = stored_prediction(running.addresses["gateway"])["model_version"]
        address, pid = stack.enter_context(go_gateway.start(options.go, telemetry, services, version))
        go = Running({"gateway": address}, {"go-gateway": pid, **pids})
        for name in paths:
            table.measure(f"{name}, Go", PATHS[name], telemetry.traced, go)


def measure_peers(options: argparse.Namespace, asked: list[Telemetry], table: Table) -> None:
    """Each peer on those of the paths that it answers, alone."""
    for name in options.peers:
        peer = PEERS[name]
        paths = [path for path in peer.paths if path in options.paths]
        for telemetry in (asked if peer.traced else [OFF]) if paths else []:
            with peer.start(options.environments, telemetry) as (address, pid):
                for path in paths:
                    running = Running({PATHS[path].service: address}, {name: pid})
                    table.measure(f"{path}, {name}", PATHS[path], telemetry.traced, running)


if __name__ == "__main__":
    main()
