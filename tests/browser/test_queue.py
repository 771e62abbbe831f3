"""Images on their way: how they come, one after the other, their states, and cancelling."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser.page import (
    ANSWER_MS,
    SEGMENT,
    Visit,
    answer_of,
    color_at,
    give,
    picture,
    quarters,
    reply,
    state,
    thumb,
    until,
)
from tests.support.images import Pixels, encode

TRANSFER = """(files) => {
    const transfer = new DataTransfer();
    for (const { name, mimeType, data } of files) {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: mimeType }));
    }
    return transfer;
}"""


def drop(page: Page, selector: str, *files: dict[str, Any]) -> None:
    plain = [file | {"data": base64.b64encode(file["buffer"]).decode(), "buffer": None} for file in files]
    transfer = page.evaluate_handle(TRANSFER, plain)
    for event in ("dragenter", "dragover"):
        page.dispatch_event(selector, event, {"dataTransfer": transfer})
    assert page.locator("body.over").count() == 1
    page.dispatch_event(selector, "drop", {"dataTransfer": transfer})
    assert page.locator("body.over").count() == 0


def solid(height: int, width: int, value: int) -> Pixels:
    return np.full((height, width), value, np.uint8)


@pytest.mark.long
def test_photos_dropped_anywhere_get_their_own_answers(page: Page) -> None:
    drop(page, "#drop", picture("first.png", 40, 70))
    state(page, "first.png", "done")
    drop(page, "footer", picture("second.png", 50, 110, seed=1))
    state(page, "second.png", "done")
    expect(thumb(page, "second.png")).to_have_attribute("aria-current", "true")
    for name, size in (("second.png", "110 . 50"), ("first.png", "70 . 40"), ("second.png", "110 . 50")):
        thumb(page, name).click()
        expect(page.locator("#status")).to_have_text(re.compile(f"^{name}: {size} pixels"))
        expect(thumb(page, name)).to_have_attribute("aria-current", "true")
        width, height = (int(side) for side in size.split(" . "))
        for layer in ("(e) => [e.naturalWidth, e.naturalHeight]", "(e) => [e.width, e.height]"):
            assert page.locator("#photo" if "natural" in layer else "#colors").evaluate(layer) == [width, height]


def test_answers_go_to_their_images_however_one_clicks(page: Page) -> None:
    routes: list[Route] = []
    page.route(SEGMENT, lambda route: routes.append(route))
    give(page, *(picture(f"{value}.png", 20, 30 + value) for value in range(3)))
    for value in range(3):
        until(page, lambda value=value: len(routes) == value + 1)
        thumb(page, f"{(value + 1) % 3}.png").click()
        routes[value].fulfill(json=answer_of(solid(20, 30 + value, value), name=f"model {value}"))
        state(page, f"{value}.png", "done")
    for value in (2, 0, 1, 0):
        for other in (1, 2, 0):
            thumb(page, f"{other}.png").click()
        thumb(page, f"{value}.png").click()
        expect(page.locator("#answer-model")).to_have_text(f"model {value}")
        summary = "1 class" if value else "none of the model\u2019s classes was found"
        expect(page.locator("#status")).to_have_text(re.compile(f"^{value}.png: {30 + value} . 20 pixels, {summary}"))
        assert page.locator("#photo").evaluate("(e) => e.naturalWidth") == 30 + value
        expect(page.locator("#curl")).to_contain_text(f"file=@{value}.png")
        if value:
            assert color_at(page, 1, 1)[3] == 255


@pytest.mark.long
def test_what_is_slow_to_draw_does_not_cover_what_was_chosen_later(page: Page) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (1500, 1500), dtype=np.uint8)
    reply(page, answer_of(noise, name="slow"), answer_of(solid(20, 31, 1), name="quick"))
    give(page, picture("slow.png", 1500, 1500), picture("quick.png", 20, 31))
    for name in ("slow.png", "quick.png"):
        state(page, name, "done")
    thumb(page, "quick.png").click()
    expect(page.locator("#answer-model")).to_have_text("quick")
    page.evaluate("document.querySelectorAll('.thumb').forEach((button) => button.click())")
    page.wait_for_timeout(2000)
    expect(page.locator("#answer-model")).to_have_text("quick")
    assert page.locator("#photo").evaluate("(e) => e.naturalWidth") == 31
    assert page.locator("#colors").evaluate("(e) => e.width") == 31


@pytest.mark.long
def test_one_image_is_sent_at_a_time_and_one_that_waits_is_cancelled_before(page: Page) -> None:
    routes: list[Route] = []
    page.route(SEGMENT, lambda route: routes.append(route))
    give(page, picture("a.png"), picture("b.png"))
    until(page, lambda: routes)
    state(page, "a.png", "sending")
    state(page, "b.png", "waiting")
    give(page, picture("c.png"))
    state(page, "c.png", "waiting")
    thumb(page, "b.png").click()
    expect(page.locator("#busy-text")).to_have_text("Waiting for its turn")
    page.click("#cancel")
    state(page, "b.png", "cancelled")
    page.wait_for_timeout(200)
    assert len(routes) == 1
    routes[0].fulfill(json=answer_of(quarters()))
    until(page, lambda: len(routes) == 2)
    state(page, "a.png", "done")
    assert b'filename="c.png"' in (routes[1].request.post_data_buffer or b"")
    routes[1].fulfill(json=answer_of(quarters()))
    state(page, "c.png", "done")


@pytest.mark.long
def test_a_photo_is_pasted_from_the_clipboard(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    reply(page, answer_of(quarters()))
    data = base64.b64encode(picture("a.png")["buffer"]).decode()
    page.evaluate(
        """async (data) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
        }""",
        data,
    )
    page.keyboard.press("Control+V")
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    expect(page.locator(".thumb")).to_have_count(1)


@pytest.mark.long
def test_every_sample_is_segmented_by_the_default_weights(visit: Visit, live_url: str) -> None:
    page = visit(url=live_url)
    for name, label in (("cows.jpg", "cow"), ("dog.jpg", "dog"), ("chelsea.jpg", "cat")):
        page.goto(page.url)
        sample = page.locator(".sample", has=page.locator(f'img[src$="{name}"]'))
        sample.scroll_into_view_if_needed()
        assert sample.locator("img").evaluate("(e) => e.decode().then(() => e.naturalWidth)") > 400
        sample.click()
        expect(page.locator("#classes")).to_contain_text(label, timeout=ANSWER_MS)


@pytest.mark.long
def test_the_progress_of_an_upload_is_shown(page: Page) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
    session.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": 50_000})  # seven seconds
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    give(page, {"name": "noise.png", "mimeType": "image/png", "buffer": encode(noise)})
    expect(page.locator("#busy-text")).to_have_text(re.compile(r"^Sending, [1-9]\d? %$"))
    assert 0 < page.locator("#progress").evaluate("(e) => e.value") < 1
    expect(thumb(page, "noise.png")).to_have_attribute("aria-label", re.compile(r"noise.png, sending \d+ %"))
    session.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": -1})
    state(page, "noise.png", "done")


def test_cancelling_stops_the_request_and_goes_on_with_the_next(page: Page) -> None:
    routes: list[Route] = []
    failures: list[str] = []
    page.on("requestfailed", lambda request: failures.append(request.failure or ""))
    page.route(SEGMENT, lambda route: routes.append(route))
    give(page, picture("a.png"), picture("b.png"))
    until(page, lambda: routes)
    page.click("#cancel")
    state(page, "a.png", "cancelled")
    expect(page.locator("#problem-title")).to_have_text("Cancelled")
    until(page, lambda: len(routes) == 2)
    assert failures == ["net::ERR_ABORTED"]
    routes[1].fulfill(json=answer_of(quarters()))
    state(page, "b.png", "done")
    expect(page.locator("#result")).to_be_hidden()
    page.click("#retry")
    until(page, lambda: len(routes) == 3)
    routes[2].fulfill(json=answer_of(quarters()))
    state(page, "a.png", "done")
    expect(page.locator("#result")).to_be_visible()


@pytest.mark.long
def test_images_are_removed_until_the_start_is_back(page: Page) -> None:
    give(page, picture("a.png"), picture("b.png", 40, 70))
    for name in ("a.png", "b.png"):
        state(page, name, "done")
    page.click("#discard")
    expect(page.locator(".thumb")).to_have_count(1)
    expect(page.locator("#status")).to_contain_text("b.png: 70")
    page.click("#discard")
    expect(page.locator("#work")).to_be_hidden()
    expect(page.locator(".lede")).to_be_visible()
    expect(page.locator("#result")).to_be_hidden()
    give(page, picture("a.png"))
    state(page, "a.png", "done")
    expect(page.locator("#result")).to_be_visible()
