"""Takes the README's picture of the page: `python -m docs.screenshot URL`, of a service that runs there."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.harness.chromium import chromium_path

DOCS = Path(__file__).parent
PHOTOS = [DOCS / "photos" / f"{name}.jpg" for name in ("cows", "dog", "chelsea")]
VIEWPORT = {"width": 1200, "height": 720}


def main(url: str, target: Path = DOCS / "page.jpg") -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEWPORT, color_scheme="light")  # type: ignore[arg-type]
        page.goto(url)
        page.set_input_files("#file", PHOTOS)
        page.wait_for_selector('.thumb[data-state="done"] >> nth=2')
        page.locator("#opacity").fill("75")
        page.locator("#divider").fill("50")
        box = page.locator("#stage").bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5)
        page.wait_for_timeout(500)
        page.screenshot(path=target, type="jpeg", quality=88)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
