"""The page in a browser: time from choosing a photograph until the page has drawn its classes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness.chromium import chromium_path
from benchmarks.harness.images import PHOTOS, photo
from benchmarks.harness.results import Ratio, Row, Section
from benchmarks.harness.serving import service

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = {"1 megapixel": (1152, 864), "12 megapixels": (4000, 3000), "81 megapixels": (9000, 9000)}
MOST_S = 5.0
TIMEOUT_MS = 180_000
TEXT = """\
Headless Chromium gets a JPEG through the page's file input. The time ends when the canvas shows the classes, with the upload on
loopback. Then the bench clicks the button Confidence; the time ends when the confidence map is drawn."""


def missing() -> str | None:
    """The reason why this bench cannot run here, or None if it can."""
    if find_spec("playwright"):
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            if chromium_path(playwright):
                return None
    return "page needs Playwright and Chromium; `make test` installs them"


def _seconds(page: Page, act: Callable[[], object], until: str) -> float:
    """Seconds from the start of `act` until the page has drawn an element that matches the selector `until`."""
    start = time.perf_counter()
    act()
    page.wait_for_selector(until, timeout=TIMEOUT_MS)
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))")
    return time.perf_counter() - start


def run(*, quick: bool) -> Section:
    from playwright.sync_api import sync_playwright

    rows: list[Row] = []
    ratios: list[Ratio] = []
    sizes = {"1 megapixel": SIZES["1 megapixel"]} if quick else SIZES
    with service() as server, tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=["--no-sandbox", "--disable-gpu"])
        for size, pixels in sizes.items():
            file = Path(folder) / "photo.jpg"
            file.write_bytes(photo(PHOTOS[0], pixels))
            draw_s: list[float] = []
            confident: list[float] = []
            for _ in range(1 if quick else 3):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.goto(server.url)
                draw_s.append(_seconds(page, partial(page.set_input_files, "#file", file), "#stage.segmented"))
                confident.append(_seconds(page, partial(page.click, "#sure"), "#sure[aria-pressed=true]"))
                page.close()
            rows += [Row.of(f"{size}, classes", draw_s, "s"), Row.of(f"{size}, confidence", confident, "s")]
            ratios.append(Ratio(f"{size}, from drop to picture, in s", rows[-2].median, at_most=MOST_S))
        browser.close()
    return Section("Page", TEXT, rows, ratios)
