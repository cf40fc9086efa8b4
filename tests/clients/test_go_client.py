"""The Go client of examples/go-client, as a Go program meets the system: built here, run against everything."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import http
from harness.system import System
from harness.targets import CANARY, GATEWAY, MODEL, Target, targets
from harness.traces import Explorer, Trace

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "go-client"
BINARY = ROOT / "target" / "clients" / "go-client" / "go-client"
# The release of the instrumentation, as go.mod pins it.
(OTELHTTP,) = re.findall(r"^\t\S+/otelhttp v(\S+)$", (SOURCE / "go.mod").read_text(), re.MULTILINE)


def against(target: Target) -> pytest.MarkDecorator:
    """Return the mark for the table of results."""
    return pytest.mark.client("Go net/http with otelhttp", version=OTELHTTP, against=target.name)


def variant(target: Target) -> str:
    """Return the name of the variant that a target asks for."""
    assert target.variant is not None
    return target.variant


pytestmark = [against(GATEWAY), pytest.mark.skipif(shutil.which("go") is None, reason="needs Go 1.26")]
each_variant = pytest.mark.parametrize(
    "through",
    [pytest.param(target, id=variant(target), marks=against(target)) for target in targets() if target.through_gateway],
)


@dataclass(frozen=True)
class Ran:
    """How a run of the program ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def rows(self) -> list[list[str]]:
        """Return the cells of the table, without its head and without what was not predicted."""
        lines = [line.split() for line in self.stdout.splitlines()]
        return [line for line in lines if line and line[0].startswith("wine-") and line[1] != "failed:"]

    def printed(self, name: str) -> str:
        """Return the value of a line `name: …`."""
        return next(line.split(": ", 1)[1] for line in self.stdout.splitlines() if line.startswith(f"{name}: "))


def go(*arguments: str) -> str:
    """Run the Go tool in the folder of the client, with modules from the proxy alone and no other toolchain."""
    proxies = subprocess.run(["go", "env", "GOPROXY"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    settings = {
        "GOPROXY": proxies.strip().split(",")[0],
        "GOFLAGS": "-buildvcs=false -mod=readonly",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    command = ["go", *arguments]
    ran = subprocess.run(  # noqa: S603 - the Go tool
        command, cwd=SOURCE, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout


@pytest.fixture(scope="session")
def binary() -> Path:
    """The program, built."""
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    go("build", "-o", str(BINARY), ".")
    return BINARY


@pytest.fixture
def client(binary: Path, system: System) -> "Client":
    """The program, with the system's collector."""
    return Client(binary, system)


class Client:
    """Runs the program."""

    def __init__(self, binary: Path, system: System) -> None:
        self._binary, self._gateway = binary, system.gateway
        self._environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": system.otlp}

    def __call__(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Ran:
        """Ask the gateway."""
        ran = subprocess.run(  # noqa: S603 - built above
            [self._binary, "-gateway", self._gateway, *arguments],
            env={**self._environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)


def computed(system: System, target: Target, data_ids: list[str]) -> list[tuple[str, float]]:
    """Return label and confidence as the model service itself computes them."""
    url = system.model_service_python if target.python else system.model_service
    tensor = {"name": "data_id", "datatype": "BYTES", "shape": [len(data_ids)], "data": data_ids}
    answer = http.post(f"{url}/v2/models/{MODEL}/infer", {"inputs": [tensor]})
    outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    return list(zip(outputs["label"], outputs["confidence"], strict=True))


def assert_go_began(trace: Trace) -> None:
    """Check that the program's span is the root, and the gateway's is below its request."""
    (root,) = trace.roots()
    assert (root.service, root.name, root.kind) == ("go-client", "predict", "INTERNAL")
    (request,) = trace.find("go-client", "POST")
    assert (request.kind, request.parent_id) == ("CLIENT", root.span_id)
    (server,) = [span for span in trace.spans if span.service == "gateway" and span.kind == "SERVER"]
    assert server.parent_id == request.span_id


def test_it_is_clean(binary: Path) -> None:
    """The program is formatted and vetted, and its own tests pass."""
    assert binary.is_file()
    gofmt = Path(go("env", "GOROOT").strip()) / "bin" / "gofmt"
    unformatted = subprocess.run([gofmt, "-l", SOURCE], capture_output=True, text=True, check=True)  # noqa: S603
    assert unformatted.stdout == ""
    go("vet", "./...")
    go("test", "./...")


@pytest.mark.call("POST /v1/predictions, computed")
@each_variant
def test_a_miss_is_one_trace_from_the_program_to_the_features(
    client: Client, system: System, explorer: Explorer, through: Target
) -> None:
    """The values are the model's, and the program's span is the root."""
    data_ids = ["wine-1401", "wine-1402", "wine-1403"]
    ran = client("-fresh", "-variant", variant(through), *data_ids)

    assert ran.status == 0, ran.stderr
    for row, data_id, (label, confidence) in zip(ran.rows, data_ids, computed(system, through, data_ids), strict=True):
        assert row[:2] == [data_id, label]
        assert float(row[2]) == pytest.approx(confidence, abs=1e-6)
        assert row[3:5] == [variant(through), "false"]
        assert int(row[5]) > 0
    assert ran.printed("Cache-Status") == "throughline; fwd=request; stored"
    trace = explorer.wait(ran.printed("Trace"), "feature-store", "POST /get-online-features")
    assert_go_began(trace)
    (features,) = trace.find("feature-store", "POST /get-online-features")
    assert trace.servers(features) == through.services


@pytest.mark.call("POST /v1/predictions, stored")
@each_variant
def test_a_hit_needs_no_model(client: Client, explorer: Explorer, through: Target) -> None:
    """The same question again is answered from the store, with the same values."""
    computed = client("-variant", variant(through), "-ids", "wine-1404,wine-1405")
    stored = client("-variant", variant(through), "-ids", "wine-1404,wine-1405")

    assert (computed.status, stored.status) == (0, 0), computed.stderr + stored.stderr
    assert [row[4] for row in stored.rows] == ["true", "true"]
    assert [row[:4] for row in stored.rows] == [row[:4] for row in computed.rows]
    assert stored.printed("Cache-Status") == "throughline; hit"
    trace = explorer.wait(stored.printed("Trace"), "gateway", "POST /v1/predictions")
    assert_go_began(trace)
    assert trace.services() == {"go-client", "gateway"}


@pytest.mark.call("POST /v2/models/{model}/infer")
@each_variant
def test_the_open_inference_protocol_passes_through(
    client: Client, system: System, explorer: Explorer, through: Target
) -> None:
    """The same values by the other protocol, in one trace; a row that fails leaves the others."""
    ran = client("-oip", "-variant", variant(through), "wine-1406", "nobody's")

    assert ran.status == 1
    assert "nobody's" in ran.stdout
    assert "failed: unknown_entity" in ran.stdout
    ((label, confidence),) = computed(system, through, ["wine-1406"])
    (row,) = ran.rows
    assert (row[0], row[1]) == ("wine-1406", label)
    assert float(row[2]) == pytest.approx(confidence, abs=1e-6)
    trace = explorer.wait(ran.printed("Trace"), "feature-store", "POST /get-online-features")
    assert_go_began(trace)
    (features,) = trace.find("feature-store", "POST /get-online-features")
    assert trace.servers(features) == through.services


@pytest.mark.call("problem+json of /v1, error of /v2")
@pytest.mark.parametrize("protocol", [(), ("-oip",)], ids=["v1", "oip"])
def test_errors_are_in_answer_and_trace(client: Client, explorer: Explorer, protocol: tuple[str, ...]) -> None:
    """The gateway's message reaches the user, and the root of the trace has the error."""
    ran = client(*protocol, "-model", "nonsense", "wine-0001")

    assert ran.status == 1
    assert ran.stdout == ""
    assert "the gateway answered 404: " in ran.stderr
    found = re.search(r"\(trace ([0-9a-f]{32})\)", ran.stderr)
    assert found is not None, ran.stderr
    trace = explorer.wait(found[1], "go-client", "predict")
    (root,) = trace.roots()
    assert root.failed
    if not protocol:
        assert "[unknown_model]" in ran.stderr
        assert root.attributes["error.type"] == "unknown_model"


@pytest.mark.call("user.id in the baggage")
@pytest.mark.skipif(CANARY not in targets(), reason="one variant only: there is nothing to choose")
def test_a_user_stays_with_a_variant(client: Client) -> None:
    """All ids of a user go to the same variant, whichever it is, and to the same one again."""
    data_ids = [f"wine-{number:04}" for number in range(1407, 1427)]
    first, second = client("-user", "Ünal x", *data_ids), client("-user", "Ünal x", *data_ids)
    assert (first.status, second.status) == (0, 0), first.stderr + second.stderr
    assert len({row[3] for row in first.rows + second.rows}) == 1


def test_without_telemetry_the_gateway_begins_the_trace(client: Client, explorer: Explorer) -> None:
    """A program without tracing still gets the trace id of its request."""
    ran = client("-fresh", "-variant", variant(GATEWAY), "wine-1427", environment={"OTEL_SDK_DISABLED": "true"})
    assert ran.status == 0, ran.stderr
    trace = explorer.wait(ran.printed("Trace"), "feature-store", "POST /get-online-features")
    (root,) = trace.roots()
    assert root.service == "gateway"
