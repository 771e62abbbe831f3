"""What goes wrong is told in plain words, at the image that it befell."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

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
    state,
    thumb,
)

KEY_PROBLEM = problem(401, "No or wrong API key", "send a valid key", **{"WWW-Authenticate": "Bearer"})


def assert_problem(page: Page, title: str, detail: str) -> None:
    expect(page.locator("#problem-title")).to_have_text(title, timeout=ANSWER_MS)
    expect(page.locator("#problem-detail")).to_contain_text(detail)
    expect(page.locator("#status")).to_contain_text(title)
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#view")).to_be_hidden()


def assert_key_asked_for_once(page: Page, title: str, detail: str) -> None:
    expect(page.locator("#key-title")).to_have_text(title, timeout=ANSWER_MS)
    expect(page.locator("#key-reason")).to_contain_text(detail)
    expect(page.locator("#key")).to_be_focused()
    assert page.locator("body").inner_text().count(title) == 1
    assert page.locator(".thumb").first.get_attribute("aria-label") == "a.png, needs a key"


def test_files_that_are_no_image_or_damaged_are_explained_and_others_go_on(visit: Visit) -> None:
    page = visit(allowed_statuses=(415, 422))
    whole = picture("whole.jpg", format="JPEG")
    half = whole | {"name": "half.jpg", "buffer": whole["buffer"][: len(whole["buffer"]) // 2]}
    give(page, {"name": "notes.png", "mimeType": "image/png", "buffer": b"no image"}, half, whole)
    assert_problem(page, "The service does not read this file", "PNG")
    expect(page.locator("#problem-name")).to_have_text("notes.png")
    expect(page.locator("#retry")).to_be_hidden()
    state(page, "whole.jpg", "done")
    expect(page.locator("#problem")).to_be_visible()
    thumb(page, "whole.jpg").click()
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#result")).to_be_visible()
    state(page, "half.jpg", "failed")
    thumb(page, "half.jpg").click()
    assert_problem(page, "Damaged image", "damaged")
    expect(page.locator("#retry")).to_be_hidden()


@pytest.mark.long
def test_a_wrong_option_is_told_from_a_damaged_image_and_can_be_changed(visit: Visit) -> None:
    page = visit(allowed_statuses=(422,))
    page.click("#options summary")
    page.select_option("#side", "number")
    page.fill("#side-pixels", "5")
    give(page, picture("a.png"))
    assert_problem(page, "An option has a wrong value", "Change the value under Options")
    expect(page.locator("#problem-detail")).to_contain_text("Longer side: write a whole number from 32 to 16384")
    page.fill("#side-pixels", "64")
    page.click("#retry")
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)


@pytest.mark.long
def test_an_option_that_the_service_refuses_is_told(visit: Visit) -> None:
    page = visit(allowed_statuses=(422,))
    reply(page, problem(422, "Wrong parameter", "query side: it must be `auto`", "wrong-parameter"))
    give(page, picture("a.png"))
    assert_problem(page, "An option has a wrong value", "Query side: it must be `auto`. Change the value under Options")


@pytest.mark.long
def test_an_empty_file_is_told(visit: Visit) -> None:
    page = visit(allowed_statuses=(400,))
    give(page, {"name": "empty.png", "mimeType": "image/png", "buffer": b""})
    assert_problem(page, "This file is empty", "Choose another file")
    expect(page.locator("#problem-detail")).not_to_contain_text("form")
    expect(page.locator("#retry")).to_be_hidden()


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
    page.fill("#min-area", "101%")
    give(page, picture("a.png"))
    assert_problem(page, "An option has a wrong value", "Smallest region: write a number of pixels")
    assert requests == []
    page.fill("#min-area", "0")
    page.click("#retry")
    expect(page.locator("#result")).to_be_visible()
    assert len(requests) == 1


@pytest.mark.long
def test_the_form_takes_the_areas_that_the_service_takes(page: Page) -> None:
    for text in ("0", "200", "0.1%", "100%", "100.00%", "9999999999", "0.1", "101%", "%", "1,5%", "-2"):
        page.evaluate("(text) => { document.querySelector('#min-area').value = text }", text)
        valid = page.locator("#min-area").evaluate("(field) => field.validity.valid")
        assert valid == bool(re.fullmatch(AREA_PATTERN, text)), text


@pytest.mark.long
def test_refusals_are_told_in_plain_words_and_tried_again_when_that_may_help(visit: Visit) -> None:
    page = visit(allowed_statuses=(413, 502, 503))
    large = problem(413, "Too large", "at most 100 megapixels are accepted; scale it down")
    foreign = {"status": 502, "body": "<h1>Bad gateway</h1>", "content_type": "text/html"}
    busy = problem(503, "Not available now", "1024 tiles are queued", **{"Retry-After": "7"})
    requests = reply(page, large, foreign, busy, answer_of(quarters()))
    give(page, *(picture(f"{name}.png") for name in ("large", "foreign", "busy")))
    assert_problem(page, "Too large", "At most 100 megapixels")
    expect(page.locator("#retry")).to_be_hidden()
    thumb(page, "foreign.png").click()
    assert_problem(page, "The server answered 502", "no reason")
    thumb(page, "busy.png").click()
    assert_problem(page, "The server is busy", "Try again in 7 seconds")
    page.click("#retry")
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()
    assert len(requests) == 4


def test_no_connection_is_told_and_tried_again(visit: Visit) -> None:
    page = visit(allowed_statuses=(0,))
    page.route(SEGMENT, lambda route: route.abort("connectionrefused"))
    give(page, picture("a.png"))
    assert_problem(page, "No connection", "cannot reach the server")
    page.unroute(SEGMENT)
    page.click("#retry")
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)


@pytest.mark.long
def test_another_run_without_a_connection_keeps_the_former_result(visit: Visit) -> None:
    page = visit(allowed_statuses=(0,))
    reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    page.click("#options summary")
    page.select_option("#side", "number")
    page.fill("#side-pixels", "64")
    page.route(SEGMENT, lambda route: route.abort("connectionrefused"))
    page.click("#rerun")
    expect(page.locator("#problem-title")).to_have_text("No connection")
    expect(page.locator("#problem-detail")).to_contain_text("The former result stays below.")
    for part in ("#result", "#view", "#code"):
        expect(page.locator(part)).to_be_visible()
    expect(page.locator("#curl")).not_to_contain_text("side=64")
    expect(page.locator("#discard-problem")).to_be_hidden()
    with page.expect_download() as download:
        page.click("#json")
    assert json.loads(Path(download.value.path()).read_text()) == answer_of(quarters())
    page.unroute(SEGMENT)
    requests = reply(page, answer_of(quarters(), name="another run"))
    page.click("#retry")
    expect(page.locator("#answer-model")).to_have_text("another run")
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#curl")).to_contain_text("side=64")
    assert len(requests) == 1


@pytest.mark.long
def test_another_run_that_is_cancelled_keeps_the_former_result(page: Page) -> None:
    reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    page.route(SEGMENT, lambda route: None)
    page.click("#rerun")
    page.click("#cancel")
    state(page, "a.png", "done")
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.long
def test_a_download_that_fails_is_told(visit: Visit) -> None:
    page = segment_file(visit(allowed_statuses=(503,)))
    reply(page, problem(503, "Not available now", "draining", **{"Retry-After": "1"}))
    page.click("#mask")
    expect(page.locator("#status")).to_have_text("The server is busy. Draining.")


@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.long)])
def test_a_key_is_asked_for_kept_in_the_tab_and_sent(visit: Visit, width: int) -> None:
    page = visit(width=width, allowed_statuses=(401,))
    keys: list[str | None] = []

    def guard(route: Route) -> None:
        keys.append(route.request.headers.get("x-api-key"))
        route.fulfill(**({"json": answer_of(quarters())} if keys[-1] == "secret" else KEY_PROBLEM))

    page.route(SEGMENT, guard)
    give(page, picture("a.png"), picture("b.png"))
    expect(page.locator("#key-ask")).to_be_visible()
    assert_key_asked_for_once(page, "This service needs a key", "Ask the operator")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    assert_key_asked_for_once(page, "The key is wrong", "Check that it is complete")
    page.locator("#key").fill("secret")
    page.keyboard.press("Enter")
    for name in ("a.png", "b.png"):
        state(page, name, "done")
    expect(page.locator("#key-ask")).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()
    expect(thumb(page, "a.png")).to_be_focused()
    assert keys == [None, "wrong", "secret", "secret"]
    expect(page.locator("#curl")).to_have_text(re.compile(r'-H "X-API-Key: \$SEGMENT_KEY"'))
    expect(page.locator("#python")).not_to_contain_text("secret")
    assert page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify({ ...localStorage })]") == [
        '{"segment-key":"secret"}', "{}",
    ]  # fmt: skip
    page.reload()
    give(page, picture("c.png"))
    state(page, "c.png", "done")
    assert keys[-1] == "secret"
