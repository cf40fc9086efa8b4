"""Measures each path through the system under load: requests/s, latency, and what each process spends on one request.

    cargo build --release
    python3 bench/paths.py [--program target/release/throughline] [--connections N] [--seconds N]
                           [--prediction-store URL [--go PROGRAM]] [--syscalls] [PATH...]

`wrk` makes the load (`apt-get install wrk`) and shares the cores with everything else. All of it is traced; the
telemetry goes to a receiver that only reads it. CPU time is user and system time of the process, and context switches
are those of all its threads, both from /proc. `--syscalls` counts system calls by `perf`, in a run of their own.

Paths: hit, miss (gateway), infer (model-service, FP32 [1,11]), features-1, features-50 (feature-store).
`--go` measures a hit on the same Elasticsearch with the program of bench/peers/go as well.
Needs Linux and Python; an answer that is not 2xx ends the run.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WINES = 1599
TICKS = os.sysconf("SC_CLK_TCK")
FEATURES = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56]
NAMES = (
    "fixed_acidity volatile_acidity citric_acid residual_sugar chlorides free_sulfur_dioxide total_sulfur_dioxide "
    "density ph sulphates alcohol"
).split()


class Path(NamedTuple):
    """A request that is sent again and again, to which service, and how its body differs from the one before."""

    service: str
    url: str
    bodies: list[str]
    headers: dict[str, str]


def wine(number: int) -> str:
    return f"wine-{number % WINES + 1:04}"


def predictions() -> list[str]:
    return [json.dumps({"model": "wine_quality", "data_ids": [wine(number)]}) for number in range(WINES)]


def infer() -> list[str]:
    row = {"name": "features", "shape": [1, 11], "datatype": "FP32"}
    return [json.dumps({"inputs": [{**row, "data": [*FEATURES, 8.4 + number % 6]}]}) for number in range(WINES)]


def features(count: int) -> list[str]:
    asked = [f"wine_features:{name}" for name in NAMES]
    return [
        json.dumps({"features": asked, "entities": {"wine_id": [wine(number + step) for step in range(count)]}})
        for number in range(WINES)
    ]


PATHS = {
    "hit": Path("gateway", "/v1/predictions", predictions(), {}),
    "miss": Path("gateway", "/v1/predictions", predictions(), {"cache-control": "no-cache"}),
    "infer": Path("model-service", "/v2/models/wine_quality/infer", infer(), {}),
    "features-1": Path("feature-store", "/get-online-features", features(1), {}),
    "features-50": Path("feature-store", "/get-online-features", features(50), {}),
}


class Usage(NamedTuple):
    """What a process has used since its start."""

    user: float
    system: float
    switches: int

    def since(self, earlier: "Usage") -> "Usage":
        return Usage(self.user - earlier.user, self.system - earlier.system, self.switches - earlier.switches)


class Load(NamedTuple):
    """What wrk says, and what each process used meanwhile."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    used: dict[str, Usage]


def usage(pid: int) -> Usage:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    switches = 0
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        # A thread may end meanwhile.
        with contextlib.suppress(FileNotFoundError):
            switches += sum(int(count) for count in re.findall(r"ctxt_switches:\s+(\d+)", status.read_text()))
    return Usage(int(fields[11]) / TICKS, int(fields[12]) / TICKS, switches)


def script(path: Path, folder: pathlib.Path) -> pathlib.Path:
    """The requests as a program of wrk. Each of its threads begins elsewhere."""
    lines = ["local bodies = {"]
    lines += [f"  {json.dumps(body)}," for body in path.bodies]
    lines += ["}", 'wrk.method = "POST"', 'wrk.headers["content-type"] = "application/json"']
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in path.headers.items()]
    lines += [
        "local threads = 0",
        'function setup(thread) thread:set("at", threads * 700) threads = threads + 1 end',
        "function request() at = at % #bodies + 1 return wrk.format(nil, nil, nil, bodies[at]) end",
    ]
    file = folder / "requests.lua"
    file.write_text("\n".join(lines))
    return file


def wrk(url: str, file: pathlib.Path, connections: int, seconds: int) -> str:
    threads = min(2, connections)
    load = [f"-t{threads}", f"-c{connections}", f"-d{seconds}s"]
    try:
        said: str = subprocess.run(
            ["wrk", *load, "--latency", "--timeout", "10s", "-s", file, url], check=True, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        raise SystemExit("there is no wrk on the PATH; on Debian: apt-get install wrk") from None
    for wrong in ("Non-2xx", "Socket errors"):
        if wrong in said:
            raise SystemExit(f"{url} under load:\n{said}")
    return said


def milliseconds(said: str, quantile: int) -> float:
    value, unit = re.search(rf"{quantile}%\s+([\d.]+)(us|ms|s)\b", said).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def requests(said: str) -> int:
    return int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]


def measure(url: str, file: pathlib.Path, pids: dict[str, int], connections: int, seconds: int) -> Load:
    # Fills caches and pools, and does not count.
    wrk(url, file, connections, 2)
    before = {name: usage(pid) for name, pid in pids.items()}
    said = wrk(url, file, connections, seconds)
    used = {name: usage(pid).since(before[name]) for name, pid in pids.items()}
    return Load(
        requests(said),
        float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]),  # type: ignore[index]
        milliseconds(said, 50),
        milliseconds(said, 99),
        used,
    )


def syscalls(url: str, file: pathlib.Path, pids: dict[str, int], connections: int) -> dict[str, float]:
    """System calls of each process for one request."""
    counters = {
        name: subprocess.Popen(
            ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", str(pid), "--", "sleep", "5"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, pid in pids.items()
    }
    count = requests(wrk(url, file, connections, 5))
    return {name: float(counter.communicate()[1].split(",")[0]) / count for name, counter in counters.items()}


class Receiver(asyncio.Protocol):
    """Takes OTLP/HTTP requests and decodes nothing."""

    EMPTY = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"

    def __init__(self) -> None:
        self.head = b""
        self.left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if self.left:
                taken = min(self.left, len(data))
                self.left -= taken
                data = data[taken:]
                if not self.left:
                    self.transport.write(self.EMPTY)
                continue
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            self.head = b""
            length = re.search(rb"(?i)content-length: (\d+)", head)
            self.left = int(length[1]) if length else 0


def receive(answer: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
        answer.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """The address of the receiver, which is a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=receive, args=(there,), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{here.recv()}"
    process.terminate()
    process.join()


@contextlib.contextmanager
def system(program: pathlib.Path, telemetry: str, store: str | None) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """A running system: the address and the process of each service."""
    with tempfile.TemporaryDirectory() as folder:
        command: list[str | pathlib.Path] = [program, "up", "--no-python", "--no-encoder"]
        command += ["--data-dir", folder, "--otlp-endpoint", telemetry]
        command += [part for name in ("gateway", "model-service", "feature-store") for part in (f"--{name}-port", "0")]
        command += ["--prediction-store", store] if store else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
        try:
            addresses = wait_for_addresses(process)
            yield addresses, {name: pid_of(process.pid, name) for name in addresses}
        finally:
            process.terminate()
            process.wait()


def wait_for_addresses(process: subprocess.Popen[str]) -> dict[str, str]:
    addresses, said = {}, []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if found := re.match(r"(gateway|model-service|feature-store) +(http\S+)", line):
            addresses[found[1]] = found[2]
        if line.startswith("Then:"):
            return addresses
    raise SystemExit("the system does not start:\n" + "".join(said))


def pid_of(parent: int, name: str) -> int:
    """The child process that runs a service."""
    for task in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in task.read_text().split():
            if f"\0{name}\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_text() + "\0":
                return int(pid)
    raise SystemExit(f"there is no process {name}")


@contextlib.contextmanager
def go_gateway(program: pathlib.Path, telemetry: str, store: str, version: str) -> Iterator[tuple[str, int]]:
    """The Go program on the predictions that the gateway has stored: its address and its process."""
    options = ["-elasticsearch", store, "-version", version]
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry, "OTEL_SERVICE_NAME": "go-gateway"}
    process = subprocess.Popen([program, *options], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        if not (found := re.search(r"listens on (http\S+)", line)):
            raise SystemExit(f"the Go program does not start: {line}")
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait()


def stored_version(gateway: str) -> str:
    with urllib.request.urlopen(f"{gateway}/v1/predictions?model=wine_quality&limit=1", timeout=10) as answer:
        return str(json.load(answer)["predictions"][0]["model_version"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", type=pathlib.Path, default=TARGET / "release/throughline")
    arguments.add_argument("--connections", type=int, default=32)
    arguments.add_argument("--seconds", type=int, default=10)
    arguments.add_argument("--prediction-store")
    arguments.add_argument("--go", type=pathlib.Path, metavar="PROGRAM")
    arguments.add_argument("--syscalls", action="store_true")
    arguments.add_argument("paths", nargs="*", default=list(PATHS), metavar="PATH")
    options = arguments.parse_args()
    if unknown := set(options.paths) - set(PATHS):
        arguments.error(f"no such path: {', '.join(sorted(unknown))}; there are {', '.join(PATHS)}")
    if options.go and not options.prediction_store:
        arguments.error("--go needs --prediction-store, with the address of an Elasticsearch")
    with receiver() as telemetry, system(options.program.resolve(), telemetry, options.prediction_store) as running:
        print_head(options)
        for name in options.paths:
            print_rows(name, PATHS[name], *running, options)
        if options.go:
            version = stored_version(running[0]["gateway"])
            with go_gateway(options.go, telemetry, options.prediction_store, version) as (address, pid):
                print_rows("hit, Go", PATHS["hit"], {"gateway": address}, {"go-gateway": pid}, options)


def print_head(options: argparse.Namespace) -> None:
    print(f"{options.connections} connections, {options.seconds} s for each path\n")
    counted = " | system calls" if options.syscalls else ""
    print(f"| path | requests/s | p50 ms | p99 ms | process | CPU µs per request | user | system | switches{counted} |")
    print("|---|--:|--:|--:|---|--:|--:|--:|--:|" + ("--:|" if options.syscalls else ""))


def print_rows(
    name: str, path: Path, addresses: dict[str, str], pids: dict[str, int], options: argparse.Namespace
) -> None:
    """A row for each process that the path reaches."""
    url = addresses[path.service] + path.url
    with tempfile.TemporaryDirectory() as folder:
        file = script(path, pathlib.Path(folder))
        load = measure(url, file, pids, options.connections, options.seconds)
        calls = syscalls(url, file, pids, options.connections) if options.syscalls else {}
    begin = f"| {name} | {load.per_second:.0f} | {load.p50_ms:.2f} | {load.p99_ms:.2f} |"
    # The one that answers the client first.
    for process, used in sorted(load.used.items(), key=lambda item: item[0] != path.service):
        user, own = (1e6 * seconds / load.requests for seconds in (used.user, used.system))
        # Housekeeping of a process that the path does not reach.
        if user + own < 5:
            continue
        figures = f"{user + own:.1f} | {user:.1f} | {own:.1f} | {used.switches / load.requests:.2f}"
        print(f"{begin} {process} | {figures} |" + (f" {calls[process]:.1f} |" if calls else ""), flush=True)
        begin = "| | | | |"


if __name__ == "__main__":
    main()
