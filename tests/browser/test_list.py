"""The list: filters in the address, dots, dragging, and what is different about some traces."""

import re

from playwright.sync_api import Page, expect

from browsing import Tab
from conftest import OpenTab
from traffic import Client, Traffic


def listed(page: Page) -> set[str]:
    """Return the ids of the traces in the table."""
    links = page.locator("table.traces tbody a[href^='/traces/']")
    return {str(href).split("/")[2] for href in links.evaluate_all("all => all.map(a => a.getAttribute('href'))")}


def test_a_filter_is_an_address_and_an_address_is_a_filter(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open("/?limit=1000")
    everything = listed(page_tab.page)
    assert {traces.miss, traces.hit, traces.canary, traces.text, traces.failed} <= everything
    page_tab.page.get_by_label("Status").select_option("error")
    page_tab.page.get_by_role("button", name="Filter").click()
    page_tab.page.wait_for_url("**status=error**")
    failed = listed(page_tab.page)
    assert traces.failed in failed
    assert traces.miss not in failed
    # Somebody else opens the bookmark.
    address = page_tab.page.url.removeprefix(page_tab.watch.site)
    page_tab.open("/rules")
    page_tab.open(address)
    assert traces.failed in listed(page_tab.page)
    expect(page_tab.page.get_by_label("Status")).to_have_value("error")


def test_filters_work_without_a_script(open_tab: OpenTab, traces: Traffic) -> None:
    tab = open_tab(javascript=False)
    tab.open("/?where=ml.data_id+is+wine-0077&variant=canary&limit=1000")
    assert traces.canary in listed(tab.page)
    assert not {traces.miss, traces.text, traces.failed} & listed(tab.page)


def test_a_wrong_filter_is_said(page_tab: Tab) -> None:
    page_tab.open("/?sort=sideways")
    expect(page_tab.page.get_by_role("alert")).to_contain_text("The filter cannot be used")


def test_dragging_over_the_dots_compares_what_is_selected(page_tab: Tab) -> None:
    page_tab.open("/?limit=1000")
    box = page_tab.page.locator("#dots").bounding_box()
    assert box is not None
    mouse = page_tab.page.mouse
    mouse.move(box["x"] + 4, box["y"] + 4)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] * 0.6, steps=4)
    mouse.up()
    page_tab.page.wait_for_url(re.compile("compare=selection&from=.*&to=.*&min=.*&max="))
    expect(page_tab.page.get_by_role("heading", name="What is different about the selected traces?")).to_be_visible()


def test_a_variant_is_told_from_the_others(page_tab: Tab) -> None:
    page_tab.open("/?model=wine_quality&compare=variant%3Dcanary")
    difference = page_tab.page.get_by_role("region", name="What is different")
    expect(difference.get_by_role("heading", level=3).first).to_be_visible()
    expect(difference).to_contain_text("model-service-python")


def test_the_list_is_live_and_can_be_paused(page_tab: Tab, client: Client) -> None:
    page = page_tab.page
    # The page's own clock, so that nobody has to wait for its rounds.
    page.clock.install()
    page_tab.open("/?limit=1000")
    live = page.get_by_label("Live")
    expect(live).to_be_checked()
    fresh = client.wine(901)
    page.clock.run_for(5_000)
    expect(page.locator(f"a[href^='/traces/{fresh}']").first).to_be_attached()
    live.uncheck()
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    paused = client.wine(902)
    page.clock.run_for(60_000)
    assert asked == []
    live.check()
    page.clock.run_for(5_000)
    expect(page.locator(f"a[href^='/traces/{paused}']").first).to_be_attached()
