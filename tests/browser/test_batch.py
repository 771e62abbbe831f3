"""Many photos: their progress, files of all, and running and clearing them all."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.browser.page import CAT, Visit, answer_of, give, picture, problem, quarters, reply, state, thumb
from tests.support.polling import HANG_S


def download_all(page: Page, format: str) -> tuple[str, bytes]:
    page.select_option("#all-format", format)
    with page.expect_download() as download:
        page.click("#all")
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.mark.long
def test_the_progress_of_many_is_counted(visit: Visit) -> None:
    page = visit(allowed_statuses=(413,))
    reply(page, answer_of(quarters()), problem(413, "Too large", "scale it down", "too-large"), answer_of(quarters()))
    give(page, picture("a.png"))
    state(page, "a.png", "done")
    expect(page.locator("#batch")).to_be_hidden()
    give(page, picture("b.png"), picture("c.png"))
    expect(page.locator("#count")).to_have_text("2 of 3 done, 1 failed")
    expect(page.locator("#batch-progress")).to_be_hidden()
    page.click("#again-all")
    expect(page.locator("#count")).to_have_text("3 of 3 done")
    page.click("#clear")
    expect(page.locator("#work")).to_be_hidden()
    expect(page.locator("#all-part")).to_be_hidden()
    expect(page.locator("#file")).to_be_focused()
    assert page.locator(".thumb").count() == 0


@pytest.mark.long
def test_a_phone_shows_three_thumbnails_and_scrolls_to_the_others(visit: Visit) -> None:
    page = visit(width=390, height=844)
    reply(page, answer_of(quarters()))
    give(page, *(picture(f"{name}.png") for name in "abcd"))
    for name in "abc":
        expect(thumb(page, f"{name}.png")).to_be_in_viewport(ratio=1)
    expect(page.locator(".more")).to_be_in_viewport(ratio=1)
    expect(thumb(page, "d.png")).not_to_be_in_viewport(ratio=1)
    thumb(page, "d.png").click()
    expect(thumb(page, "d.png")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.long
def test_all_masks_come_as_a_zip(page: Page, narrow_url: str) -> None:
    photos = [picture("фото.png", 40, 70), picture("b.png", 50, 110, seed=1), picture("b.png", 30, 30, seed=2)]
    give(page, *photos)
    expect(page.locator("#count")).to_have_text("3 of 3 done")
    name, data = download_all(page, "mask")
    assert name == "segmented-mask.zip"
    expect(page.locator("#status")).to_have_text("segmented-mask.zip is saved, with 3 photos.")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["фото-mask.png", "b-mask.png", "b-mask (2).png"]
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        for entry, photo in zip(archive.namelist(), photos, strict=True):
            expected = httpx.post(f"{narrow_url}/segment", content=photo["buffer"], timeout=HANG_S).content
            assert np.array_equal(np.asarray(Image.open(archive.open(entry))), np.asarray(Image.open(io.BytesIO(expected))))


def test_all_regions_come_as_one_coco_document(page: Page) -> None:
    cat = {"name": CAT.name, "mimeType": "image/jpeg", "buffer": CAT.read_bytes()}
    give(page, cat, picture("b.png", 50, 110, seed=1))
    expect(page.locator("#count")).to_have_text("2 of 2 done")
    name, data = download_all(page, "coco")
    document = json.loads(data)
    assert name == "segmented-coco.json"
    assert [(image["id"], image["file_name"]) for image in document["images"]] == [(1, CAT.name), (2, "b.png")]
    ids = [annotation["id"] for annotation in document["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    assert {annotation["image_id"] for annotation in document["annotations"]} == {1, 2}


@pytest.mark.long
def test_a_photo_of_background_alone_is_an_image_of_the_coco_document(page: Page) -> None:
    plain = answer_of(np.zeros((60, 90), np.uint8))
    document = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [], "annotations": []}
    requests = reply(page, plain, plain, document)
    give(page, picture("a.png"), picture("b.png"))
    expect(page.locator("#count")).to_have_text("2 of 2 done")
    _, data = download_all(page, "coco")
    assert [image["id"] for image in json.loads(data)["images"]] == [1, 2]
    assert [request.split("?")[1] for request in requests[2:]] == ["format=coco&mask=polygons&classes=0"] * 2


def test_a_photo_that_fails_is_named_and_the_others_are_saved(visit: Visit) -> None:
    page = visit(allowed_statuses=(503,))
    reply(page, answer_of(quarters()), answer_of(quarters()), problem(503, "Not available now", "full"), answer_of(quarters()))
    give(page, picture("a.png"), picture("b.png"))
    expect(page.locator("#count")).to_have_text("2 of 2 done")
    _, data = download_all(page, "polygons")
    expect(page.locator("#status")).to_contain_text("with 1 photo. 1 photo failed: a.png: The server is busy")
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["b-polygons.json"]


@pytest.mark.long
@pytest.mark.parametrize("is_isolated", [True, False])
def test_overlays_of_all_keep_what_was_chosen_for_each(page: Page, is_isolated: bool) -> None:
    reply(page, answer_of(quarters(120, 180)))
    white = {"name": "a.png", "mimeType": "image/png", "buffer": picture("a.png", 120, 180)["buffer"]}
    give(page, white, white | {"name": "b.png"})
    expect(page.locator("#count")).to_have_text("2 of 2 done")
    page.locator('.thumb[title="b.png"]').click()
    expect(page.locator("#status")).to_contain_text("b.png: 180")
    page.click("#names")
    page.locator("#opacity").fill("100")
    if is_isolated:
        page.locator("#classes li", has_text="stone").locator(".alone").click()
    page.locator('.thumb[title="a.png"]').click()
    expect(page.locator("#status")).to_contain_text("a.png: 180")
    _, data = download_all(page, "overlay")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pictures = [np.asarray(Image.open(archive.open(f"{name}-overlay.jpg")), int) for name in "ab"]
    leaf = np.array([0x3C, 0xA9, 0x51])
    assert abs(pictures[0][100, 40] - leaf).max() < 8
    assert (abs(pictures[1][100, 40] - leaf).max() < 8) != is_isolated
