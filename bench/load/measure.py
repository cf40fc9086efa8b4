"""One measurement: the load, and what each process used meanwhile."""

import functools
import pathlib
import sys
from collections.abc import Callable
from typing import NamedTuple

from load import wrk
from load.processes import Usage, usage

# Says what a process, or a whole engine, has used until now.
Meter = Callable[[], Usage]
# Seconds. Not counted: fills caches and pools.
WARM_UP = 2
# Seconds. Who has not answered once in this time does not answer at all.
LONGEST = 60


class Load(NamedTuple):
    """What wrk says of all addresses together, and what each process used meanwhile."""

    said: wrk.Said
    used: dict[str, Usage]

    def micros(self, process: str, things: int = 1) -> float:
        """CPU time of a process for each of the `things` of a request."""
        used = self.used[process]
        return 1e6 * (used.user + used.system) / max(1, self.said.requests * things)


class Pressure(NamedTuple):
    """How much load, and for how long."""

    connections: int
    seconds: int


def measure(
    urls: list[str], file: pathlib.Path, meters: dict[str, Meter], pressure: Pressure, strict: bool = True
) -> Load:
    """`strict` ends the program at an answer that is not 2xx.

    On a busy machine an address may answer nothing in a short time: then it gets twice the time.
    """
    run = functools.partial(wrk.run_all, urls, file, pressure.connections, strict=strict)
    run(seconds=WARM_UP)
    seconds = pressure.seconds
    while True:
        before = {name: meter() for name, meter in meters.items()}
        said = run(seconds=seconds)
        used = {name: meter().since(before[name]) for name, meter in meters.items()}
        silent = [url for url, one in zip(urls, said, strict=True) if not one.requests]
        if not silent:
            return Load(wrk.together(said), used)
        seconds *= 2
        if seconds > LONGEST:
            raise SystemExit(f"no answer within {seconds // 2} s: {', '.join(silent)}")
        print(f"no answer within {seconds // 2} s, now {seconds} s: {', '.join(silent)}", file=sys.stderr)


def meters_of(pids: dict[str, int]) -> dict[str, Meter]:
    """A meter for each process, with its children."""
    return {name: functools.partial(usage, pid) for name, pid in pids.items()}
