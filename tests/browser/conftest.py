"""A real Chromium, and pages that are watched for errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.harness.chromium import chromium_path
from benchmarks.harness.serving import service
from tests.support.browser.page import ANSWER_MS, Visit
from tests.support.browser.proxy import proxy_to

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="package")
def launch() -> Iterator[Callable[..., Browser]]:
    """Starts a Chromium with these flags beside the usual ones."""
    with sync_playwright() as playwright:
        path = chromium_path(playwright)
        if path is None:
            pytest.skip("no Chromium on this machine, and none from Playwright")
        expect.set_options(timeout=ANSWER_MS)
        yield lambda *flags: playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])


@pytest.fixture(scope="package")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    with launch() as running:
        yield running


@pytest.fixture
def visit(browser: Browser, narrow_url: str) -> Iterator[Visit]:
    """Opens the page; it must log no error and ask no other host. `allowed_statuses` are those that a test brings about."""
    contexts = []
    errors: list[str] = []

    def open_page(
        path: str = "/", *, url: str = narrow_url, width: int = 1280, height: int = 800, allowed_statuses: tuple[int, ...] = (),
        before: Callable[[Page], object] = lambda page: None, **options: Any,
    ) -> Page:  # fmt: skip
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(ANSWER_MS)
        expected = tuple(f"status of {status}" for status in allowed_statuses) + (("ERR_",) if 0 in allowed_statuses else ())

        def log(message: Any) -> None:
            if message.type == "error" and not any(word in message.text for word in expected):
                errors.append(f"{message.text} ({message.location['url']})")

        page.on("console", log)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith((url, "blob:", "data:")) else errors.append(r.url))
        before(page)
        page.goto(url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="package")
def protected_url(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that asks for the key `open sesame` whatever it is asked, under a path that a proxy strips; without a slash."""
    log = tmp_path_factory.mktemp("protected") / "log"
    settings = {"weights": narrow_file, "device": "cpu", "threads": 1, "root_path": "/segmentation"}
    with (
        service(log=log, **settings, api_keys="open sesame", protect_all=True) as target,
        proxy_to(target.url, "/segmentation") as url,
    ):
        yield url


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit()
