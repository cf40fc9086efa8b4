"""The load, by wrk."""

import json
import pathlib
import re
import subprocess
from typing import NamedTuple

from load.bodies import Path


class Said(NamedTuple):
    """What wrk says after a run."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


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


def run(url: str, file: pathlib.Path, connections: int, seconds: int) -> Said:
    """Sends requests for some seconds; an answer that is not 2xx ends the program."""
    load = [f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds}s"]
    try:
        said: str = subprocess.run(
            ["wrk", *load, "--latency", "--timeout", "10s", "-s", file, url], check=True, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        raise SystemExit("there is no wrk on the PATH; on Debian: apt-get install wrk") from None
    for wrong in ("Non-2xx", "Socket errors"):
        if wrong in said:
            raise SystemExit(f"{url} under load:\n{said}")
    requests = int(_found(r"(\d+) requests in", said)[0])
    per_second = float(_found(r"Requests/sec:\s+([\d.]+)", said)[0])
    return Said(requests, per_second, _milliseconds(said, 50), _milliseconds(said, 99))


def _milliseconds(said: str, quantile: int) -> float:
    value, unit = _found(rf"{quantile}%\s+([\d.]+)(us|ms|s)\b", said)
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def _found(pattern: str, said: str) -> tuple[str, ...]:
    if match := re.search(pattern, said):
        return match.groups()
    raise SystemExit(f"wrk said no {pattern}:\n{said}")
