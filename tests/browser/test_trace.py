"""One trace and two: keys, details, copying, files, links, comparison."""

import json
import re
import subprocess

from playwright.sync_api import expect

from browsing import Tab
from harness import http
from traffic import MODEL, Traffic


def test_keys_walk_through_the_waterfall(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.miss}")
    page, current = page_tab.page, page_tab.page.locator("#spans tr[aria-current=true]")
    page.keyboard.press("Home")
    expect(current).to_contain_text("POST /v1/predictions")
    names = page.locator("#spans tr a.name").all_inner_texts()
    for step, key in enumerate(("j", "ArrowDown"), start=1):
        page.keyboard.press(key)
        expect(current.locator("a.name")).to_have_text(names[step])
    page.keyboard.press("k")
    expect(current.locator("a.name")).to_have_text(names[1])
    page.wait_for_url(re.compile(f"/traces/{traces.miss}/[0-9a-f]{{16}}$"))
    expect(page.locator("#detail")).to_contain_text(names[1])
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    page.keyboard.press("c")
    expect(current).to_contain_text("on the critical path")
    first, second = current.locator("a.name").inner_text(), page.locator("#spans tr[aria-current=true] a.name")
    page.keyboard.press("c")
    page.keyboard.press("C")
    expect(second).to_have_text(first)
    page.keyboard.press("End")
    expect(second).to_have_text(names[-1])
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(second).to_have_text(names[1])
    page.keyboard.press("ArrowLeft")
    expect(second).to_have_text(names[0])
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_focused()
    # Back to the spans, then to the list.
    page.keyboard.press("Escape")
    expect(second).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Traces", exact=True)).to_be_visible()


def test_keys_of_one_character_can_be_turned_off(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.miss}")
    page, current = page_tab.page, page_tab.page.locator("#spans tr[aria-current=true]")
    page.keyboard.press("?")
    page.get_by_label("Keys that are one character act").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    page.keyboard.press("Home")
    names = page.locator("#spans tr a.name").all_inner_texts()
    page.keyboard.press("j")
    expect(current.locator("a.name")).to_have_text(names[0])
    page.keyboard.press("ArrowDown")
    expect(current.locator("a.name")).to_have_text(names[1])


def test_what_the_reader_opens_stays_open(page_tab: Tab, traces: Traffic) -> None:
    page = page_tab.page
    # The page's own clock, so that nobody has to wait for its rounds.
    page.clock.install()
    page_tab.open(f"/traces/{traces.miss}")
    resource = page.locator("#detail details").filter(has_text="service.instance.id").first
    expect(resource).not_to_have_attribute("open", "")
    resource.locator("summary").click()
    for _ in range(2):
        with page.expect_response(lambda answer: answer.request.resource_type == "xhr"):
            page.clock.run_for(2_100)
    expect(resource).to_have_attribute("open", "")


def test_times_are_the_readers_and_utc_on_hover(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.miss}")
    time = page_tab.page.locator("main time").first
    utc, shown = time.get_attribute("title") or "", time.inner_text()
    hours = [int(found.group(1)) for text in (utc, shown) if (found := re.search(r"(\d\d):\d\d:\d\d", text))]
    assert "UTC" in utc or utc.endswith("Z"), utc
    # The browser of the tests is in Berlin.
    assert (hours[1] - hours[0]) % 24 in (1, 2), f"{utc}: {shown}"


def test_every_span_has_an_address(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.miss}")
    page_tab.page.get_by_role("link", name="predict wine_quality").first.click()
    page_tab.page.wait_for_url(re.compile(f"/traces/{traces.miss}/[0-9a-f]{{16}}$"))
    page_tab.page.reload()
    expect(page_tab.page.locator("#detail")).to_contain_text("ml.model_version")


def test_traceparent_is_copied(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.miss}")
    page_tab.page.get_by_role("button", name="Copy traceparent").click()
    expect(page_tab.page.get_by_role("button", name="Copy traceparent")).to_have_text("Copied")
    copied = page_tab.page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(f"00-{traces.miss}-[0-9a-f]{{16}}-0[01]", copied)


def test_a_copied_curl_sends_the_request_again(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.miss}")
    page_tab.page.keyboard.press("Home")
    page_tab.page.get_by_role("button", name="Copy curl").click()
    copied = page_tab.page.evaluate("navigator.clipboard.readText()")
    answer = subprocess.run(["bash", "-c", f"{copied} --silent --fail"], check=True, capture_output=True, timeout=60)  # noqa: S603, S607 - what a reader does
    assert json.loads(answer.stdout)["predictions"][0]["model"] == MODEL


def test_a_trace_is_a_file_that_needs_nothing_else(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.miss}")

    def file(name: str) -> http.Answer:
        link = page_tab.page.get_by_role("link", name=name, exact=True)
        return http.get(f"{page_tab.watch.site}{link.get_attribute('href')}")

    perfetto = json.loads(file("Perfetto").body)
    assert any(event.get("name") == "predict wine_quality" for event in perfetto["traceEvents"])
    assert json.loads(file("OTLP/JSON").body)["resourceSpans"]
    # In a page without an address, which has no policy but that of the file.
    alone = page_tab.page.context.new_page()
    alone.set_content(file("HTML page").body.decode())
    expect(alone.get_by_text("predict wine_quality").first).to_be_visible()


def test_a_hit_links_to_its_computation_and_back(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.hit}")
    page_tab.page.keyboard.press("Home")
    to_computation = page_tab.page.locator(f"#detail a[href^='/traces/{traces.miss}']")
    to_computation.first.click()
    page_tab.page.wait_for_url(f"**/traces/{traces.miss}/*")
    expect(page_tab.page.locator(f"a[href^='/traces/{traces.hit}']").first).to_be_visible()


def test_an_error_is_opened_with_its_words(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/traces/{traces.failed}")
    expect(page_tab.page.locator("#detail")).to_contain_text("fault on purpose")


def test_two_traces_stand_side_by_side(page_tab: Tab, traces: Traffic) -> None:
    page_tab.open(f"/compare?a={traces.miss}&b={traces.canary}")
    table = page_tab.page.get_by_role("table").first
    expect(table).to_be_visible()
    expect(page_tab.page.locator("main")).to_contain_text("predict wine_quality")
    expect(page_tab.page.locator("main")).to_contain_text("model-service-python")
