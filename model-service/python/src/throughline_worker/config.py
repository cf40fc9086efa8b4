"""The options, each a flag and an environment variable, named as in the Rust model service."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote, urlsplit

from throughline_worker import balance
from throughline_worker.guard import allowed_hosts

LONGEST_SECONDS = 86_400.0
POSIX = os.name == "posix"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


@dataclass(frozen=True)
class ServiceAddress:
    """The address of another service."""

    # Without user and password, so that it can be shown.
    url: str
    # User and password, which are sent and never shown.
    credentials: tuple[str, str] | None = field(default=None, repr=False)


class Inherited(NamedTuple):
    """What the first process of a service gives to the others."""

    # File descriptors of the listener, and of the connections that each process has.
    listener: int
    counts: int
    # The place of this process among those counts.
    place: int

    @classmethod
    def read(cls, text: str) -> Inherited:
        """The three numbers, with commas between them."""
        listener, counts, place = map(int, text.split(","))
        return cls(listener, counts, place)


@dataclass(frozen=True)
class Config:
    """All options. Times are in seconds."""

    listen: tuple[str, int] = ("127.0.0.1", 8001)
    model_repository: Path = Path(".throughline/models")
    feature_store: ServiceAddress = ServiceAddress("http://127.0.0.1:6566")
    feature_timeout: float = 2.0
    variant: str = "canary"
    queue_capacity: int = 256
    compute_threads: int = 1
    allow_model_control: bool = False
    allow_faults: bool = False
    max_in_flight: int = 512
    request_timeout: float = 10.0
    header_timeout: float = 10.0
    body_timeout: float = 10.0
    max_slow_bodies: int = 256
    write_timeout: float = 30.0
    max_connections: int = 4096
    allowed_hosts: tuple[str, ...] = ()
    drain_timeout: float = 3.0
    flush_timeout: float = 2.0
    exit_with_parent: bool = False
    processes: int = 1
    # What a process has from the first one, which has started it.
    inherited: Inherited | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that was started, and not one that it has started."""
        return self.inherited is None

    @property
    def shares_listener(self) -> bool:
        """Whether other processes accept connections, too."""
        return self.processes > 1 or not self.is_first

    @classmethod
    def from_arguments(
        cls, arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
    ) -> Config:
        """Reads flags, environment and defaults; exits with a message on a bad value."""
        parser = _parser(environment)
        config = cls(**vars(parser.parse_args(arguments)))
        if config.processes > 1:
            _check_processes(parser, config)
        return config


def duration(text: str) -> float:
    """Seconds of a time such as `250ms`, `10s`, `2m`, `12h` or `1d`; at most a day."""
    match = re.fullmatch(r"(\d{1,18})(ms|s|m|h|d)", text)
    if match is None:
        raise ValueError(f"`{text}` is no time such as 500ms or 10s")
    seconds = int(match[1]) * UNITS[match[2]]
    if seconds > LONGEST_SECONDS:
        raise ValueError(f"`{text}` is longer than a day")
    return seconds


def address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8001` or `[::1]:8001`; port 0 lets the system choose."""
    host, separator, port = text.rpartition(":")
    number = int(port) if re.fullmatch(r"\d{1,5}", port) else -1
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not 0 <= number <= 65_535:
        raise ValueError(f"`{text}` is no address such as 127.0.0.1:8001")
    return host, number


def service_address(text: str) -> ServiceAddress:
    """An absolute address, perhaps with user and password, without the slash at its end.

    The error does not repeat the text, of which any part may be the password.
    """
    wrong = ValueError(
        "this is no address such as http://127.0.0.1:6566 or https://user:password@store.example,"
        " in which `/`, `?`, `#` and `@` of the password are percent-encoded"
    )
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise wrong from None
    valid = url.scheme in ("http", "https") and url.hostname and not url.query and not url.fragment
    if not valid or port == 0 or not text.isprintable() or " " in text or "\\" in text:
        raise wrong
    user, _, place = url.netloc.rpartition("@")
    credentials = (unquote(url.username or ""), unquote(url.password or "")) if user else None
    return ServiceAddress(f"{url.scheme}://{place}{url.path}".rstrip("/"), credentials)


def positive(most: int) -> Callable[[str], int]:
    """A reader of whole numbers from 1 to `most`."""

    def read(text: str) -> int:
        number = int(text) if re.fullmatch(r"\d{1,9}", text) else 0
        if not 1 <= number <= most:
            raise ValueError(f"`{text}` is no number from 1 to {most}")
        return number

    return read


def flag(text: str) -> bool:
    """A switch as an environment variable."""
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("", "0", "false", "no", "off"):
        return False
    raise ValueError(f"`{text}` is neither true nor false")


@dataclass(frozen=True)
class _Options:
    """Adds options to a parser. A wrong value in the environment is reported with its variable."""

    parser: argparse.ArgumentParser
    environment: Mapping[str, str]

    def value(
        self, name: str, variable: str, default: str, read: Callable[[str], Any], text: str
    ) -> None:
        """An option with a value; `default` is written as on the command line."""
        chosen = self._read(variable, self.environment.get(variable) or default, read)
        text = f"{text} [default: {default}] [env: {variable}]"
        self.parser.add_argument(name, type=typed(read), default=chosen, help=text)

    def switch(self, name: str, variables: Sequence[str], text: str) -> None:
        """An option without a value."""
        chosen = any(
            self._read(variable, self.environment.get(variable, ""), flag) for variable in variables
        )
        self.parser.add_argument(
            name, action="store_true", default=chosen, help=f"{text} [env: {', '.join(variables)}]"
        )

    def _read(self, variable: str, text: str, read: Callable[[str], Any]) -> Any:
        try:
            return read(text)
        except ValueError as error:
            self.parser.error(f"{variable}: {error}")


class _Parser(argparse.ArgumentParser):
    """A parser that shows no password of an address, for example of one that it did not expect."""

    def error(self, message: str) -> NoReturn:
        """Exits with the message."""
        super().error(re.sub(r"//[^/\s]*@", "//***@", message))


def typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Keeps the text of a `ValueError`, which the parser would hide."""

    def checked(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="throughline_worker",
        description="Serves scikit-learn models by the Open Inference Protocol V2",
    )
    options = _Options(parser, environment)
    _service_options(options)
    _process_options(options)
    return parser


def _check_processes(parser: argparse.ArgumentParser, config: Config) -> None:
    """Exits with a message if the service cannot have more than one process."""
    if not POSIX:
        parser.error(
            "--processes: only on POSIX systems can processes share a listener; start more services"
        )
    if config.allow_model_control:
        parser.error(
            "--allow-model-control needs --processes 1, because a load or unload would be answered"
            " when one process has made it, and the others would make it up to two seconds later;"
            " start one more service with it on the same model repository, which all follow"
        )


def _service_options(options: _Options) -> None:
    value = options.value
    value("--listen", "MODEL_SERVICE_LISTEN", "127.0.0.1:8001", address, "address to listen on")
    value(
        "--model-repository",
        "MODEL_REPOSITORY",
        ".throughline/models",
        Path,
        "folder of the models, in which NAME/VERSION/ holds manifest.json and model.skops",
    )
    value(
        "--feature-store",
        "FEATURE_STORE_URL",
        "http://127.0.0.1:6566",
        service_address,
        "address of the feature store; a user and password in it are sent as Basic authorization",
    )
    value(
        "--feature-timeout",
        "MODEL_SERVICE_FEATURE_TIMEOUT",
        "2s",
        duration,
        "time for one feature lookup",
    )
    value(
        "--variant",
        "MODEL_SERVICE_VARIANT",
        "canary",
        str,
        "name of this service in metrics and spans, as a variant of the gateway",
    )
    capacity = "inferences that may wait for a compute thread; more are refused with 429"
    value("--queue-capacity", "MODEL_SERVICE_QUEUE_CAPACITY", "256", positive(65_536), capacity)
    value(
        "--compute-threads",
        "MODEL_SERVICE_COMPUTE_THREADS",
        "1",
        positive(1_024),
        "threads that compute",
    )
    value(
        "--processes",
        "MODEL_SERVICE_PROCESSES",
        "1",
        positive(balance.MOST),
        "processes that serve on the one listener, each on one core and with models and telemetry"
        " of its own; limits such as --max-in-flight, --max-connections and --queue-capacity count"
        " in each of them; not together with --allow-model-control, nor on Windows",
    )
    options.switch(
        "--allow-model-control",
        ("MODEL_SERVICE_ALLOW_MODEL_CONTROL",),
        "let clients load and unload models",
    )
    faults = ("THROUGHLINE_ALLOW_FAULTS", "MODEL_SERVICE_ALLOW_FAULTS")
    options.switch(
        "--allow-faults", faults, "inject the faults that requests ask for in their baggage"
    )


def _process_options(options: _Options) -> None:
    value = options.value
    in_flight = "requests that may be in flight at once; more are refused with 429"
    value("--max-in-flight", "THROUGHLINE_MAX_IN_FLIGHT", "512", positive(1_000_000), in_flight)
    value(
        "--request-timeout",
        "THROUGHLINE_REQUEST_TIMEOUT",
        "10s",
        duration,
        "time for one request; then it is 504",
    )
    head = "time for a client to send the head of its next request"
    value("--header-timeout", "THROUGHLINE_HEADER_TIMEOUT", "10s", duration, head)
    body = "time for the body of a request to arrive; then the answer is 408"
    value("--body-timeout", "THROUGHLINE_BODY_TIMEOUT", "10s", duration, body)
    slow = "bodies that may be on their way at once; with more, the oldest is answered 408"
    value("--max-slow-bodies", "THROUGHLINE_MAX_SLOW_BODIES", "256", positive(1_000_000), slow)
    write = "time for a client to read its answer; then the connection is closed"
    value("--write-timeout", "THROUGHLINE_WRITE_TIMEOUT", "30s", duration, write)
    connections = (
        "connections that may be open at once, at most half of the files that the process may open;"
        " with more, the one that has been idle for the longest time is closed"
    )
    value(
        "--max-connections",
        "THROUGHLINE_MAX_CONNECTIONS",
        "4096",
        positive(1_000_000),
        connections,
    )
    value(
        "--allowed-hosts",
        "THROUGHLINE_ALLOWED_HOSTS",
        "",
        allowed_hosts,
        "more names for the Host of requests, with commas between them: names, `.example.com` for"
        " all below it, or `*`; on loopback, its own names are allowed anyway, beyond also"
        " addresses and names without a dot",
    )
    drain = "time for requests in flight to finish after a stop signal"
    value("--drain-timeout", "THROUGHLINE_DRAIN_TIMEOUT", "3s", duration, drain)
    value(
        "--flush-timeout",
        "THROUGHLINE_FLUSH_TIMEOUT",
        "2s",
        duration,
        "time for the last telemetry to leave at exit",
    )
    options.parser.add_argument(
        "--exit-with-parent", action="store_true", help="stop when standard input ends"
    )
    # From the first process to the others.
    options.parser.add_argument("--inherited", type=Inherited.read, help=argparse.SUPPRESS)
