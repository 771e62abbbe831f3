"""The page at `/` and the API reference, in a real Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import ROOT

PHOTO = ROOT / "docs" / "photos" / "chelsea.jpg"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        path = found or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium on this machine, and none from Playwright")
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(params=[(1280, 800), (390, 844)], ids=["desktop", "phone"])
def page(browser: Browser, live_url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page that must log no error and ask no other host."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda r: None if r.url.startswith((live_url, "blob:", "data:")) else errors.append(r.url))
    yield opened
    context.close()
    assert [error for error in errors if "status of 415" not in error] == []


def test_a_photo_is_segmented_and_its_classes_are_listed(page: Page, live_url: str) -> None:
    page.goto(live_url)
    page.set_input_files("#file", PHOTO)
    expect(page.locator("#classes")).to_contain_text("cat", timeout=60_000)
    expect(page.locator("#status")).to_contain_text(re.compile("451 . 300 pixels"))
    shown = page.evaluate("[...document.querySelectorAll('.stack img')].map((i) => [i.naturalWidth, i.naturalHeight])")
    assert shown == [[451, 300], [451, 300]]
    swatch = page.locator(".swatch").first.evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert swatch == "rgb(64, 0, 0)"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_opacity_and_downloads_work(page: Page, live_url: str) -> None:
    page.goto(live_url)
    page.set_input_files("#file", PHOTO)
    expect(page.locator("#result")).to_be_visible(timeout=60_000)
    page.locator("#opacity").fill("20")
    assert page.locator("#colors").evaluate("(e) => e.style.opacity") == "0.2"
    with page.expect_download() as download:
        page.click("#mask")
    assert download.value.suggested_filename == "mask.png"


def test_a_broken_file_is_explained_in_words(page: Page, live_url: str) -> None:
    page.goto(live_url)
    page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.locator("#status")).to_contain_text("Not an accepted image type", timeout=60_000)
    expect(page.locator("#result")).to_be_hidden()


def test_the_api_reference_shows_the_route_and_its_errors(page: Page, live_url: str) -> None:
    page.goto(f"{live_url}/docs")
    page.get_by_text("/segment", exact=False).first.click(timeout=60_000)
    expect(page.get_by_text("Not an accepted image type").first).to_be_visible(timeout=60_000)
