"""Photos on their way: how they come, one after the other, and files of all of them."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.support.browser.page import (
    CAT,
    SEGMENT,
    Visit,
    answer_of,
    color_at,
    give,
    picture,
    problem,
    quarters,
    reply,
    state,
    thumb,
    until,
)
from tests.support.images import Pixels, encode
from tests.support.polling import HANG_S

TRANSFER = """(files) => {
    const transfer = new DataTransfer();
    for (const { name, mimeType, data } of files) {
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: mimeType }));
    }
    return transfer;
}"""
PASTE = """async (data) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""


def drop(page: Page, selector: str, *files: dict[str, Any]) -> None:
    plain = [file | {"data": base64.b64encode(file["buffer"]).decode(), "buffer": None} for file in files]
    transfer = page.evaluate_handle(TRANSFER, plain)
    for event in ("dragenter", "dragover"):
        page.dispatch_event(selector, event, {"dataTransfer": transfer})
    assert page.locator("body.over").count() == 1
    page.dispatch_event(selector, "drop", {"dataTransfer": transfer})
    assert page.locator("body.over").count() == 0


IMAGE = '<meta charset="utf-8"><img src="https://example.com/a.jpg">'
SEND = """([selector, kind, name, key, types]) => {
    const data = new DataTransfer();
    for (const [type, text] of Object.entries(types)) data.setData(type, text);
    const event = new window[kind](name, { bubbles: true, cancelable: true, [key]: data });
    return !document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.mark.parametrize("types", [{"text/uri-list": "https://example.com/a.jpg", "text/html": IMAGE}, {"text/html": IMAGE}])
def test_what_is_dragged_or_pasted_without_a_file_gets_a_sentence(visit: Visit, types: dict[str, str]) -> None:
    """As browsers give an image of another tab; the browser itself would open its address, and leave the page."""
    page, dragged, pasted = visit(), ("DragEvent", "drop", "dataTransfer"), ("ClipboardEvent", "paste", "clipboardData")
    for kind, name, key in (dragged, pasted):
        page.evaluate("document.getElementById('status').textContent = ''")
        before = [name, "dragover"] if name == "drop" else [name]
        assert not any(page.evaluate(SEND, ["#key", kind, each, key, types]) for each in before), "a field takes texts"
        expect(page.locator("#status")).to_be_empty()
        assert [page.evaluate(SEND, ["main", kind, each, key, types]) for each in before] == [name == "drop"] * len(before)
        expect(page.locator("#status")).to_contain_text("No file came. ")
    assert page.locator(".thumb").count() == 0


def test_photos_are_dropped_anywhere_pasted_and_removed(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    drop(page, "#drop", picture("first.png", 40, 70))
    state(page, "first.png", "done")
    drop(page, "footer", picture("second.png", 50, 110, seed=1))
    state(page, "second.png", "done")
    expect(page.locator("#status")).to_have_text(re.compile("^second.png: 110 . 50 pixels"))
    page.evaluate(PASTE, base64.b64encode(picture("a.png")["buffer"]).decode())
    page.keyboard.press("Control+V")
    expect(page.locator(".thumb")).to_have_count(3)
    for left in (2, 1, 0):
        page.click("#discard")
        expect(page.locator(".thumb")).to_have_count(left)
    expect(page.locator("#work")).to_be_hidden()
    expect(page.locator(".lede")).to_be_visible()
    expect(page.locator("#result")).to_be_hidden()
    give(page, picture("a.png"))
    state(page, "a.png", "done")
    expect(page.locator("#result")).to_be_visible()


def solid(height: int, width: int, value: int) -> Pixels:
    return np.full((height, width), value, np.uint8)


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


def test_one_image_is_sent_at_a_time_and_one_is_cancelled_before_or_while_it_is_sent(page: Page) -> None:
    routes: list[Route] = []
    failures: list[str] = []
    page.on("requestfailed", lambda request: failures.append(request.failure or ""))
    page.route(SEGMENT, lambda route: routes.append(route))
    give(page, *(picture(f"{name}.png") for name in "abc"))
    until(page, lambda: routes)
    state(page, "a.png", "sending")
    thumb(page, "b.png").click()
    expect(page.locator("#busy-text")).to_have_text("Waiting for its turn")
    page.click("#cancel")
    state(page, "b.png", "cancelled")
    thumb(page, "a.png").click()
    page.click("#cancel")
    state(page, "a.png", "cancelled")
    expect(page.locator("#problem-title")).to_have_text("Cancelled")
    until(page, lambda: len(routes) == 2)
    assert b'filename="c.png"' in (routes[1].request.post_data_buffer or b"")
    assert failures == ["net::ERR_ABORTED"]
    routes[1].fulfill(json=answer_of(quarters()))
    state(page, "c.png", "done")
    expect(page.locator("#result")).to_be_hidden()
    page.click("#retry")
    until(page, lambda: len(routes) == 3)
    routes[2].fulfill(json=answer_of(quarters()))
    state(page, "a.png", "done")
    expect(page.locator("#result")).to_be_visible()
    page.click("#rerun")
    until(page, lambda: len(routes) == 4)
    page.click("#cancel")
    state(page, "a.png", "done")  # the former result stays
    expect(page.locator("#problem")).to_be_hidden()


def download_all(page: Page, format: str) -> tuple[str, bytes]:
    page.select_option("#all-format", format)
    with page.expect_download() as download:
        page.click("#all")
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_all_masks_come_as_a_zip_and_all_regions_as_one_coco_document(page: Page, narrow_url: str) -> None:
    cat = {"name": CAT.name, "mimeType": "image/jpeg", "buffer": CAT.read_bytes()}
    photos = [picture("фото.png", 40, 70), picture("b.png", 50, 110, seed=1), picture("b.png", 30, 30, seed=2), cat]
    give(page, *photos)
    expect(page.locator("#count")).to_have_text("4 of 4 done")
    name, data = download_all(page, "mask")
    assert name == "segmented-mask.zip"
    expect(page.locator("#status")).to_have_text("segmented-mask.zip is saved, with 4 photos.")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["фото-mask.png", "b-mask.png", "b-mask (2).png", "chelsea-mask.png"]
        for entry, photo in zip(archive.namelist(), photos, strict=True):
            expected = httpx.post(f"{narrow_url}/segment", content=photo["buffer"], timeout=HANG_S).content
            assert np.array_equal(np.asarray(Image.open(archive.open(entry))), np.asarray(Image.open(io.BytesIO(expected))))
    name, data = download_all(page, "coco")
    document = json.loads(data)
    assert name == "segmented-coco.json"
    names = ["фото.png", "b.png", "b (2).png", CAT.name]
    assert [(image["id"], image["file_name"]) for image in document["images"]] == list(enumerate(names, 1))
    ids = [annotation["id"] for annotation in document["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    assert {annotation["image_id"] for annotation in document["annotations"]} <= {1, 2, 3, 4}


def test_many_are_counted_one_that_fails_is_named_and_each_keeps_what_was_chosen_for_it(visit: Visit) -> None:
    page = visit(allowed_statuses=(413, 503))
    plain, document = answer_of(np.zeros((60, 90), np.uint8)), {"images": [], "categories": [], "annotations": []}
    refusal, busy = problem(413, "Too large", "scale it down", "too-large"), problem(503, "Not available now", "full")
    requests = reply(page, answer_of(quarters()), refusal, answer_of(quarters()), plain, busy, document)
    give(page, picture("a.png"))
    state(page, "a.png", "done")
    expect(page.locator("#batch")).to_be_hidden()
    page.locator("#classes li", has_text="stone").locator(".alone").click()
    give(page, picture("b.png"), picture("c.png"), picture("background.png"))
    expect(page.locator("#count")).to_have_text("3 of 4 done, 1 failed")
    expect(page.locator("#batch-progress")).to_be_hidden()
    download_all(page, "coco")
    expect(page.locator("#status")).to_contain_text("with 2 photos. 1 photo failed: a.png: The server is busy")
    classes = [request.rsplit("=", 1)[1] for request in requests[4:]]
    assert classes == ["0%2C2", "0%2C1%2C2", "0"]  # COCO has no annotations of the background: it is an image without any
    page.unroute(SEGMENT)
    reply(page, answer_of(quarters()))
    page.click("#again-all")
    expect(page.locator("#count")).to_have_text("4 of 4 done")
    page.click("#clear")
    expect(page.locator("#work")).to_be_hidden()
    expect(page.locator("#all-part")).to_be_hidden()
    expect(page.locator("#file")).to_be_focused()
    assert page.locator(".thumb").count() == 0


@pytest.mark.long
def test_what_is_slow_to_draw_does_not_cover_what_was_chosen_later(page: Page) -> None:
    noise = np.random.default_rng(0).integers(0, 3, (1500, 1500), dtype=np.uint8)
    reply(page, answer_of(noise, name="slow"), answer_of(solid(20, 31, 1), name="quick"))
    give(page, picture("slow.png", 1500, 1500), picture("quick.png", 20, 31))
    for name in ("slow.png", "quick.png"):
        state(page, name, "done")
    page.evaluate("document.querySelectorAll('.thumb').forEach((button) => button.click())")
    page.wait_for_timeout(2000)
    expect(page.locator("#answer-model")).to_have_text("quick")
    assert page.locator("#photo").evaluate("(e) => e.naturalWidth") == 31
    assert page.locator("#colors").evaluate("(e) => e.width") == 31
