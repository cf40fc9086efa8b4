"""Measures the explorer with many traces: 5,000 traces of 12 spans, posted as OTLP/JSON to a release build.

    cargo build --release -p explorer
    python3 bench/explorer.py [--traces N] [--runs N]

Prints the time of each page and of its JSON, measured by the client over loopback (so it contains the
transfer), the bytes of each page with its assets after gzip, and the resident memory of the explorer.
Needs nothing but Python. Fails if the memory is above twice `--max-bytes`.
"""

import argparse
import gzip
import json
import pathlib
import random
import re
import statistics
import subprocess
import time
import urllib.request
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCH = 100
# A little more than the default, so that all traces are held.
MAX_BYTES = 40 * 1024 * 1024
LIMIT_MS = 100
LIMIT_BYTES = 100_000

# Name, service, kind, parent and part of the request's time of each span, after the tree of a miss.
SPANS: list[tuple[str, str, int, int, float]] = [
    ("POST /v1/predictions", "gateway", 2, -1, 1.0),
    ("SELECT predictions", "gateway", 3, 0, 0.05),
    ("POST", "gateway", 3, 0, 0.8),
    ("POST /v2/models/{model_name}/infer", "model-service", 2, 2, 0.75),
    ("POST", "model-service", 3, 3, 0.3),
    ("POST /get-online-features", "feature-store", 2, 4, 0.25),
    ("SELECT wine_features", "feature-store", 3, 5, 0.1),
    ("predict wine_quality", "model-service", 1, 3, 0.4),
    ("preprocess_input", "model-service", 1, 7, 0.05),
    ("model_inference", "model-service", 1, 7, 0.3),
    ("postprocess_output", "model-service", 1, 7, 0.05),
    ("INSERT predictions", "gateway", 3, 0, 0.05),
]


def value(item: Any) -> dict[str, Any]:
    """A value as OTLP/JSON."""
    if isinstance(item, bool):
        return {"boolValue": item}
    if isinstance(item, int):
        return {"intValue": str(item)}
    if isinstance(item, float):
        return {"doubleValue": item}
    return {"stringValue": item}


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(item)} for key, item in values.items()]


def own_attributes(number: int, at: int, variant: str, failed: bool) -> dict[str, Any]:
    """What the services of Throughline say of such a span."""
    name, _, kind, _, _ = SPANS[at]
    if kind == 2:
        server = {
            "http.request.method": "POST",
            "http.route": name.removeprefix("POST "),
            "url.path": name.removeprefix("POST "),
            "url.scheme": "http",
            "server.address": "127.0.0.1",
            "network.protocol.version": "1.1",
            "http.response.status_code": 502 if failed and at == 0 else 200,
            "ml.variant": variant,
        }
        return server | ({"error.type": "502"} if failed and at == 0 else {})
    if at == 7:
        return {
            "ml.model_name": "wine_quality",
            "ml.model_version": "1",
            "ml.run_id": "0af7651916cd43dd8448eb211c80319c",
            "ml.variant": variant,
            "ml.batch_size": 1,
            "ml.data_id": f"wine-{number:04}",
            "ml.output.label": random.choice(["low", "medium", "high"]),
            "ml.output.confidence": random.random(),
            "ml.input.length": random.randrange(10, 400),
        }
    return {"db.system.name": "sqlite", "db.operation.name": name.split(" ")[0]} if kind == 3 else {}


def spans_of(number: int, count: int) -> list[tuple[str, dict[str, Any]]]:
    """One trace: each span with its service."""
    variant = "canary" if number % 10 == 0 else "primary"
    slow = variant == "canary" and number % 3 == 0
    failed = number % 50 == 7
    length = int(random.lognormvariate(1.5, 0.4) * 1e6 * (20 if slow else 1))
    begin = time.time_ns() - (count - number) * 40_000_000
    spans = []
    for at, (name, service, kind, parent, part) in enumerate(SPANS):
        start = begin + at * 10_000
        span = {
            "traceId": f"{number + 1:032x}",
            "spanId": f"{number * 16 + at + 1:016x}",
            "parentSpanId": "" if parent < 0 else f"{number * 16 + parent + 1:016x}",
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + int(length * part)),
            "attributes": attributes(own_attributes(number, at, variant, failed)),
            "status": {"code": 2 if failed and at in (0, 2, 3) else 0},
        }
        spans.append((service, span))
    return spans


def request(numbers: range, count: int) -> bytes:
    """An export request with these traces."""
    by_service: dict[str, list[dict[str, Any]]] = {}
    for number in numbers:
        for service, span in spans_of(number, count):
            by_service.setdefault(service, []).append(span)
    resources = [
        {
            "resource": {"attributes": attributes({"service.name": service, "service.version": "0.1.0"})},
            "scopeSpans": [{"spans": spans}],
        }
        for service, spans in by_service.items()
    ]
    return json.dumps({"resourceSpans": resources}).encode()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        body: bytes = answer.read()
    return body


def measure(url: str, runs: int) -> tuple[float, float]:
    """Median and maximum in milliseconds."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        get(url)
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times), max(times)


def weight(page: str, path: str) -> int:
    """Bytes of a page with the files that it loads, each after gzip."""
    html = get(page + path)
    files = sorted(set(re.findall(rb'(?:href|src)="(/assets/[^"]+)"', html)))
    return sum(len(gzip.compress(body)) for body in [html, *(get(page + file.decode()) for file in files)])


def start() -> tuple[subprocess.Popen[str], str, str]:
    """The explorer on free ports, the address of its page and of its receiver."""
    program = ROOT / "target/release/explorer"
    options = ["--listen", "127.0.0.1:0", "--otlp-listen", "127.0.0.1:0", "--max-bytes", str(MAX_BYTES)]
    process = subprocess.Popen([program, *options], stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    page = otlp = ""
    while not (page and otlp):
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the explorer ended before it listened")
        otlp = found.group(1) if (found := re.search(r"OTLP/HTTP on (http[^\s\"]+)", line)) else otlp
        page = found.group(1) if (found := re.search(r"explorer listens on (http[^\s\"]+)", line)) else page
    return process, page, otlp


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measures the explorer with many traces.")
    arguments.add_argument("--traces", type=int, default=5000)
    arguments.add_argument("--runs", type=int, default=20)
    options = arguments.parse_args()
    random.seed(14)
    process, page, otlp = start()
    try:
        report(options.traces, options.runs, process.pid, page, otlp)
    finally:
        process.terminate()
        process.wait()


def report(traces: int, runs: int, pid: int, page: str, otlp: str) -> None:
    for begin in range(0, traces, BATCH):
        body = request(range(begin, min(begin + BATCH, traces)), traces)
        post = urllib.request.Request(f"{otlp}/v1/traces", body, {"content-type": "application/json"})
        urllib.request.urlopen(post, timeout=60).close()
    held = json.loads(get(f"{page}/api/stats"))["traces"]
    print(f"{held['held_traces']} traces with {held['held']} spans are held, {held['evicted']} spans were evicted\n")
    print("| what | median, ms | most, ms | page with assets, gzip bytes |\n|---|--:|--:|--:|")
    trace = f"/traces/{traces // 2:032x}"
    for name, path in {
        "list": "/",
        "list by an attribute that no trace has": "/?where=ml.output.label+is+nothing",
        "list by free text": "/?q=high",
        "difference, slow": "/?compare=slow",
        "difference, failed": "/?compare=failed",
        "difference, one variant": "/?compare=variant%3Dcanary",
        "one trace": trace,
        "two traces": f"/compare?a={1:032x}&b={2:032x}",
        "map": "/map",
        "models": "/models",
        "one model": "/models/wine_quality",
        "metrics": "/metrics",
        "logs": "/logs",
        "list, JSON": "/api/traces",
        "list by an attribute, JSON": "/api/traces?where=ml.output.label+is+nothing",
        "difference, JSON": "/api/difference?compare=slow",
    }.items():
        median, most = measure(page + path, runs)
        size = "–" if path.startswith("/api") else f"{weight(page, path):,}"
        if not path.startswith("/api") and int(size.replace(",", "")) > LIMIT_BYTES:
            raise SystemExit(f"{name} is above {LIMIT_BYTES} bytes")
        mark = "" if median <= LIMIT_MS else f" (above {LIMIT_MS})"
        print(f"| {name} | {median:.1f}{mark} | {most:.1f} | {size} |")
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    memory = {key: int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in ("VmRSS", "VmHWM")}  # type: ignore[index]
    print(f"\nresident memory {memory['VmRSS']:.0f} MiB, at most {memory['VmHWM']:.0f} MiB, with --max-bytes {MAX_BYTES}")
    if memory["VmHWM"] * 1024 * 1024 > 2 * MAX_BYTES:
        raise SystemExit("that is above twice --max-bytes")


if __name__ == "__main__":
    main()
