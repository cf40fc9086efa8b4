"""`python -m throughline_worker.healthcheck`: asks the running service whether it is ready.

The container's health check. The exit status is 0 if the service is ready.
"""

from __future__ import annotations

import argparse
import http.client
import sys
from urllib.parse import urlsplit

from throughline_worker.config import Config, duration, service_address, typed

TIMEOUT_SECONDS = 3.0


def main() -> int:
    """Asks, prints the answer, and returns the exit code."""
    arguments = _arguments()
    url = arguments.url.url if arguments.url else _listens_at()
    try:
        status, body = _ask(url, arguments.timeout)
    except (OSError, http.client.HTTPException) as error:
        status, body = 0, str(error) or type(error).__name__
    if status == 200:
        sys.stdout.write(f"model-service-python: {body}\n")
        return 0
    problem = f"{url}/readyz answers {status}: {body}" if status else f"{url}: {body}"
    sys.stderr.write(f"model-service-python is not ready: {problem}\n")
    return 1


def _ask(url: str, timeout: float) -> tuple[int, str]:
    address = urlsplit(url)
    if address.hostname is None:
        raise OSError("the address has no host")
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
    try:
        connection.request("GET", f"{address.path}/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def _listens_at() -> str:
    """A service that listens on all addresses is asked on loopback."""
    host, port = Config.from_arguments([]).listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 # not bound here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="throughline_worker.healthcheck",
        description="Asks the running service whether it is ready",
    )
    where = "base address of the service [default: where it listens, by MODEL_SERVICE_LISTEN]"
    parser.add_argument("--url", type=typed(service_address), help=where)
    time = "time for the answer [default: 3s]"
    parser.add_argument("--timeout", type=typed(duration), default=TIMEOUT_SECONDS, help=time)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
