"""The page under a path of a proxy, and what it tells before any photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from model.weights_file import find_weights, load_weights
from tests.support.browser.page import ANSWER_MS, CAT, Visit, give, picture, problem, segment_file, state, until
from tests.support.polling import HANG_S
from tests.support.variants import long


@pytest.mark.parametrize("end", ["", *long("/")], ids=["bare", "slash"])
def test_it_works_under_a_path_of_a_proxy(visit: Visit, prefixed_url: str, end: str) -> None:
    page = visit(end, url=prefixed_url)
    expect(page.locator("#facts")).to_contain_text("narrow")
    page.locator(".sample").first.click()
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    expect(page.locator("#curl")).to_contain_text(f"{prefixed_url}/segment?")
    with page.expect_download() as download:
        page.click("#mask")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    if end:  # its scripts are large: once is enough
        page.get_by_text("API reference").click()
        expect(page.get_by_text("Segment an image", exact=True)).to_be_visible(timeout=ANSWER_MS)


def test_it_tells_model_device_and_classes_before_any_photo(visit: Visit, narrow_url: str) -> None:
    info = httpx.get(f"{narrow_url}/info", timeout=HANG_S).json()
    page = visit()
    expect(page.locator("#facts")).to_contain_text(info["model"]["name"])
    expect(page.locator("#facts")).to_contain_text(f"{info['runtime']['device']}, OpenVINO, {info['runtime']['precision']}")
    expect(page.locator("#score-table")).to_be_hidden()
    classes = [entry["name"] for entry in httpx.get(f"{narrow_url}/classes", timeout=HANG_S).json()]
    assert page.locator("#known li").all_text_contents() == classes


@pytest.mark.long
def test_it_tells_the_score_of_each_class_and_on_how_many_photos(visit: Visit) -> None:
    scores = dict(load_weights(find_weights("voc-fcn8s-mobilenet-v2")).manifest.scores)
    info: dict[str, Any] = {
        "model": {"name": "m"},
        "runtime": {"runtime": "openvino", "device": "cpu", "precision": "int8"},
        "scores": scores,
    }
    page = visit(before=lambda page: page.route("**/info", lambda route: route.fulfill(json=info)))
    seven, every = scores["VOC 2012 animals, val, int8"], scores["21 classes, val, int8"]
    iou = dict(zip(seven["classes"], seven["iou"], strict=True))
    expect(page.locator("#class-range")).to_have_text(
        f"By class: person {iou['person']:.1%} to background {iou['background']:.1%}".replace("%", " %")
    )
    expect(page.locator("#class-rows")).to_be_hidden()
    page.click("#class-range")
    rows = [row.split("\t") for row in page.locator("#class-rows").inner_text().splitlines()]
    assert [row[0] for row in rows] == seven["classes"] + [name for name in every["classes"] if name not in seven["classes"]]
    assert ["person", f"{iou['person']:.1%}".replace("%", " %"), "34"] in rows
    assert ["train", "\u2013", "0"] in rows
    info["scores"] = {name: {"mean_iou": values["mean_iou"]} for name, values in scores.items()}
    page.reload()
    expect(page.locator("#facts")).to_contain_text("m")
    expect(page.locator("#class-scores")).to_be_hidden()


@pytest.mark.long
def test_it_works_where_info_classes_and_models_tell_nothing(visit: Visit) -> None:
    def silent(page: object) -> None:
        for name in ("info", "classes", "models"):
            page.route(f"**/{name}", lambda route: route.fulfill(status=503, body="<p>busy</p>"))

    page = visit(before=silent, allowed_statuses=(503,))
    expect(page.locator("#about")).to_be_hidden()
    expect(page.locator("#known-part")).to_be_hidden()
    segment_file(page, CAT)


@pytest.mark.long
def test_the_api_reference_shows_the_route_and_its_errors(visit: Visit) -> None:
    page = visit("/docs")
    page.get_by_text("/segment", exact=False).first.click(timeout=ANSWER_MS)
    expect(page.get_by_text("Not an accepted image type").first).to_be_visible(timeout=ANSWER_MS)


@pytest.mark.long
def test_a_page_that_is_opened_while_the_service_starts_goes_on_by_itself(visit: Visit) -> None:
    starting = [True]
    requests: list[str] = []

    def refuse(route: Route) -> None:
        if not starting:
            route.continue_()
            return
        requests.append(route.request.url)
        route.fulfill(**problem(503, "Not available now", "starting"))

    def start(page: Page) -> None:
        for name in ("health/ready", "info", "classes", "models", "segment?*"):
            page.route(f"**/{name}", refuse)

    page = visit(before=start, allowed_statuses=(503,))
    expect(page.locator("#status")).to_contain_text("The service is starting")
    give(page, picture("a.png"))
    expect(page.locator("#busy-text")).to_have_text("Waiting for the service to start")
    before = len(requests)
    until(page, lambda: len(requests) > before)
    starting.clear()
    state(page, "a.png", "done")
    expect(page.locator("#facts")).to_contain_text("narrow")
    assert not any("segment?" in url for url in requests)
