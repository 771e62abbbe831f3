"""What goes wrong is told in plain words, at the photo that it befell."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from model.inference.small_regions import AREA_PATTERN
from tests.support.browser.page import (
    ANSWER_MS,
    SEGMENT,
    Visit,
    answer_of,
    give,
    picture,
    problem,
    quarters,
    reply,
    segment_file,
    thumb,
)


def assert_problem(page: Page, title: str, detail: str, *, can_retry: bool = False) -> None:
    expect(page.locator("#problem-title")).to_have_text(title, timeout=ANSWER_MS)
    expect(page.locator("#problem-detail")).to_contain_text(detail)
    expect(page.locator("#status")).to_contain_text(title)
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#view")).to_be_hidden()
    expect(page.locator("#retry")).to_be_visible(visible=can_retry)


def test_what_goes_wrong_is_told_in_plain_words_at_its_photo_and_others_go_on(visit: Visit) -> None:
    page = visit(allowed_statuses=(400, 413, 415, 422, 502, 503))
    whole = picture("whole.jpg", format="JPEG")
    give(
        page, {"name": "notes.png", "mimeType": "image/png", "buffer": b"no image"}, whole,
        whole | {"name": "half.jpg", "buffer": whole["buffer"][: len(whole["buffer"]) // 2]},
        {"name": "empty.png", "mimeType": "image/png", "buffer": b""},
    )  # fmt: skip
    assert_problem(page, "The service does not read this file", "PNG")
    expect(page.locator("#problem-name")).to_have_text("notes.png")
    thumb(page, "whole.jpg").click()
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    expect(page.locator("#problem")).to_be_hidden()
    for name, title, detail in (
        ("half.jpg", "Damaged image", "damaged"),
        ("empty.png", "This file is empty", "Choose another"),
    ):
        thumb(page, name).click()
        assert_problem(page, title, detail)
    large = problem(413, "Too large", "at most 100 megapixels are accepted; scale it down")
    foreign = {"status": 502, "body": "<h1>Bad gateway</h1>", "content_type": "text/html"}
    parameter = problem(422, "Wrong parameter", "query side: it must be `auto`", "wrong-parameter")
    busy = problem(503, "Not available now", "1024 tiles are queued", **{"Retry-After": "7"})
    reply(page, large, foreign, parameter, busy, answer_of(quarters()))
    for name, title, detail, can_retry in (
        ("large", "Too large", "At most 100 megapixels", False),
        ("foreign", "The server answered 502", "no reason", True),
        ("parameter", "An option has a wrong value", "Query side: it must be `auto`. Change the value under Options", True),
        ("busy", "The server is busy", "Try again in 7 seconds", True),
    ):
        give(page, picture(f"{name}.png"))
        thumb(page, f"{name}.png").click()
        assert_problem(page, title, detail, can_retry=can_retry)
    page.click("#retry")
    expect(page.locator("#result")).to_be_visible()


FIELDS = [
    ("#min-area", "a lot", "1 %", "Smallest region: write a number of pixels such as 200, or a share of the photo"),
    ("#fill-holes", "0.1", "100.0%", "Fill holes smaller than: write a number of pixels such as 200"),
    ("#overlap", "0.77", "0.12", "Overlap of tiles: write a number from 0 to 0.5."),
    ("#min-confidence", "-1", "0.333", "Minimum confidence: write a number from 0 to 1."),
]


def test_a_wrong_option_is_told_at_its_field_and_nothing_is_sent(page: Page) -> None:
    requests = reply(page, answer_of(quarters()))
    page.click("#options summary")
    for field, wrong, right, text in FIELDS:
        fault = page.locator(f"{field}-fault")
        page.fill(field, wrong)
        page.locator(field).blur()
        expect(fault).to_contain_text(text)
        expect(page.locator(field)).to_have_attribute("aria-invalid", "true")
        page.fill(field, right)
        expect(fault).to_have_count(0)
        expect(page.locator(field)).not_to_have_attribute("aria-invalid", "true")
    for text in ("0", "200", "0.1%", "100%", "100.00%", "9999999999", "0.1", "101%", "%", "1,5%", "-2"):
        page.evaluate("(text) => { document.querySelector('#min-area').value = text }", text)
        valid = page.locator("#min-area").evaluate("(field) => field.validity.valid")
        assert valid == bool(re.fullmatch(AREA_PATTERN, text)), text  # as the service takes it
    page.select_option("#side", "number")
    page.fill("#side-pixels", "5")
    page.fill("#min-area", "0")
    give(page, picture("a.png"))
    assert_problem(page, "An option has a wrong value", "Longer side: write a whole number from 32 to 16384", can_retry=True)
    assert requests == []
    page.fill("#side-pixels", "64")
    page.click("#retry")
    expect(page.locator("#result")).to_be_visible()
    assert len(requests) == 1


def test_another_run_that_fails_keeps_the_former_result(visit: Visit) -> None:
    page = visit(allowed_statuses=(0,))
    reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    page.unroute(SEGMENT)
    page.route(SEGMENT, lambda route: route.abort("connectionrefused"))
    page.click("#options summary")
    page.select_option("#side", "number")
    page.fill("#side-pixels", "64")
    page.click("#again")
    expect(page.locator("#problem-title")).to_have_text("No connection")
    expect(page.locator("#problem-detail")).to_contain_text("The former result stays below.")
    for part in ("#result", "#view", "#code"):
        expect(page.locator(part)).to_be_visible()
    expect(page.locator("#curl")).not_to_contain_text("side=64")
    expect(page.locator("#discard-problem")).to_be_hidden()
    page.click("#mask")
    expect(page.locator("#status")).to_contain_text("No connection. The page cannot reach the server.")
    page.unroute(SEGMENT)
    reply(page, answer_of(quarters(), name="another run"))
    page.click("#retry")
    expect(page.locator("#answer-model")).to_have_text("another run")
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#curl")).to_contain_text("side=64")
