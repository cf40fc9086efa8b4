"""The results of the tests, collected for the table in docs/clients.md."""

import json
import os
from collections.abc import Generator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.targets import Target


@dataclass(frozen=True)
class Result:
    """One call of one client against one part of the system, and how it ended."""

    client: str
    version: str
    against: str
    call: str
    outcome: str
    reason: str = ""


class Collector:
    """A pytest plugin: reads the marks `client` and `call` of every test, and writes the results when the session ends.

    The folder is that of the variable THROUGHLINE_CLIENT_RESULTS; without it nothing is written.
    """

    def __init__(self) -> None:
        self._results: list[Result] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take the outcome of a test; a fault of its set-up counts as a failure of the call."""
        report = yield
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            result = _result(item, report)
            if result is not None:
                self._results.append(result)
        return report

    def pytest_sessionfinish(self) -> None:
        """Write what was collected."""
        folder = os.environ.get("THROUGHLINE_CLIENT_RESULTS")
        if folder:
            path = Path(folder) / f"{os.getpid()}.json"
            path.write_text(json.dumps([asdict(result) for result in self._results], indent=1))


def _result(item: pytest.Item, report: pytest.TestReport) -> Result | None:
    client, call = item.get_closest_marker("client"), item.get_closest_marker("call")
    if client is None or call is None:
        return None
    (name,) = client.args
    release = client.kwargs.get("version") or version(client.kwargs["distribution"])
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    target = parameters.get("target") or parameters.get("edge")
    against = target.name if isinstance(target, Target) else client.kwargs["against"]
    return Result(name, release, against, call.args[0], *_outcome(report))


def _outcome(report: pytest.TestReport) -> tuple[str, str]:
    if hasattr(report, "wasxfail"):
        # A test that passed although it was expected to fail: the reason in the table is out of date.
        outcome = "failed" if report.outcome == "passed" else "xfailed"
        return outcome, str(report.wasxfail).removeprefix("reason: ")
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        return "skipped", report.longrepr[2].removeprefix("Skipped: ")
    return report.outcome, ""
