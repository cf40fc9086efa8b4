"""The pictures of the documents, taken of the running system."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browsing import Tab
from traffic import MODEL, Traffic

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
MAX_BYTES = 150 * 1024

PICTURES: dict[str, Callable[[Traffic], str]] = {
    "traces": lambda _: "/",
    "trace": lambda traces: f"/traces/{traces.miss}",
    "difference": lambda _: f"/?model={MODEL}&compare=variant%3Dcanary",
    "compare": lambda traces: f"/compare?a={traces.miss}&b={traces.canary}",
    "map": lambda _: "/map",
    "model": lambda _: f"/models/{MODEL}",
    "try": lambda _: "/try",
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_documents_have_a_picture(page_tab: Tab, traces: Traffic, name: str) -> None:
    page_tab.page.set_viewport_size({"width": 1280, "height": 720})
    page_tab.open(PICTURES[name](traces))
    expect(page_tab.page.get_by_role("heading", level=1)).to_be_visible()
    picture = FOLDER / f"{name}.png"
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        FOLDER.mkdir(exist_ok=True)
        page_tab.page.screenshot(path=picture, animations="disabled")
    assert picture.is_file(), f"{picture} is missing; UPDATE_SCREENSHOTS=1 tests/browser/run makes it"
    assert picture.stat().st_size <= MAX_BYTES
