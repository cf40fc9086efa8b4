"""A watched page in Chromium: what it asks for, what it complains of, and what axe-core says of it."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

Scheme = Literal["light", "dark"]

WIDTHS = (390, 1280, 1920)
SCHEMES: tuple[Scheme, Scheme] = ("light", "dark")
# A debug build on a busy machine needs some of it.
DEADLINE_MS = 60_000
# What axe-core calls serious or critical fails a test.
GRAVE = ("serious", "critical")
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass
class Watch:
    """What happened in a page since it was opened."""

    site: str
    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _responses: list[Response] = field(default_factory=list)

    def on_request(self, request: Request) -> None:
        """Note a request that leaves the explorer. Browsers resolve `data:` themselves."""
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob") and f"{url.scheme}://{url.netloc}" != self.site:
            self.elsewhere.append(request.url)

    def on_response(self, response: Response) -> None:
        """Keep an answer, to weigh it. The body of a redirect cannot be read."""
        # A live page fetches itself again; that is not the weight of the page.
        if response.ok and response.request.resource_type != "xhr":
            self._responses.append(response)

    def weigh(self) -> dict[str, int]:
        """Return the bytes of each file of the page, compressed as a server would."""
        return {response.url: len(gzip.compress(response.body())) for response in self._responses}

    def on_console(self, message: ConsoleMessage) -> None:
        """Note an error or a warning; a violation of the Content-Security-Policy is one."""
        # Chromium reports every answer 4xx; the tests look at those themselves.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def check(self) -> None:
        """Fail if the page asked anybody else for anything, or complained."""
        assert self.elsewhere == []
        assert self.complaints == []


@dataclass(frozen=True)
class Tab:
    """A page with its watch."""

    page: Page
    watch: Watch

    def open(self, path: str) -> None:
        """Go to a path of the explorer."""
        answer = self.page.goto(f"{self.watch.site}{path}")
        assert answer is not None
        assert answer.status < 500, f"{path}: {answer.status}"


@contextmanager
def tab(
    browser: Browser, site: str, width: int = 1280, scheme: Scheme = "light", *, javascript: bool = True
) -> Iterator[Tab]:
    """Open an empty page in a profile of its own, and check at its end that it kept to itself."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="Europe/Berlin",
        java_script_enabled=javascript,
    )
    context.set_default_timeout(DEADLINE_MS)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    watch = Watch(site)
    context.on("request", watch.on_request)
    context.on("response", watch.on_response)
    context.on("console", watch.on_console)
    context.on("weberror", lambda error: watch.complaints.append(str(error.error)))
    try:
        yield Tab(context.new_page(), watch)
        watch.check()
    finally:
        context.close()


def grave_faults(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical, a line for each fault."""
    script = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    # Evaluated by the debugger: the page's policy, which allows no such script, stays in force.
    page.evaluate(script)
    options = {"runOnly": {"type": "tag", "values": AXE_TAGS}, "resultTypes": ["violations"]}
    result: dict[str, Any] = page.evaluate(f"axe.run(document, {json.dumps(options)})")
    return [
        f"{fault['id']} ({fault['impact']}): {node['target']} {node['failureSummary']}"
        for fault in result["violations"]
        if fault["impact"] in GRAVE
        for node in fault["nodes"]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
