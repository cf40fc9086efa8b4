"""Plain HTTP by the standard library without instrumentation: clients are compared with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """An answer, its header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON is what it is
        """Return the body as JSON."""
        return json.loads(self.body)


def request(
    method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None, deadline: float = 20.0
) -> Answer:
    """Send `body` as JSON (bytes as they are) to `url`."""
    address = urlsplit(url)
    assert address.hostname is not None, url
    connection = HTTPConnection(address.hostname, address.port, timeout=deadline)
    try:
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        path = f"{address.path or '/'}?{address.query}" if address.query else address.path or "/"
        connection.request(method, path, payload, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def get(url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """GET `url`."""
    return request("GET", url, headers=headers)


def post(url: str, body: object, headers: Mapping[str, str] | None = None) -> Answer:
    """POST `body` as JSON to `url`."""
    return request("POST", url, body, headers)
