"""The load, by wrk, and what it says."""

import json
import pathlib
import re
import subprocess
from typing import NamedTuple

from load.bodies import Path


class Said(NamedTuple):
    """What wrk says after a run."""

    # With those that were refused.
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    # Answers that are not 2xx, and those that did not come.
    refused: int
    broken: int
    text: str

    def answered_per_second(self) -> float:
        """Without those that were refused."""
        return self.per_second * (self.requests - self.refused) / max(1, self.requests)


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


def random_script(body: str, count: int, folder: pathlib.Path) -> pathlib.Path:
    """Requests for random ids, as a program of wrk: `%08d` in the body becomes a number below `count`."""
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
    file = folder / "random.lua"
    file.write_text("\n".join(lines))
    return file


def run(url: str, file: pathlib.Path, connections: int, seconds: int) -> Said:
    """Sends requests for some seconds; an answer that is not 2xx ends the program."""
    (said,) = run_all([url], file, connections, seconds)
    return said


def run_all(urls: list[str], file: pathlib.Path, connections: int, seconds: int, strict: bool = True) -> list[Said]:
    """A wrk for each address, all at the same time, each with its share of the connections.

    `strict` ends the program at an answer that is not 2xx, which would count as a fast request.
    """
    share = max(1, connections // len(urls))
    threads = 1 if len(urls) > 1 else min(2, share)
    load: list[str | pathlib.Path] = [f"-t{threads}", f"-c{share}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    load += ["-s", file]
    try:
        running = [subprocess.Popen(["wrk", *load, url], stdout=subprocess.PIPE, text=True) for url in urls]
    except FileNotFoundError:
        raise SystemExit("there is no wrk on the PATH; on Debian: apt-get install wrk") from None
    every = [_parsed(process.communicate()[0]) for process in running]
    for url, said in zip(urls, every, strict=True):
        if strict and (said.refused or said.broken):
            raise SystemExit(f"{url} under load:\n{said.text}")
    return every


def together(said: list[Said]) -> Said:
    """Several as one; of their latencies, the slowest."""
    return Said(
        requests=sum(one.requests for one in said),
        per_second=sum(one.per_second for one in said),
        p50_ms=max(one.p50_ms for one in said),
        p99_ms=max(one.p99_ms for one in said),
        refused=sum(one.refused for one in said),
        broken=sum(one.broken for one in said),
        text="\n".join(one.text for one in said),
    )


def _parsed(said: str) -> Said:
    # Both lines are only there if there is something to say.
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return Said(
        requests=int(_found(r"(\d+) requests in", said)[0]),
        per_second=float(_found(r"Requests/sec:\s+([\d.]+)", said)[0]),
        p50_ms=_milliseconds(said, 50),
        p99_ms=_milliseconds(said, 99),
        refused=int(refused[1]) if refused else 0,
        broken=sum(map(int, broken.groups())) if broken else 0,
        text=said,
    )


def _milliseconds(said: str, quantile: int) -> float:
    value, unit = _found(rf"{quantile}%\s+([\d.]+)(us|ms|s)\b", said)
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def _found(pattern: str, said: str) -> tuple[str, ...]:
    if match := re.search(pattern, said):
        return match.groups()
    raise SystemExit(f"wrk said no {pattern}:\n{said}")
