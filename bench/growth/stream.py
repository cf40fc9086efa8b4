"""The explorer under a steady stream of spans: what it takes, what it costs, and how its list answers meanwhile."""

import contextlib
import http.client
import json
import math
import multiprocessing
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from multiprocessing.sharedctypes import SynchronizedArray
from typing import Any

from growth.batch import SPANS_OF_BATCH, Batch, batches_of_services
from growth.part import Part, part
from growth.table import Options, heading, resident, row
from load.folders import ROOT
from load.processes import usage
from load.telemetry import OFF

PAUSE = 1.0
# What the sender counts.
SENT, FAILED, SLOWEST = range(3)


def send(otlp: str, rate: int, counts: "SynchronizedArray[float]") -> None:
    """Sends a batch of each service again and again, each time as new traces, `rate` spans a second."""
    address = otlp.removeprefix("http://")
    connections = [(batch, http.client.HTTPConnection(address, timeout=30)) for batch in batches_of_services()]
    number, due = 0, time.monotonic()
    while True:
        number += 1
        for batch, connection in connections:
            post(batch, number, connection, counts)
        due += SPANS_OF_BATCH / rate
        # Who is late stays late: a burst would measure something else.
        due = max(due, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def post(batch: Batch, number: int, connection: http.client.HTTPConnection, counts: "SynchronizedArray[float]") -> None:
    """Sends one request and counts what became of it."""
    body = batch.body(number, time.time_ns())
    began = time.monotonic()
    try:
        connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        failed = answer.status != http.client.OK
    except OSError:
        connection.close()
        failed = True
    counts[SENT] += batch.spans
    counts[FAILED] += batch.spans if failed else 0
    counts[SLOWEST] = max(counts[SLOWEST], 1e3 * (time.monotonic() - began))


@contextlib.contextmanager
def sender(otlp: str, rate: int) -> Iterator["SynchronizedArray[float]"]:
    """A process of its own, so that what it counts does not depend on what this one does."""
    counts = multiprocessing.Array("d", 3)
    process = multiprocessing.Process(target=send, args=(otlp, rate, counts), daemon=True)
    process.start()
    try:
        yield counts
    finally:
        process.terminate()
        process.join()


def get(url: str) -> tuple[bytes, float]:
    """A page, and after how many ms it was there."""
    began = time.monotonic()
    with urllib.request.urlopen(url, timeout=60) as answer:
        body: bytes = answer.read()
    return body, 1e3 * (time.monotonic() - began)


def stats(page: str) -> dict[str, Any]:
    """What the explorer says of its traces."""
    found: dict[str, Any] = json.loads(get(f"{page}/api/stats")[0])["traces"]
    return found


def table(options: Options) -> None:
    """A row for each minute."""
    rules = str(ROOT / "explorer/src/rules/default.toml")
    # As `throughline up` starts it; it sends no telemetry.
    arguments = ["--otlp-listen", "127.0.0.1:0", "--rules", rules]
    steps = math.ceil(options.minutes)
    seconds = options.minutes * 60 / steps
    with part(options.program, "explorer", arguments, OFF) as explorer:
        print(f"{options.spans_per_second:,} spans/s for {options.minutes:g} min, a row for each {seconds:.0f} s\n")
        cost = ("CPU, % of a core", "CPU µs per span", "resident MiB")
        list_page = ("list p50 ms", "most", "slowest post ms")
        heading("s", "spans/s", "not taken", "evicted", "traces held", *cost, *list_page)
        with sender(explorer.otlp, options.spans_per_second) as counts:
            for number in range(steps):
                step(round((number + 1) * seconds), seconds, explorer, counts)


def step(at: int, seconds: float, explorer: Part, counts: "SynchronizedArray[float]") -> None:
    """A row. `not taken` is of the whole run: what failed, and what was refused one by one."""
    began, before, sent_before = time.monotonic(), usage(explorer.pid), counts[SENT]
    counts[SLOWEST] = 0.0
    times = []
    while (left := began + seconds - time.monotonic()) > 0:
        times.append(get(f"{explorer.address}/")[1])
        time.sleep(min(PAUSE, left))
    used, sent, took = usage(explorer.pid).since(before), counts[SENT] - sent_before, time.monotonic() - began
    cpu, held = used.user + used.system, stats(explorer.address)
    if not held["held_traces"]:
        raise SystemExit(f"the explorer has none of the spans that were sent to {explorer.otlp}")
    lost = int(counts[FAILED]) + held["refused"]
    memory = f"{resident(explorer.pid):.1f}"
    costs = (f"{100 * cpu / took:.1f}", f"{1e6 * cpu / max(1.0, sent):.1f}", memory)
    latency = (f"{statistics.median(times):.1f}", f"{max(times):.1f}", f"{counts[SLOWEST]:.0f}")
    row(at, f"{sent / took:.0f}", lost, held["evicted"], held["held_traces"], *costs, *latency)
