"""A real Chromium, pages that are watched for errors, and answers made by hand."""

from __future__ import annotations

import base64
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from imaging.rle import encode_rle
from imaging.runs import column_runs
from tests.browser.proxy import proxied
from tests.conftest import HANG_S, ROOT, Pixels, encoded, make_photo, served

PHOTOS = ROOT / "docs" / "photos"
CAT = PHOTOS / "chelsea.jpg"
SEGMENT = "**/segment?*"
ANSWERED = 1000 * HANG_S
COLORS = {0: ("background", "#000000"), 1: ("leaf", "#3ca951"), 2: ("stone", "#4269d0")}
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
Visit = Callable[..., Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        path = program or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium on this machine, and none from Playwright")
        expect.set_options(timeout=ANSWERED)
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Browser, narrow_url: str) -> Iterator[Visit]:
    """Opens the page; it must log no error and ask no other host. `refused` are statuses that a test brings about."""
    contexts = []
    errors: list[str] = []

    def open_page(
        path: str = "/", *, url: str = narrow_url, width: int = 1280, height: int = 800, refused: tuple[int, ...] = (),
        before: Callable[[Page], object] = lambda page: None, **options: Any,
    ) -> Page:  # fmt: skip
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(ANSWERED)
        expected = tuple(f"status of {status}" for status in refused) + (("ERR_",) if 0 in refused else ())

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


@pytest.fixture
def gated(narrow_url: str) -> Iterator[tuple[str, threading.Event]]:
    """The service, asked through a proxy that passes images on once the event is set."""
    gate = threading.Event()
    with proxied(narrow_url, gate=gate) as url:
        yield url, gate
        gate.set()


@pytest.fixture(scope="package")
def prefixed_url(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service under a path that a proxy strips, as it is set up for; without a slash at the end."""
    log = tmp_path_factory.mktemp("prefixed") / "log"
    settings = {"weights": narrow_file, "device": "cpu", "threads": 1, "root_path": "/segmentation"}
    with served(log, **settings) as target, proxied(target, prefix="/segmentation") as url:
        yield url


@pytest.fixture(scope="package")
def protected_url(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that asks for the key `open sesame` whatever it is asked."""
    log = tmp_path_factory.mktemp("protected") / "log"
    settings = {"weights": narrow_file, "device": "cpu", "threads": 1, "api_keys": "open sesame", "protect_all": True}
    with served(log, **settings) as url:
        yield url


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit()


def give(page: Page, *files: Any) -> None:
    page.set_input_files("#more" if page.locator("#work").is_visible() else "#file", list(files))


def picture(name: str, height: int = 60, width: int = 90, format: str = "PNG", seed: int = 0, **options: Any) -> dict[str, Any]:
    """A file as a form takes it."""
    data = encoded(make_photo(height, width, seed), format, **options)
    return {"name": name, "mimeType": f"image/{format.lower()}", "buffer": data}


def segmented(page: Page, file: Any = CAT) -> Page:
    """The page with the service's answer to this file."""
    give(page, file)
    expect(page.locator("#result")).to_be_visible(timeout=ANSWERED)
    return page


def answer_of(class_map: Pixels, confidence: Pixels | None = None, name: str = "by hand") -> dict[str, Any]:
    """The JSON answer for this class map, with the classes of `COLORS`."""
    height, width = class_map.shape
    ids = [int(i) for i in np.unique(class_map)]
    classes = [
        {
            "id": i, "name": COLORS[i][0], "color": COLORS[i][1], "pixels": int((class_map == i).sum()),
            "fraction": float((class_map == i).mean()), "mean_confidence": 0.5, "bbox": [0, 0, width, height],
        }
        for i in ids
    ]  # fmt: skip
    counts = encode_rle(column_runs(class_map), ids)
    answer = {
        "model": {"name": name, "sha256": "0" * 64},
        "image": {"width": width, "height": height},
        "classes": classes,
        "class_map": {"encoding": "rle", "size": [height, width], "counts": counts},
    }
    if confidence is not None:
        answer["confidence_map"] = {"encoding": "png", "data": base64.b64encode(encoded(confidence)).decode()}
    return answer


def reply(page: Page, *answers: dict[str, Any]) -> list[str]:
    """Answers requests from here, in order, the last one again and again; gives the list that collects their addresses."""
    requests: list[str] = []

    def fulfill(route: Route) -> None:
        answer = answers[min(len(requests), len(answers) - 1)]
        requests.append(route.request.url)
        route.fulfill(**({"json": answer} if "status" not in answer else answer))

    page.route(SEGMENT, fulfill)
    return requests


def problem(status: int, title: str, detail: str, **headers: str) -> dict[str, Any]:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "request_id": "r"}
    return {"status": status, "body": json.dumps(body), "content_type": "application/problem+json", "headers": headers}


def quarters(height: int = 60, width: int = 90) -> Pixels:
    """Background above, a leaf below to the left, a stone below to the right."""
    class_map = np.zeros((height, width), np.uint8)
    class_map[height // 2 :, : width // 2] = 1
    class_map[height // 2 :, width // 2 :] = 2
    return class_map


def on_screen(page: Page, column: float, row: float) -> tuple[float, float]:
    """Where on the screen a pixel of the shown image lies."""
    return tuple(
        page.evaluate(
            """([column, row]) => {
                const box = document.querySelector("#colors").getBoundingClientRect();
                const { width, height } = document.querySelector("#colors");
                return [box.left + (column + 0.5) * box.width / width, box.top + (row + 0.5) * box.height / height];
            }""",
            [column, row],
        )
    )


def painted(page: Page, column: int, row: int) -> list[int]:
    """The colour layer's red, green, blue and opacity there."""
    script = "([x, y]) => [...document.querySelector('#colors').getContext('2d').getImageData(x, y, 1, 1).data]"
    rgba: list[int] = page.evaluate(script, [column, row])
    return rgba


def until(page: Page, done: Any) -> None:
    end = time.monotonic() + HANG_S
    while not done():
        assert time.monotonic() < end
        page.wait_for_timeout(10)
