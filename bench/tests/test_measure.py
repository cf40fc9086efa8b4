"""A measurement with a real wrk and an address that is slow."""

import contextlib
import pathlib
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from load import measure, wrk
from load.bodies import Path
from load.measure import Pressure
from load.receiver import Receiver

BODY = Path("gateway", "/", ["{}"], {})
ONE = Pressure(connections=1, seconds=1)


class Server(ThreadingHTTPServer):
    """Says nothing of a wrk that ends before its last answer."""

    def handle_error(self, *_: object) -> None:
        """Standard error is what the tests read."""


@contextlib.contextmanager
def silent_for(runs: int) -> Iterator[str]:
    """An address that answers nothing in the first runs. A run of wrk asks on one connection."""
    begun = 0
    done = threading.Event()

    class Slow(Receiver):
        first = True

        def do_POST(self) -> None:  # noqa: N802 - as http.server calls it
            nonlocal begun
            begun += self.first
            self.first = False
            if begun <= runs:
                done.wait()
            super().do_POST()

    server = Server(("127.0.0.1", 0), Slow)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        done.set()
        server.shutdown()
        serving.join()
        server.server_close()


def test_a_row_without_an_answer_is_measured_for_longer(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warm-up and the first second have no answer; the two seconds after them have."""
    with silent_for(2) as url:
        load = measure.measure([url], wrk.script(BODY, tmp_path), {}, ONE)
    assert load.said.requests > 0
    assert capsys.readouterr().err == f"no answer within 1 s, now 2 s: {url}\n"


def test_an_address_that_never_answers_ends_the_program(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of a row of zeros."""
    monkeypatch.setattr(measure, "LONGEST", 1)
    with silent_for(1000) as url, pytest.raises(SystemExit, match=f"no answer within 1 s: {url}"):
        measure.measure([url], wrk.script(BODY, tmp_path), {}, ONE)
