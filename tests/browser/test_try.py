"""Try it, and replays: a request goes through the real gateway, and its trace is watched as it arrives."""

import re

from playwright.sync_api import Locator, expect

from browsing import Tab, grave_faults
from conftest import OpenTab
from harness.wait import until
from traffic import Traffic

ARRIVING = re.compile("Arriving")
WHOLE = re.compile(r"The trace is whole: \d+ spans")


def form(tab: Tab, model: str) -> Locator:
    """Return the form of a model."""
    return tab.page.locator("form", has=tab.page.get_by_role("heading", name=model))


def test_a_slow_request_arrives_and_is_whole_only_then(page_tab: Tab) -> None:
    page_tab.open("/try")
    wine = form(page_tab, "wine_quality")
    wine.get_by_label("The id of a wine").fill("wine-0301")
    wine.get_by_label("Variant").select_option("primary")
    wine.get_by_label("Stored predictions").select_option("no-cache")
    wine.get_by_label("Kind").select_option("latency")
    wine.locator("[name=fault_service]").select_option("feature-store")
    wine.get_by_label("Delay in ms").fill("1500")
    wine.get_by_role("button", name="Send").click()
    status = page_tab.page.get_by_role("status")
    expect(status).to_contain_text(ARRIVING)
    expect(page_tab.page.get_by_text("The gateway has not answered yet.")).to_be_visible()
    expect(status).to_contain_text(WHOLE)
    for span in ("POST /v1/predictions", "POST /get-online-features", "layer linear_3"):
        expect(page_tab.page.get_by_role("cell", name=span)).to_be_visible()
    expect(page_tab.page.get_by_text("feature-store:latency:1500")).to_be_visible()
    assert grave_faults(page_tab.page) == []
    page_tab.page.get_by_role("link", name="Open the trace").click()
    page_tab.page.wait_for_url("**/traces/*")


def test_a_review_is_shown_as_it_was_typed(page_tab: Tab) -> None:
    typed = "<b>Great</b> sound & then it broke. <script>alert(1)</script>"
    page_tab.open("/try")
    review = form(page_tab, "text_sentiment")
    review.get_by_label("A review").fill(typed)
    review.get_by_role("button", name="Send").click()
    expect(page_tab.page.get_by_role("status")).to_contain_text(WHOLE)
    expect(page_tab.page.locator(".quoted")).to_have_text(f"“{typed}”")


def test_without_a_script_it_takes_a_click_to_look_again(open_tab: OpenTab) -> None:
    tab = open_tab(javascript=False)
    tab.open("/try?model=wine_quality&entity=wine-0302&cache=no-store")
    wine = form(tab, "wine_quality")
    expect(wine.get_by_label("The id of a wine")).to_have_value("wine-0302")
    expect(wine.get_by_label("Stored predictions")).to_have_value("no-store")
    wine.get_by_role("button", name="Send").click()

    def looked_again() -> bool:
        again = tab.page.get_by_role("link", name="Look again")
        if again.count():
            again.click()
        return bool(WHOLE.search(tab.page.get_by_role("status").inner_text()))

    until("the trace is whole", lambda: looked_again() or None)


def test_what_the_gateway_refuses_is_said_in_words(page_tab: Tab) -> None:
    page_tab.open("/try?model=wine_quality&entity=wine-9999")
    wine = form(page_tab, "wine_quality")
    wine.get_by_role("button", name="Send").click()
    expect(page_tab.page.get_by_text("No entity has this data_id")).to_be_visible()
    expect(page_tab.page.get_by_role("status")).to_contain_text(WHOLE)


def test_a_replay_lands_on_the_comparison(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.miss}/replay")
    page_tab.page.get_by_label("Variant").select_option("canary")
    page_tab.page.get_by_role("button", name="Send again and compare").click()
    page_tab.page.wait_for_url(re.compile(f"/compare\\?a={traces.miss}&b=[0-9a-f]{{32}}$"))


def test_a_text_that_was_not_captured_cannot_be_sent_again(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.text}/replay")
    expect(page_tab.page.get_by_text("texts are not captured")).to_be_visible()
    expect(page_tab.page.get_by_role("button", name="Send again and compare")).to_have_count(0)
