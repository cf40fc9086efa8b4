"""Fixtures of the tests in a browser: the running system with some traffic, and Chromium."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, sync_playwright

import traffic
from browsing import Scheme, Tab, tab
from harness.system import System, running
from traffic import Client, Traffic

OpenTab = Callable[..., Tab]


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """Everything, running."""
    with running() as system:
        yield system


@pytest.fixture(scope="session")
def client(system: System) -> Client:
    """A client of the gateway."""
    return Client(system)


@pytest.fixture(scope="session")
def traces(system: System) -> Traffic:
    """What the pages have to show."""
    return traffic.send(system)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, the one that CHROMIUM names."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"])
        yield browser
        browser.close()


@pytest.fixture
def open_tab(system: System, browser: Browser, traces: Traffic) -> Iterator[OpenTab]:  # noqa: ARG001 - pages need traces
    """Open an empty page; all of them are checked and closed after the test."""
    with ExitStack() as tabs:

        def opened(width: int = 1280, scheme: Scheme = "light", *, javascript: bool = True) -> Tab:
            return tabs.enter_context(tab(browser, system.explorer, width, scheme, javascript=javascript))

        yield opened


@pytest.fixture
def page_tab(open_tab: OpenTab) -> Tab:
    """One empty page, 1280 pixels wide, light."""
    return open_tab()
