"""The load of every table: wrk, what it says, and what each process used meanwhile."""

import functools
import itertools
import json
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from paths import Usage, milliseconds, requests, usage

T = TypeVar("T")
# Says what a process, or a whole engine, has used until now.
Meter = Callable[[], Usage]
# Not counted: fills caches and pools.
WARM_UP = 2


class Options(NamedTuple):
    """What the command line says."""

    program: pathlib.Path
    seconds: int
    connections: int
    up_to: int
    prediction_store: str
    feature_store: str
    minutes: float
    spans_per_second: int


class Load(NamedTuple):
    """What wrk says of all addresses together, and what each process used meanwhile."""

    requests: int
    # Without those that were refused.
    per_second: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int
    used: dict[str, Usage]

    def micros(self, process: str, things: int = 1) -> float:
        """CPU time of a process for each of the `things` of a request."""
        used = self.used[process]
        return 1e6 * (used.user + used.system) / max(1, self.requests * things)


def batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(things)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def random_script(body: str, count: int, folder: pathlib.Path) -> pathlib.Path:
    """Requests for random ids, as a program of wrk: `%08d` in the body becomes a number below `count`."""
    file = folder / "random.lua"
    numbers = ", ".join(["math.random(0, last)"] * body.count("%08d"))
    lines = [
        f"local body, last = {json.dumps(body)}, {count - 1}",
        'wrk.method = "POST"',
        'wrk.headers["content-type"] = "application/json"',
        "local threads = 0",
        'function setup(thread) thread:set("seed", threads) threads = threads + 1 end',
        "function init() math.randomseed(seed + 14) end",
        f"function request() return wrk.format(nil, nil, nil, body:format({numbers})) end",
    ]
    file.write_text("\n".join(lines))
    return file


def wrk(urls: list[str], script: pathlib.Path, connections: int, seconds: int) -> list[str]:
    """A wrk for each address, at the same time, with its share of the connections."""
    share = max(1, connections // len(urls))
    threads = 1 if len(urls) > 1 else min(2, share)
    load = [f"-t{threads}", f"-c{share}", f"-d{seconds}s", "--latency", "--timeout", "20s", "-s", str(script)]
    try:
        running = [subprocess.Popen(["wrk", *load, url], stdout=subprocess.PIPE, text=True) for url in urls]
    except FileNotFoundError:
        raise SystemExit("there is no wrk on the PATH; on Debian: apt-get install wrk") from None
    return [process.communicate()[0] for process in running]


def measure(
    urls: list[str], script: pathlib.Path, meters: dict[str, Meter], connections: int, seconds: int, strict: bool = True
) -> Load:
    """`strict` ends the run at an answer that is not 2xx: a refusal would count as a fast request."""
    wrk(urls, script, connections, min(WARM_UP, seconds))
    before = {name: meter() for name, meter in meters.items()}
    said = wrk(urls, script, connections, seconds)
    load = summed(said, {name: meter().since(before[name]) for name, meter in meters.items()})
    if strict and (load.refused or load.broken or not load.requests):
        raise SystemExit(f"under load of {urls[0]}:\n" + "\n".join(said))
    return load


def summed(said: list[str], used: dict[str, Usage]) -> Load:
    rates = [float(re.search(r"Requests/sec:\s+([\d.]+)", one)[1]) for one in said]  # type: ignore[index]
    errors = [re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", one) for one in said]
    every = sum(requests(one) for one in said)
    refused = sum(int(number) for one in said for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", one))
    return Load(
        every,
        sum(rates) * (every - refused) / max(1, every),
        # Of several, the slowest.
        max(milliseconds(one, 50) for one in said),
        max(milliseconds(one, 99) for one in said),
        refused,
        sum(int(number) for one in errors if one for number in one.groups()),
        used,
    )


def meters_of(pids: dict[str, int]) -> dict[str, Meter]:
    return {name: functools.partial(usage, pid) for name, pid in pids.items()}


def resident(pid: int) -> float:
    """MiB of memory that a process has now."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def heading(*columns: str) -> None:
    print("| " + " | ".join(columns) + " |")
    print("|" + "--:|" * len(columns), flush=True)


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
