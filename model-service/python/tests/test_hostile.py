"""Clients that send slowly, read no answer, or belong to a page of another site."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import NOWHERE
from harness import DEADLINE, FIRST_WINE, Client, by_features, eventually, running, worker_command
from test_limits import connect, head, read_all

from throughline_worker.errors import CrossOrigin, InvalidHost, UnknownHost, WorkerError
from throughline_worker.guard import TARGET, Guard, allowed_hosts
from throughline_worker.repository import Manifest

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104


def verdict(
    listening_on: str, *headers: tuple[str, str], allowed: str = "", target: str = "/"
) -> type[WorkerError] | None:
    scope = {
        "method": "GET",
        "http_version": "1.1",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        TARGET: target.encode(),
    }
    try:
        Guard(listening_on, allowed_hosts(allowed)).check(scope)
    except WorkerError as refusal:
        return type(refusal)
    return None


@pytest.mark.parametrize("listening_on", ["127.0.0.1", "::1", "::ffff:127.0.0.1", EVERYWHERE])
def test_names_that_are_never_admitted(listening_on: str) -> None:
    for host in ("evil.example:4318", "localhost.evil.example", "127.0.0.1.evil.example"):
        assert verdict(listening_on, ("host", host)) is UnknownHost
    for host in ("x{y.evil.test:8090", "a b/c", "", "user@localhost", "[::1", "\xe9.example"):
        assert verdict(listening_on, ("host", host)) is InvalidHost
    assert verdict(listening_on) is InvalidHost
    twice = [("host", "localhost")] * 2
    assert verdict(listening_on, *twice) is InvalidHost
    local = ("host", "localhost")
    assert verdict(listening_on, local, ("sec-fetch-site", "cross-site")) is CrossOrigin
    assert verdict(listening_on, local, ("origin", "app://localhost")) is CrossOrigin
    assert verdict(listening_on, local, ("origin", "HTTPS://LocalHost")) is None


def test_beyond_loopback_nobody_can_rebind_an_address_or_a_name_without_a_dot() -> None:
    for host in ("explorer:4318", "192.0.2.1:4318", "[2001:db8::1]", "localhost"):
        assert verdict(EVERYWHERE, ("host", host)) is None, host
    for host in ("explorer:4318", "192.0.2.1:4318", "[2001:db8::1]", "0.0.0.0"):  # noqa: S104
        assert verdict(LOOPBACK, ("host", host)) is UnknownHost, host


def test_more_names_are_allowed_by_option() -> None:
    allowed = " Gateway.example.com, .internal"
    for host in ("gateway.example.com:80", "GATEWAY.EXAMPLE.COM", "a.b.internal"):
        assert verdict(LOOPBACK, ("host", host), allowed=allowed) is None, host
    for host in ("x.gateway.example.com", "internal", "xinternal", ".internal"):
        assert verdict(LOOPBACK, ("host", host), allowed=allowed) is UnknownHost, host
    assert verdict(LOOPBACK, ("host", "evil.example"), allowed="*") is None
    for bad in (".", "a b", "localhost:80", "user@host", "http://host", "a,,b"):
        with pytest.raises(ValueError, match="no name of a host"):
            allowed_hosts(bad)


def test_the_authority_of_an_absolute_target_counts() -> None:
    local = ("host", "localhost:8090")
    assert verdict(LOOPBACK, local, target="http://localhost:8090/") is None
    assert verdict(LOOPBACK, local, target="http://evil.example/") is UnknownHost
    assert verdict(LOOPBACK, ("host", "a b/c"), target="http://localhost/") is InvalidHost


def test_a_service_beyond_loopback_says_so_and_takes_the_option(
    trained: tuple[Path, Manifest],
) -> None:
    command = worker_command(trained[0], NOWHERE, "--listen", f"{EVERYWHERE}:0")
    with running(command, {"THROUGHLINE_ALLOWED_HOSTS": "a.example,.b.example"}) as process:
        assert "beyond loopback" in process.event("server.exposed")["message"]
        url = f"http://127.0.0.1:{urlsplit(process.url).port}/v2"
        for host, status in [
            ("a.example", 200),
            ("x.b.example:80", 200),
            ("worker:80", 200),
            ("192.0.2.7", 200),
            ("evil.example", 421),
        ]:
            assert httpx.get(url, headers={"Host": host}).status_code == status, host


@pytest.fixture
def single(trained: tuple[Path, Manifest]) -> Iterator[Client]:
    """A service that takes one request at a time and two slow bodies."""
    options = ["--max-in-flight", "1", "--max-slow-bodies", "2", "--body-timeout", "10m"]
    with running(worker_command(trained[0], NOWHERE, *options)) as process:
        yield Client(process)


def slow_body(client: Client) -> socket.socket:
    """A request whose body has not begun."""
    connection = connect(client)
    connection.sendall(head(100))
    return connection


def test_slow_bodies_hold_no_place_in_flight(trained: tuple[Path, Manifest]) -> None:
    options = ["--max-in-flight", "1", "--body-timeout", "1s"]
    with running(worker_command(trained[0], NOWHERE, *options)) as process:
        client = Client(process)
        slow = [slow_body(client) for _ in range(20)]
        for _ in range(20):
            assert client.infer(by_features(FIRST_WINE)).status_code == 200
        for connection in slow:
            with connection:
                answer = read_all(connection)
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert b"\r\nconnection: close\r\n" in answer


def test_of_too_many_slow_bodies_the_oldest_ends(single: Client) -> None:
    oldest = slow_body(single)
    # Which of two connections is served first is not known, so the first one gets a head start.
    assert single.get("/v2").status_code == 200
    others = [slow_body(single) for _ in range(2)]
    with oldest:
        assert read_all(oldest).startswith(b"HTTP/1.1 408 ")
    # A body that is there with its head is no slow one, however many there are.
    for _ in range(5):
        with connect(single) as connection:
            connection.sendall(head(1) + b"{")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")
    for connection in others:
        with connection:
            connection.sendall(b" " * 60)
            assert single.get("/v2").status_code == 200
            connection.sendall(b" " * 40)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400 ")


def test_a_body_that_was_not_sent_ends_the_connection(single: Client) -> None:
    for length, more, status in [
        ((1 << 20) + 1, b"", b"413"),
        (10, b"Content-Encoding: br\r\n", b"415"),
        (10, b"Origin: http://evil.example\r\n", b"403"),
    ]:
        with connect(single) as connection:
            sent = head(length)[:-2] + more + b"Expect: 100-continue\r\n\r\n"
            connection.sendall(sent)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 " + status), answer
        assert b"\r\nconnection: close\r\n" in answer
    with connect(single) as connection:
        connection.sendall(head(1)[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{")
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" not in answer


def test_idle_connections_make_room_and_busy_ones_do_not(trained: tuple[Path, Manifest]) -> None:
    options = ["--max-connections", "3", "--header-timeout", "10m", "--body-timeout", "10m"]
    with running(worker_command(trained[0], NOWHERE, *options)) as process:
        client = Client(process)
        with contextlib.ExitStack() as idle:
            first, *_ = [idle.enter_context(connect(client)) for _ in range(50)]
            assert client.get("/v2").status_code == 200
            assert first.recv(1) == b"", "all but the last ones are closed"
        with contextlib.ExitStack() as busy:
            # `100 Continue` says that the request is being served.
            for connection in [busy.enter_context(connect(client)) for _ in range(3)]:
                connection.sendall(head(1)[:-2] + b"Expect: 100-continue\r\n\r\n")
                assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            with connect(client) as refused:
                assert read_all(refused).startswith(b"HTTP/1.1 503 ")

        def has_room() -> bool:
            try:
                return client.get("/v2").status_code == 200
            except httpx.TransportError:
                return False

        eventually(has_room, "room for a connection")


def test_an_answer_that_nobody_reads_is_given_up(trained: tuple[Path, Manifest]) -> None:
    with running(worker_command(trained[0], NOWHERE, "--write-timeout", "500ms")) as process:
        client = Client(process)
        body = json.dumps(by_features(*[FIRST_WINE] * 1000)).encode()
        with socket.socket() as connection:
            connection.settimeout(DEADLINE)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            url = urlsplit(client.url)
            connection.connect((url.hostname, url.port))
            sent = 0

            def given_up() -> bool:
                """Asks again and again, and reads nothing."""
                nonlocal sent
                try:
                    connection.sendall(head(len(body)) + body)
                except OSError:
                    return True
                sent += 1
                return False

            eventually(given_up, "end of the connection")
        assert sent > 1
        assert process.event("server.answer_unread")["level"] == "WARN"
        assert client.infer(by_features(FIRST_WINE)).status_code == 200
