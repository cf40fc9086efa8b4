"""Where the telemetry goes: a process that reads OTLP/HTTP requests and decodes nothing."""

import contextlib
import multiprocessing
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection


class Receiver(BaseHTTPRequestHandler):
    """Says yes to everything. Each connection has a thread and stays."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Reads the body and throws it away."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response_only(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def receive(answer: Connection) -> None:
    """Listens, and sends the port to the process that asked for it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    answer.send(server.server_port)
    server.serve_forever()


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    """The address of a receiver."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=receive, args=(there,), daemon=True)
    process.start()
    yield f"http://127.0.0.1:{here.recv()}"
    process.terminate()
    process.join()
