"""The page of an explorer that asks for a token."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browsing import SCHEMES, WIDTHS, Scheme, grave_faults, overflow, tab

TOKEN = "-".join(["of", "the", "test", "0123456789"])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an explorer of its own, with a token."""
    file: Path = tmp_path_factory.mktemp("explorer") / "token"
    file.write_text(TOKEN)
    listen = ["--listen", "127.0.0.1:0", "--otlp-listen", "127.0.0.1:0"]
    command = [os.environ["THROUGHLINE_BIN"], "explorer", *listen, "--explorer-token-file", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603 - the program under test
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            found = (re.search(r"explorer listens on (http://[^\s\"]+)", line) for line in lines)
            yield next(match.group(1) for match in found if match)
        finally:
            process.terminate()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_form_is_for_everybody(browser: Browser, guarded: str, width: int, scheme: Scheme) -> None:
    with tab(browser, guarded, width, scheme) as opened:
        opened.open("/models")
        expect(opened.page.get_by_label("Token")).to_be_focused()
        assert grave_faults(opened.page) == []
        assert overflow(opened.page) <= 0


def test_the_token_is_asked_for_once(browser: Browser, guarded: str) -> None:
    with tab(browser, guarded) as opened:
        page = opened.page
        opened.open("/models")
        page.get_by_label("Token").fill("another one")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the token.")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        # The page that was wanted.
        page.wait_for_url("**/models")
        expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
        opened.open("/logs")
        expect(page.get_by_label("Token")).to_have_count(0)
