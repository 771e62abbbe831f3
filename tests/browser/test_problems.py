"""What goes wrong is told in plain words, at the image that it befell."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    ANSWERED,
    CAT,
    SEGMENT,
    Visit,
    answer_of,
    give,
    picture,
    problem,
    quarters,
    reply,
    segmented,
)  # fmt: skip
from tests.browser.test_queue import state, thumb

KEY_NEEDED = problem(401, "No or wrong API key", "send a valid key", **{"WWW-Authenticate": "Bearer"})


def told(page: Page, title: str, detail: str) -> None:
    expect(page.locator("#problem-title")).to_have_text(title, timeout=ANSWERED)
    expect(page.locator("#problem-detail")).to_contain_text(detail)
    expect(page.locator("#status")).to_contain_text(title)
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#view")).to_be_hidden()


def test_a_file_that_is_no_image_is_explained_and_others_go_on(visit: Visit) -> None:
    page = visit(refused=(415,))
    cat = {"name": "chelsea.jpg", "mimeType": "image/jpeg", "buffer": CAT.read_bytes()}
    give(page, {"name": "notes.png", "mimeType": "image/png", "buffer": b"no image"}, cat)
    told(page, "Not an image this service reads", "PNG")
    expect(page.locator("#problem-name")).to_have_text("notes.png")
    expect(page.locator("#retry")).to_be_hidden()
    state(page, "chelsea.jpg", "done")
    expect(page.locator("#problem")).to_be_visible()
    thumb(page, "chelsea.jpg").click()
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#classes")).to_contain_text("cat")
    thumb(page, "notes.png").click()
    told(page, "Not an image this service reads", "PNG")


def test_a_damaged_image_is_explained(visit: Visit) -> None:
    page = visit(refused=(422,))
    half = CAT.read_bytes()[:9000]
    give(page, {"name": "half.jpg", "mimeType": "image/jpeg", "buffer": half})
    told(page, "Damaged image or bad parameter", "")
    state(page, "half.jpg", "failed")


def test_an_image_that_is_too_large_is_explained(visit: Visit) -> None:
    page = visit(refused=(413,))
    reply(page, problem(413, "Too large", "at most 100 megapixels are taken, scale it down"))
    give(page, picture("large.png"))
    told(page, "Too large", "At most 100 megapixels")
    expect(page.locator("#retry")).to_be_hidden()


def test_a_busy_server_says_when_to_try_again(visit: Visit) -> None:
    page = visit(refused=(503,))
    busy = problem(503, "Not available now", "1024 tiles are queued", **{"Retry-After": "7"})
    asked = reply(page, busy, answer_of(quarters()))
    give(page, picture("a.png"))
    told(page, "The server is busy", "tried again in 7 seconds")
    page.click("#retry")
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()
    assert len(asked) == 2


def test_a_proxys_own_error_page_is_told_as_a_status(visit: Visit) -> None:
    page = visit(refused=(502,))
    reply(page, {"status": 502, "body": "<h1>Bad gateway</h1>", "content_type": "text/html"})
    give(page, picture("a.png"))
    told(page, "The server answered 502", "no reason")


def test_no_connection_is_told_and_tried_again(visit: Visit) -> None:
    page = visit(refused=(0,))
    page.route(SEGMENT, lambda route: route.abort("connectionrefused"))
    give(page, picture("a.png"))
    told(page, "No connection", "cannot be reached")
    page.unroute(SEGMENT)
    page.click("#retry")
    expect(page.locator("#result")).to_be_visible(timeout=ANSWERED)


def test_a_download_that_fails_is_told(visit: Visit) -> None:
    page = segmented(visit(refused=(503,)), CAT)
    reply(page, problem(503, "Not available now", "draining", **{"Retry-After": "1"}))
    page.click("#mask")
    expect(page.locator("#status")).to_have_text("The server is busy. Draining.")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_key_is_asked_for_kept_in_the_tab_and_sent(visit: Visit, width: int) -> None:
    page = visit(width=width, refused=(401,))
    keys: list[str | None] = []

    def guard(route: object) -> None:
        keys.append(route.request.headers.get("x-api-key"))
        route.fulfill(**({"json": answer_of(quarters())} if keys[-1] == "secret" else KEY_NEEDED))

    page.route(SEGMENT, guard)
    give(page, picture("a.png"), picture("b.png"))
    expect(page.locator("#key-ask")).to_be_visible()
    expect(page.locator("#key")).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-reason")).to_contain_text("not accepted")
    expect(page.locator("#key")).to_be_focused()
    page.locator("#key").fill("secret")
    page.keyboard.press("Enter")
    for name in ("a.png", "b.png"):
        state(page, name, "done")
    expect(page.locator("#key-ask")).to_be_hidden()
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
