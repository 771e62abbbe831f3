"""The page about web pages: its programs run in a page of another origin, with one photo after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from benchmarks.harness.serving import free_port, service
from tests.support.browser.page import until
from tests.support.checkout import ROOT
from tests.support.client.file_server import served_folder
from tests.support.images import encode
from tests.support.pages import blocks

PAGE = (ROOT / "docs" / "browser.md").read_text()
CAT = ROOT / "docs" / "photos" / "chelsea.jpg"
PLAIN = {"name": "grey.png", "mimeType": "image/png", "buffer": encode(np.full((60, 90, 3), 128, np.uint8))}
BROKEN = {"name": "cut.jpg", "mimeType": "image/jpeg", "buffer": CAT.read_bytes()[:5000]}
NOTHING = "Nothing to cut out."


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page's example, with a service that allows it."""
    folder, port = tmp_path_factory.mktemp("page"), free_port()
    (folder / "index.html").write_text("\n".join(blocks(PAGE, "html")))
    programs = "\n".join([*blocks(PAGE, "js"), "Object.assign(window, { segmentForm });"])
    (folder / "page.js").write_text(programs.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{port}"))
    with served_folder(folder) as address, service(port=port, device="cpu", threads=1, cors_origins=address):
        yield address


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    tab = browser.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(origin)
    yield tab
    assert not errors
    tab.close()


def choose(page: Page, photo: Any, message: str) -> None:
    page.set_input_files("#photo", photo)
    expect(page.locator("#message")).to_have_text(message)


def shows_nothing(page: Page, size: list[int]) -> None:
    assert page.evaluate("[masked.width, masked.height, outlines.childElementCount, cutout.src]") == [*size, 0, ""]


def test_the_programs_draw_a_mask_outlines_and_a_cut_out(page: Page) -> None:
    choose(page, CAT, "Done.")
    assert page.evaluate("[masked.width, masked.height]") == [451, 300]
    green, grey = "getContext('2d').getImageData(200, 120, 1, 1).data", "getContext('2d').getImageData(440, 10, 1, 1).data"
    inside, outside = (page.evaluate(f"[...masked.{where}]") for where in (green, grey))
    assert inside[1] > max(inside[0], inside[2])
    assert outside[1] <= max(outside[0], outside[2])
    expect(page.locator("#outlines path title")).to_have_text("cat")
    assert page.locator("#outlines").get_attribute("viewBox") == "0 0 451 300"
    page.wait_for_function("cutout.naturalWidth > 100 && cutout.naturalWidth <= 451")


def test_nothing_of_a_former_photo_stays_beside_another_one_or_one_that_fails(page: Page) -> None:
    for photo, message, size in ((PLAIN, NOTHING, [90, 60]), (BROKEN, "could not be decoded", [300, 150])):
        choose(page, CAT, "Done.")
        page.wait_for_function("cutout.naturalWidth > 100")
        page.set_input_files("#photo", photo)
        expect(page.locator("#message")).to_contain_text(message)
        shows_nothing(page, size)
    choose(page, CAT, "Done.")
    expect(page.locator("#outlines path title")).to_have_text("cat")
    page.wait_for_function("cutout.naturalWidth > 100")


@pytest.mark.parametrize("format", ["grey", "json", "cutout"])
def test_an_answer_that_comes_after_the_next_photo_was_chosen_is_not_shown(page: Page, format: str) -> None:
    late: list[Route] = []
    answers: list[object] = []
    page.on("requestfinished", lambda request: answers.append(request) if "/segment?" in request.url else None)
    page.route(f"**/segment?format={format}*", lambda route: route.continue_() if late else late.append(route))
    page.set_input_files("#photo", CAT)
    until(page, lambda: late)
    choose(page, PLAIN, NOTHING)
    late[0].continue_()
    until(page, lambda: len(answers) == 6)
    page.evaluate("fetch('/').then((answer) => answer.text())")  # until then, the last answer is drawn
    shows_nothing(page, [90, 60])
    assert page.locator("#message").inner_text() == NOTHING


def test_a_form_has_the_same_answer(page: Page) -> None:
    page.set_input_files("#photo", CAT)
    script = """async () => {
        const response = await segmentForm(document.getElementById("photo").files[0], { format: "json", mask: "polygons" });
        return [response.status, (await response.json()).classes[0].name];
    }"""
    assert page.evaluate(script) == [200, "cat"]
