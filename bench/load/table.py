"""The tables: a row for each process that a path reaches, and what the settings of telemetry are to each other."""

import argparse
import pathlib
import tempfile
from typing import NamedTuple

from load import processes, wrk
from load.bodies import Path
from load.measure import Pressure, measure, meters_of
from load.system import Running

# µs per request. Less is housekeeping of a process that the path does not reach.
LEAST = 5.0


class Row(NamedTuple):
    """One path with one setting, all processes together."""

    path: str
    traced: str
    said: wrk.Said
    cpu: float


class Table:
    """Measures, and prints what it has measured at once."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rows: list[Row] = []
        self.counts = [name for name in ("system calls", "allocations") if getattr(options, name.replace(" ", "_"))]

    def head(self) -> None:
        """Print what the columns are."""
        print(f"{self.options.connections} connections, {self.options.seconds} s for each path\n")
        names = ["path", "traced", "requests/s", "p50 ms", "p99 ms", "process"]
        names += ["CPU µs per request", "user", "system", "switches", *self.counts]
        print(f"| {' | '.join(names)} |")
        print("|---|---|--:|--:|--:|---|" + "--:|" * (len(names) - 6))

    def measure(self, name: str, path: Path, traced: str, running: Running) -> None:
        """A row for each process that the path reaches, the one that answers the client first."""
        url = running.addresses[path.service] + path.url
        with tempfile.TemporaryDirectory() as folder:
            file = wrk.script(path, pathlib.Path(folder))
            pressure = Pressure(self.options.connections, self.options.seconds)
            load = measure([url], file, meters_of(running.pids), pressure)
            counts = self._counts(url, file, running)
        said = load.said
        self.rows.append(Row(name, traced, said, sum(map(load.micros, load.used))))
        begin = f"| {name} | {traced} | {said.per_second:.0f} | {said.p50_ms:.2f} | {said.p99_ms:.2f} |"
        for process, its in sorted(load.used.items(), key=lambda item: item[0] != path.service):
            user, own = (1e6 * seconds / said.requests for seconds in (its.user, its.system))
            if user + own < LEAST:
                continue
            figures = [f"{user + own:.1f}", f"{user:.1f}", f"{own:.1f}", f"{its.switches / said.requests:.2f}"]
            figures += [f"{counts[what][process]:.1f}" if what in counts else "" for what in self.counts]
            print(f"{begin} {process} | {' | '.join(figures)} |", flush=True)
            begin = "| | | | | |"

    def _counts(self, url: str, file: pathlib.Path, running: Running) -> dict[str, dict[str, float]]:
        """What perf counts, in runs of their own, because it takes time."""

        def load() -> int:
            return wrk.run(url, file, self.options.connections, 5).requests

        found = {}
        if "system calls" in self.counts:
            found["system calls"] = processes.counted(processes.SYSTEM_CALLS, running.pids, load)
        if "allocations" in self.counts and running.rust:
            with processes.allocation_probes() as probes:
                found["allocations"] = processes.counted(probes, running.pids, load)
        return found

    def compare(self) -> None:
        """How each setting of a path stands to the last one."""
        paths = {row.path: [other for other in self.rows if other.path == row.path] for row in self.rows}
        if all(len(rows) == 1 for rows in paths.values()):
            return
        print("\n| path | traced | requests/s | p50 | p99 | CPU, all processes |\n|---|---|--:|--:|--:|--:|")
        for *rows, last in paths.values():
            for row in rows:
                pairs = [(row.said.per_second, last.said.per_second), (row.said.p50_ms, last.said.p50_ms)]
                pairs += [(row.said.p99_ms, last.said.p99_ms), (row.cpu, last.cpu)]
                ratios = " | ".join(f"{one / other:.2f}" for one, other in pairs)
                print(f"| {row.path} | {row.traced} : {last.traced} | {ratios} |")
