"""Every page, at every width, light and dark: readable for everybody, within its window, and by itself."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from browsing import SCHEMES, WIDTHS, Scheme, Tab, grave_faults, overflow
from conftest import OpenTab
from traffic import MODEL, Traffic

PAGES: dict[str, Callable[[Traffic], str]] = {
    "list": lambda _: "/",
    "trace": lambda traces: f"/traces/{traces.miss}",
    "failed trace": lambda traces: f"/traces/{traces.failed}",
    "compare": lambda traces: f"/compare?a={traces.miss}&b={traces.canary}",
    "difference": lambda _: "/?compare=slow",
    "map": lambda _: "/map",
    "models": lambda _: "/models",
    "model": lambda _: f"/models/{MODEL}",
    "metrics": lambda _: "/metrics?name=ai.inference.latency",
    "logs": lambda _: "/logs?severity=info",
    "rules": lambda _: "/rules",
    "try": lambda _: "/try",
    "replay": lambda traces: f"/traces/{traces.miss}/replay",
    "nothing there": lambda _: "/traces/00000000000000000000000000000001",
}
# All of the page's own files and one document, compressed.
MAX_WEIGHT = 100 * 1024


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_readable_at_every_width(open_tab: OpenTab, traces: Traffic, name: str, scheme: Scheme) -> None:
    tab = open_tab(scheme=scheme)
    tab.open(PAGES[name](traces))
    expect(tab.page.locator("main")).to_be_visible()
    for width in WIDTHS:
        tab.page.set_viewport_size({"width": width, "height": 900})
        assert overflow(tab.page) == 0, f"{name} at {width} pixels"
        assert grave_faults(tab.page) == [], f"{name} at {width} pixels, {scheme}"


@pytest.mark.parametrize("name", PAGES)
def test_readable_without_a_script(open_tab: OpenTab, traces: Traffic, name: str) -> None:
    tab = open_tab(javascript=False)
    tab.open(PAGES[name](traces))
    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
    expect(tab.page.locator("main")).not_to_be_empty()


def test_addresses_of_the_first_explorer_still_lead_to_the_trace(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/#/trace/{traces.miss}")
    page_tab.page.wait_for_url(f"**/traces/{traces.miss}")


def test_all_files_and_any_page_weigh_little(open_tab: OpenTab, traces: Traffic) -> None:
    files: dict[str, int] = {}
    documents: dict[str, int] = {}
    for address in PAGES.values():
        tab = open_tab()
        tab.open(address(traces))
        tab.page.wait_for_load_state("networkidle")
        for url, weight in tab.watch.weigh().items():
            (files if "/assets/" in url else documents)[url] = weight
    assert len(files) >= 8, files
    assert sum(files.values()) + max(documents.values()) <= MAX_WEIGHT, (files, documents)


def test_the_judge_sees_a_fault(page_tab: Tab) -> None:
    page_tab.open("/")
    page_tab.page.evaluate(
        """() => {
            document.querySelector("main").append(document.createElement("button"));
            const wide = document.querySelector("main").appendChild(document.createElement("pre"));
            wide.textContent = "wide ".repeat(1000);
        }"""
    )
    assert any(fault.startswith("button-name (critical)") for fault in grave_faults(page_tab.page))
    assert overflow(page_tab.page) > 0
