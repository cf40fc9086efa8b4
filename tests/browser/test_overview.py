"""Map, models, metrics, logs, rules."""

import re

from playwright.sync_api import expect

from browsing import Tab
from traffic import MODEL, Traffic


def test_a_click_on_the_map_filters_the_list(page_tab: Tab) -> None:
    page_tab.open("/map")
    page_tab.page.get_by_role("link", name="Traces of service feature-store").click()
    page_tab.page.wait_for_url("**service=feature-store**")
    expect(page_tab.page.get_by_label("Service")).to_have_value("feature-store")


def test_a_model_shows_its_variants_side_by_side(page_tab: Tab) -> None:
    page_tab.open("/models")
    page_tab.page.locator("main").get_by_role("link", name=MODEL).first.click()
    page_tab.page.wait_for_url(f"**/models/{MODEL}*")
    for heading in ("Variants side by side", "Versions", "Training"):
        expect(page_tab.page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    variants = page_tab.page.get_by_role("table", name="Calls by variant and version")
    expect(variants).to_contain_text("primary")
    expect(variants).to_contain_text("canary")


def test_any_metric_is_a_chart(page_tab: Tab) -> None:
    page_tab.open("/metrics")
    page_tab.page.get_by_role("navigation", name="Metrics").get_by_role("link", name="ai.inference.latency").click()
    expect(page_tab.page.get_by_role("heading", name="ai.inference.latency")).to_be_visible()
    expect(page_tab.page.locator("#charts svg").first).to_be_visible()


def test_logs_are_filtered_by_trace_and_severity(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/logs?trace_id={traces.failed}&severity=error")
    expect(page_tab.page.get_by_role("region", name="Log records")).to_contain_text("fault on purpose")
    page_tab.page.get_by_role("region", name="Log records").get_by_role("link").first.click()
    page_tab.page.wait_for_url(re.compile(f"/traces/{traces.failed}"))


def test_logs_are_filtered_by_text_and_service(page_tab: Tab) -> None:
    page_tab.open("/logs")
    page_tab.page.get_by_label("Text").fill("fault on purpose")
    page_tab.page.get_by_label("Service").select_option("model-service")
    page_tab.page.get_by_role("button", name="Filter").click()
    page_tab.page.wait_for_url("**service=model-service**")
    records = page_tab.page.get_by_role("region", name="Log records")
    expect(records).to_contain_text("fault on purpose")
    expect(records).not_to_contain_text("was chosen")


def test_the_numbers_of_a_call_filter_the_list(page_tab: Tab) -> None:
    page_tab.open("/map")
    calls = "Traces of the calls from service:model-service to service:feature-store"
    page_tab.page.get_by_role("link", name=calls).click()
    page_tab.page.wait_for_url("**service=feature-store**")


def test_rules_have_states(page_tab: Tab) -> None:
    page_tab.open("/rules")
    expect(page_tab.page.get_by_role("table", name="Rules and their states")).to_contain_text("drift")
