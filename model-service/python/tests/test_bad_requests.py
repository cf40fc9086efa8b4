"""Bad requests: status, code, no traceback, and the same answers as the Rust service."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import NOWHERE
from harness import (
    BINARY,
    DATA,
    DEADLINE,
    FIRST_WINE,
    HELP,
    Client,
    binary,
    by_features,
    by_ids,
    running,
)

from throughline_worker.oip import HEADER_LENGTH

INFER = "/v2/models/wine_quality/infer"
HUGE = 2**62


def tensor(**members: Any) -> bytes:
    whole = {
        "name": "features",
        "shape": [1, 11],
        "datatype": "FP32",
        "data": FIRST_WINE,
        **members,
    }
    return json.dumps(
        {"inputs": [{key: value for key, value in whole.items() if value is not None}]}
    ).encode()


def message(**members: Any) -> bytes:
    return json.dumps(by_features(FIRST_WINE, **members)).encode()


def half_surrogate() -> bytes:
    return message(id="x").replace(b'"x"', b'"\\ud800"')


# The fault, the body, and the status of the answer.
BODIES: list[tuple[str, bytes, int]] = [
    ("nothing", b"", 400),
    ("no JSON", b"{", 400),
    ("no UTF-8", b'{"inputs":[],"id":"\xff"}', 400),
    ("a list", b"[]", 400),
    ("deep nesting", b"[" * 100_000, 400),
    ("deep nesting of data", tensor(data=None).replace(b"}]}", b',"data":' + b"[" * 50_000), 400),
    ("NaN", message().replace(b"7.4", b"NaN"), 400),
    ("a number of many digits", message().replace(b"7.4", b"7" * 5_000), 400),
    ("no inputs", b"{}", 400),
    ("no input", b'{"inputs":[]}', 400),
    ("inputs that are no list", b'{"inputs":{}}', 400),
    ("an input that is no object", b'{"inputs":[1]}', 400),
    ("an id that is no string", message(id=7), 400),
    ("an id that is no text", half_surrogate(), 400),
    ("parameters that are a list", message(parameters=[1]), 400),
    ("a parameter that is a list", message(parameters={"a": [1]}), 400),
    ("a parameter that is null", message(parameters={"a": None}), 400),
    ("a timeout below zero", message(parameters={"timeout": -1}), 400),
    ("a timeout of minus zero", message(parameters={"timeout": 0}).replace(b": 0}", b": -0}"), 400),
    ("a timeout with a fraction", message(parameters={"timeout": 1.5}), 400),
    ("a timeout that is true", message(parameters={"timeout": True}), 400),
    ("outputs that are no list", message(outputs={}), 400),
    ("an output without a name", message(outputs=[{}]), 400),
    ("an unknown output", message(outputs=[{"name": "logits"}]), 400),
    (
        "Triton's classification",
        message(outputs=[{"name": "probabilities", "parameters": {"classification": 1}}]),
        400,
    ),
    ("no name", tensor(name=None), 400),
    ("no shape", tensor(shape=None), 400),
    ("a shape that is a number", tensor(shape=11), 400),
    ("a negative shape", tensor(shape=[-1, 11]), 400),
    ("a shape with a fraction", tensor(shape=[1.0, 11]), 400),
    ("a shape of booleans", tensor(shape=[True, 11]), 400),
    ("a shape that overflows", tensor(shape=[HUGE, 8]), 400),
    ("a shape that claims much", tensor(shape=[HUGE]), 400),
    ("a shape of many dimensions", tensor(shape=[1] * 17), 400),
    ("a shape that is not the model's", tensor(shape=[11]), 400),
    ("a scalar", tensor(shape=[], data=[1.0]), 400),
    ("no rows", tensor(shape=[0, 11], data=[]), 400),
    ("rows of another width", tensor(shape=[1, 3], data=[1.0, 2.0, 3.0]), 400),
    ("an unknown datatype", tensor(datatype="FP128"), 400),
    ("no datatype", tensor(datatype=None), 400),
    ("half precision as JSON", tensor(datatype="FP16"), 400),
    ("booleans for features", tensor(datatype="BOOL", data=[True] * 11), 400),
    ("small numbers for features", tensor(datatype="UINT8", data=[1] * 11), 400),
    ("no data", tensor(data=None), 400),
    ("data that are a number", tensor(data=1), 400),
    ("data that are an object", tensor(data={}), 400),
    ("too few data", tensor(data=FIRST_WINE[:-1]), 400),
    ("too many data", tensor(data=[*FIRST_WINE, 1.0]), 400),
    ("ragged data", tensor(data=[FIRST_WINE[:-1]]), 400),
    ("half-nested data", tensor(data=[*FIRST_WINE[:-1], [1.0]]), 400),
    ("text among numbers", tensor(data=[*FIRST_WINE[:-1], "9.4"]), 400),
    ("null among numbers", tensor(data=[*FIRST_WINE[:-1], None]), 400),
    ("a boolean among numbers", tensor(data=[*FIRST_WINE[:-1], True]), 400),
    ("a number beyond FP32", tensor(data=[*FIRST_WINE[:-1], 1e39]), 400),
    ("a fraction among whole numbers", tensor(datatype="INT64", data=[1] * 10 + [1.0]), 400),
    ("a whole number beyond its type", tensor(datatype="INT32", data=[1] * 10 + [2**31]), 400),
    ("numbers for entities", tensor(name="data_id", shape=[11], datatype="FP32"), 400),
    (
        "a table of entities",
        json.dumps({"inputs": [{**by_ids("a", "b")["inputs"][0], "shape": [1, 2]}]}).encode(),
        400,
    ),
    ("half a surrogate pair", json.dumps(by_ids("x")).replace('"x"', '"\\ud800"').encode(), 400),
    ("another input", tensor(name="pixels"), 400),
    (
        "two inputs",
        json.dumps(
            {"inputs": [*by_features(FIRST_WINE)["inputs"], *by_ids("a")["inputs"]]}
        ).encode(),
        400,
    ),
    ("an input twice", json.dumps({"inputs": by_features(FIRST_WINE)["inputs"] * 2}).encode(), 400),
    ("two forms", tensor(parameters={"binary_data_size": 44}), 400),
    ("a size that is negative", tensor(data=None, parameters={"binary_data_size": -1}), 400),
    ("a size that is text", tensor(data=None, parameters={"binary_data_size": "44"}), 400),
    ("a size beyond the body", tensor(data=None, parameters={"binary_data_size": 44}), 400),
    ("too many rows", json.dumps(by_features(*[FIRST_WINE] * 1001)).encode(), 422),
    ("too many entities", json.dumps(by_ids(*["a"] * 1001)).encode(), 422),
    ("too much", b" " * (1 << 20) + message(), 413),
]

# The fault, the headers, the body, and the status of the answer.
HEADERS: list[tuple[str, dict[str, str], bytes, int]] = [
    ("an unknown encoding", {"content-encoding": "br"}, message(), 415),
    ("no gzip", {"content-encoding": "gzip"}, message(), 400),
    ("no deflate", {"content-encoding": "deflate"}, message(), 400),
    ("half a gzip", {"content-encoding": "gzip"}, gzip.compress(message())[:-20], 400),
    ("a bomb", {"content-encoding": "gzip"}, gzip.compress(b" " * (64 << 20)), 413),
    ("a bomb of zeros", {"content-encoding": "deflate"}, zlib.compress(b"\0" * (64 << 20)), 413),
    ("a length beyond the body", {HEADER_LENGTH: "999999"}, message(), 400),
    ("a length that cuts the JSON", {HEADER_LENGTH: "10"}, message(), 400),
    ("a negative length", {HEADER_LENGTH: "-1"}, message(), 400),
    ("a length with a sign", {HEADER_LENGTH: "+1"}, message(), 400),
    ("a length that is no number", {HEADER_LENGTH: "many"}, message(), 400),
    ("a length beyond all numbers", {HEADER_LENGTH: "99999999999999999999"}, message(), 400),
    ("a raw request", {HEADER_LENGTH: "0"}, b"\0" * 44, 400),
    ("bytes left over", {HEADER_LENGTH: str(len(message()))}, message() + b"\0", 400),
]

# Method, path, status of the answer.
ADDRESSES = [
    ("GET", "/", 404),
    ("GET", "/v3", 404),
    ("GET", "/v2/models/", 404),
    ("GET", "/v2/models/nothing", 404),
    ("GET", "/v2/models/wine_quality/versions/7", 404),
    ("GET", "/v2/models/wine_quality/versions/01/ready", 404),
    ("GET", "/v2/models/wine_quality/infer", 405),
    ("PUT", "/v2", 405),
    ("POST", "/v2/models", 405),
    ("POST", "/v2/models/nothing/infer", 404),
    ("POST", "/v2/models/wine_quality/versions/9/infer", 404),
]

# Not compared with Rust, which splits a path before it decodes the parts, while Python decodes
# first. For these paths one answers with an unknown model, the other with an unknown path.
ESCAPED = [("GET", "/v2/models/%ff", 404), ("GET", "/v2/models/a%2Fb", 404)]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The Rust service with a model of its own."""
    if BINARY is None:
        pytest.skip(HELP)
    root = tmp_path_factory.mktemp("twin")
    train_twin(root)
    options = [
        "--listen",
        "127.0.0.1:0",
        "--model-repository",
        str(root),
        "--feature-store",
        NOWHERE,
    ]
    with running([binary(), "model-service", *options], {"OTEL_SDK_DISABLED": "true"}) as process:
        yield Client(process)


def train_twin(root: Path) -> None:
    arguments = ["train", "wine_quality", "--model-repository", str(root), "--data", str(DATA)]
    with running([binary(), *arguments], {"OTEL_SDK_DISABLED": "true"}) as process:
        assert process.wait() == 0


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and `Retry-After`; the other parts of an error are the same for all."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert set(body) <= {"error", "code", "trace_id"}
    assert body["error"]
    assert "Traceback" not in answer.text
    return answer.status_code, body["code"], answer.headers.get("retry-after")


@pytest.mark.parametrize(("what", "content", "status"), BODIES, ids=[body[0] for body in BODIES])
def test_bodies(client: Client, what: str, content: bytes, status: int) -> None:
    assert refusal(client.post(INFER, content))[0] == status, what


@pytest.mark.parametrize(
    ("what", "headers", "content", "status"), HEADERS, ids=[case[0] for case in HEADERS]
)
def test_headers(
    client: Client, what: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    assert refusal(client.post(INFER, content, headers=headers))[0] == status, what


@pytest.mark.parametrize(("method", "path", "status"), ADDRESSES + ESCAPED)
def test_addresses(client: Client, method: str, path: str, status: int) -> None:
    assert refusal(httpx.request(method, client.url + path, timeout=DEADLINE))[0] == status


def test_the_rust_service_refuses_the_same(client: Client, twin: Client) -> None:
    differences = {}
    for what, content, _ in BODIES:
        ours, theirs = (refusal(one.post(INFER, content)) for one in (client, twin))
        if ours != theirs:
            differences[what] = (ours, theirs)
    for what, headers, content, _ in HEADERS:
        ours, theirs = (
            refusal(one.post(INFER, content, headers=headers)) for one in (client, twin)
        )
        if ours != theirs:
            differences[what] = (ours, theirs)
    for method, path, _ in ADDRESSES:
        ours, theirs = (refusal(httpx.request(method, one.url + path)) for one in (client, twin))
        if ours != theirs:
            differences[f"{method} {path}"] = (ours, theirs)
    assert differences == {}


def test_an_unreachable_feature_store(client: Client) -> None:
    assert refusal(client.infer(by_ids("wine-0001"))) == (503, "feature_store_unavailable", "1")


RAW = [
    (b"GET /v2?\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET /v2/models/\xc3\xa4 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nbaggage: \xff\\\r\nuser-agent: \xff\\\r\n\r\n", 200),
    (b"nonsense\r\n\r\n", 400),
    (b"GET /v2 HTTP/9.9\r\n\r\n", 400),
    (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    (b"POST /v2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: minus\r\n\r\n", 400),
    (b"GET /v2 HTTP/1.1\r\nx: " + b"a" * 200_000 + b"\r\n\r\n", 431),
]


@pytest.mark.parametrize(("sent", "status"), RAW, ids=[repr(sent[:30]) for sent, _ in RAW])
def test_malformed_http(client: Client, sent: bytes, status: int) -> None:
    url = urlsplit(client.url)
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port or 0), DEADLINE) as connection:
        connection.sendall(sent)
        head = connection.recv(65_536)
    assert head.split(b" ", 2)[1] == str(status).encode(), head
    assert client.get("/livez").status_code == 200


def test_no_traceback_was_logged(client: Client) -> None:
    """Runs last in this file: none of the requests before made the service log a bug."""
    errors = [record for record in client.process.records() if record["level"] == "ERROR"]
    assert {record["exception.type"] for record in errors} <= {
        "feature_store_unavailable",
        "fault_injected",
    }
    assert client.process.lines == [
        json.dumps(record, ensure_ascii=False) for record in client.process.records()
    ]
