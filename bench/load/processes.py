"""What processes cost, each with all its children: CPU time and switches from /proc, and what perf counts."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
SYSTEM_CALLS = ["raw_syscalls:sys_enter"]


class Usage(NamedTuple):
    """What a process and its children have used since their start."""

    user: float
    system: float
    switches: int

    def since(self, earlier: "Usage") -> "Usage":
        """What was used after `earlier`."""
        return Usage(self.user - earlier.user, self.system - earlier.system, self.switches - earlier.switches)


def usage(pid: int) -> Usage:
    """Of the whole tree. A child that has ended is in what its parent has waited for."""
    user = system = switches = 0
    for member in tree(pid):
        # A process or thread may end meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = pathlib.Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
        for status in pathlib.Path(f"/proc/{member}/task").glob("*/status"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                switches += sum(int(count) for count in re.findall(r"ctxt_switches:\s+(\d+)", status.read_text()))
    return Usage(user / TICKS, system / TICKS, switches)


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for member in found:
        for task in pathlib.Path(f"/proc/{member}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, task.read_text().split())
    return found


def child(parent: int, name: str) -> int:
    """The process below `parent` that has `name` among its arguments."""
    for pid in tree(parent)[1:]:
        if f"\0{name}\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_text() + "\0":
            return pid
    raise SystemExit(f"there is no process {name}")


def counted(events: list[str], pids: dict[str, int], load: Callable[[], int]) -> dict[str, float]:
    """Events of each process for one request, by perf; `load` answers how many requests there were."""
    counters = {name: _perf(events, tree(pid)) for name, pid in pids.items()}
    requests = load()
    if not requests:
        raise SystemExit("there was no answer while perf counted")
    return {name: _stopped(counter) / requests for name, counter in counters.items()}


def _perf(events: list[str], pids: list[int]) -> subprocess.Popen[str]:
    """perf, when it counts: it is told to begin and answers."""
    (orders, order), (answer, answers) = os.pipe(), os.pipe()
    command = ["perf", "stat", "-x,", "-e", ",".join(events), "-p", ",".join(map(str, pids))]
    command += ["--delay", "-1", "--control", f"fd:{orders},{answers}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=(orders, answers))
    os.close(orders)
    os.close(answers)
    # It may have ended already; why is in what it says.
    with contextlib.suppress(BrokenPipeError), os.fdopen(order, "wb", buffering=0) as told:
        told.write(b"enable\n")
        with os.fdopen(answer, "rb", buffering=0) as heard:
            heard.read(1)
    return process


def _stopped(counter: subprocess.Popen[str]) -> int:
    counter.send_signal(signal.SIGINT)
    said = counter.communicate()[1]
    lines = [line.split(",") for line in said.splitlines() if "," in line]
    if not lines or not all(line[0].isdigit() for line in lines):
        raise SystemExit(f"perf counts nothing; it needs the rights of root:\n{said}")
    return sum(int(line[0]) for line in lines)


@contextlib.contextmanager
def allocation_probes() -> Iterator[list[str]]:
    """Events for the calls of the C library's allocator, which are there as long as this lasts."""
    names = ["malloc", "calloc", "realloc", "posix_memalign"]
    group = f"throughline_{os.getpid()}"
    probes = [f"{group}:{name}" for name in names]
    library = re.search(r"\S+/libc\.so\.6", pathlib.Path("/proc/self/maps").read_text())
    if not library:
        raise SystemExit("allocations are counted in the C library of GNU, which is not here")
    added = [word for name, probe in zip(names, probes, strict=True) for word in ("--add", f"{probe}={name}")]
    try:
        subprocess.run(["perf", "probe", "--quiet", "--exec", library[0], *added], check=True)
        yield probes
    finally:
        subprocess.run(["perf", "probe", "--quiet", "--del", f"{group}:*"], check=False)
