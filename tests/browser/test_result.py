"""A segmented photo: overlay, divider, legend, and the class under the pointer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.browser.page import (
    ANSWERED,
    CAT,
    Visit,
    answer_of,
    give,
    on_screen,
    painted,
    picture,
    quarters,
    reply,
    segmented,
)
from tests.support.images import encoded, make_photo


@pytest.fixture
def shown(page: Page) -> Page:
    """A picture of 90 x 60 whose lower quarters are a leaf and a stone; confidence grows from left to right."""
    confidence = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (60, 1))
    reply(page, answer_of(quarters()))
    page.route("**/segment?format=confidence*", lambda route: route.fulfill(body=encoded(confidence), content_type="image/png"))
    return segmented(page, picture("quarters.png"))


def box(page: Page, selector: str) -> dict[str, float]:
    bounds = page.locator(selector).bounding_box()
    assert bounds
    return dict(bounds)


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.long), 390])
def test_one_request_shows_a_photo_its_classes_and_fits_the_screen(visit: Visit, width: int) -> None:
    page = visit(width=width)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if request.method == "POST" else None)
    segmented(page, CAT)
    expect(page.locator("#status")).to_contain_text(re.compile("chelsea.jpg: 451 . 300 pixels"))
    expect(page.locator("#classes")).to_contain_text("circle")
    assert [url.split("/segment?")[1] for url in requests] == ["format=json&mask=rle"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert abs(box(page, "#photo")["width"] / box(page, "#photo")["height"] - 451 / 300) < 0.01
    assert box(page, "#photo") == box(page, "#colors")
    assert page.locator("#photo").evaluate("(e) => [e.naturalWidth, e.naturalHeight]") == [451, 300]


def test_the_default_weights_find_the_cat_of_a_sample(visit: Visit, live_url: str) -> None:
    page = visit(url=live_url)
    page.locator(".sample").first.click()
    expect(page.locator("#classes")).to_contain_text("cat", timeout=ANSWERED)
    page.click("#sure")
    expect(page.locator("#sure")).to_have_attribute("aria-pressed", "true", timeout=ANSWERED)
    page.mouse.move(*on_screen(page, 225, 150))
    expect(page.locator("#reading-name")).to_have_text("cat")
    expect(page.locator("#reading-sure")).to_have_text(re.compile(r"^(\d\d|100) %$"))
    page.click("#sure")
    with page.expect_download() as download:
        page.click("#mask")
    mask = np.asarray(Image.open(Path(download.value.path())))
    script = "[...document.querySelector('#colors').getContext('2d').getImageData(0, 0, 451, 300).data]"
    pixels = np.array(page.evaluate(script), np.uint8).reshape(300, 451, 4)
    assert set(np.unique(mask)) >= {0, 8}
    assert (pixels[mask == 8] == [64, 0, 0, 255]).all()
    assert (pixels[mask == 0] == 0).all()


def test_the_legend_tells_shares_and_the_opacity_follows_its_slider(shown: Page) -> None:
    first = shown.locator("#classes li").first
    expect(first.locator(".share")).to_have_text("50.0 %")
    expect(first.locator(".sure")).to_have_text("50 % sure")
    widths = [bar["width"] for bar in (locator.bounding_box() for locator in shown.locator(".bar span").all()) if bar]
    assert abs(widths[1] / widths[0] - 0.5) < 0.02
    shown.locator("#opacity").focus()
    shown.keyboard.press("End")
    assert shown.locator("#colors").evaluate("(e) => getComputedStyle(e).opacity") == "1"
    shown.locator("#opacity").fill("20")
    assert shown.locator("#colors").evaluate("(e) => getComputedStyle(e).opacity") == "0.2"
    expect(shown.locator("#opacity-value")).to_have_text("20 %")


def clip(page: Page) -> str:
    path: str = page.locator("#after").evaluate("(e) => getComputedStyle(e).clipPath")
    return path


def test_the_divider_is_dragged_and_moved_by_keys(shown: Page) -> None:
    divider, stage = shown.locator("#divider"), box(shown, "#stage")
    assert clip(shown) == "inset(0px 0px 0px 50%)"
    grip = box(shown, ".grip")
    shown.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + 5)
    shown.mouse.down()
    shown.mouse.move(stage["x"] + stage["width"] * 0.25, grip["y"] + 40, steps=4)
    shown.mouse.up()
    assert abs(float(clip(shown).split()[-1].rstrip("%)")) - 25) < 0.5
    shown.mouse.move(stage["x"] + stage["width"] * 0.25 + 15, grip["y"] + 40, steps=4)
    assert divider.get_attribute("aria-valuenow") == "25"
    divider.press("ArrowRight")
    assert divider.get_attribute("aria-valuenow") == "27"
    divider.press("Home")
    assert divider.get_attribute("aria-valuenow") == "0"
    assert clip(shown) == "inset(0px 0px 0px 0%)"
    divider.press("End")
    assert divider.get_attribute("aria-valuetext") == "100 % photo"


def test_pointing_tells_class_and_confidence(shown: Page) -> None:
    reading = shown.locator("#reading")
    expect(reading).to_be_hidden()
    shown.click("#sure")
    expect(shown.locator("#sure")).to_have_attribute("aria-pressed", "true")
    for column, row, name in ((10, 50, "leaf"), (80, 50, "stone"), (70, 5, "background")):
        shown.mouse.move(*on_screen(shown, column, row))
        expect(shown.locator("#reading-name")).to_have_text(name)
        sure = round(np.linspace(0, 255, 90).astype(np.uint8)[column] / 255 * 100)
        expect(shown.locator("#reading-sure")).to_have_text(f"{sure:.0f} %")
        assert shown.locator("#classes li.here .name").all_text_contents() == [name]
    shown.mouse.move(5, 5)
    expect(reading).to_be_hidden()


def test_confidence_is_asked_for_once_when_it_is_looked_at(shown: Page) -> None:
    requests: list[str] = []
    shown.on("request", lambda request: requests.append(request.url) if request.method == "POST" else None)
    sure = shown.locator("#sure")
    shown.mouse.move(*on_screen(shown, 10, 50))
    expect(shown.locator("#reading-sure")).to_have_text("")
    assert requests == []
    for _ in range(2):
        sure.click()
        expect(sure).to_have_attribute("aria-pressed", "true")
        assert painted(shown, 89, 5)[3] == 0
        assert painted(shown, 0, 50) == [0xD4, 0, 0xC8, 255]
        expect(shown.locator("#after-tag")).to_have_text("Unsure")
        sure.click()
        expect(sure).to_have_attribute("aria-pressed", "false")
        assert painted(shown, 0, 50) == [0x3C, 0xA9, 0x51, 255]
    assert [url.split("?")[1] for url in requests] == ["format=confidence"]


def test_a_confidence_that_is_refused_is_told_and_the_classes_stay(visit: Visit) -> None:
    page = visit(refused=(503,))
    reply(page, answer_of(quarters()))
    segmented(page, picture("quarters.png"))
    page.route("**/segment?format=confidence*", lambda route: route.fulfill(status=503, json={"detail": "it is full"}))
    page.click("#sure")
    expect(page.locator("#status")).to_contain_text("It is full")
    expect(page.locator("#sure")).to_have_attribute("aria-pressed", "false")
    assert painted(page, 10, 50) == [0x3C, 0xA9, 0x51, 255]


def test_without_a_confidence_map_the_class_alone_is_told(page: Page) -> None:
    reply(page, answer_of(quarters()))
    segmented(page, picture("quarters.png"))
    page.mouse.move(*on_screen(page, 10, 50))
    expect(page.locator("#reading-name")).to_have_text("leaf")
    expect(page.locator("#reading-sure")).to_have_text("")


def test_arrow_keys_read_pixel_by_pixel_and_speak(shown: Page) -> None:
    shown.click("#sure")
    expect(shown.locator("#sure")).to_have_attribute("aria-pressed", "true")
    stage = shown.locator("#stage")
    stage.press("ArrowRight")
    expect(shown.locator("#spot")).to_be_visible()
    for _ in range(8):
        stage.press("ArrowDown")
    expect(shown.locator("#spoken")).to_have_text(re.compile(r"^stone, \d+ %; column 4\d, row \d\d$"))
    for _ in range(4):
        stage.press("ArrowLeft")
    expect(shown.locator("#spoken")).to_contain_text("leaf")
    stage.press("Escape")
    expect(shown.locator("#reading")).to_be_hidden()


def opaque(page: Page) -> dict[str, bool]:
    spots = {"background": (70, 5), "leaf": (10, 50), "stone": (80, 50)}
    return {name: painted(page, *spot)[3] == 255 for name, spot in spots.items()}


def test_a_class_is_isolated_hidden_and_shown_again(shown: Page) -> None:
    row = {name: shown.locator("#classes li", has_text=name) for name in ("background", "leaf", "stone")}
    assert opaque(shown) == {"background": False, "leaf": True, "stone": True}
    row["leaf"].locator(".alone").click()
    assert opaque(shown) == {"background": False, "leaf": True, "stone": False}
    expect(row["leaf"].locator(".alone")).to_have_attribute("aria-pressed", "true")
    row["leaf"].locator(".alone").click()
    row["stone"].locator(".eye").click()
    assert opaque(shown) == {"background": False, "leaf": True, "stone": False}
    expect(row["stone"].locator(".eye")).to_have_attribute("aria-pressed", "false")
    shown.click("#show-all")
    assert opaque(shown) == {"background": True, "leaf": True, "stone": True}
    expect(shown.locator("#show-all")).to_be_hidden()
    assert painted(shown, 10, 50) == [0x3C, 0xA9, 0x51, 255]


def test_a_picture_that_the_browser_cannot_show_gives_its_classes(page: Page) -> None:
    segmented(page, picture("scan.tiff", format="TIFF"))
    expect(page.locator("#photo-note")).to_contain_text("cannot show this kind of picture")
    expect(page.locator("#photo-note")).to_be_visible()
    expect(page.locator("#divider")).to_be_hidden()
    assert page.locator("#colors").evaluate("(e) => [e.width, e.height]") == [90, 60]
    assert page.locator("#colors").evaluate("(e) => getComputedStyle(e).opacity") == "1"
    assert clip(page) == "none"
    segmented(page, picture("seen.png"))
    page.locator(".thumb").last.click()
    expect(page.locator("#photo-note")).to_be_hidden()
    expect(page.locator("#divider")).to_be_visible()


def test_a_photo_that_lies_on_its_side_is_shown_upright(page: Page) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(make_photo(60, 90), "JPEG", exif=exif.tobytes())
    segmented(page, {"name": "side.jpg", "mimeType": "image/jpeg", "buffer": data})
    expect(page.locator("#status")).to_contain_text(re.compile("60 . 90 pixels"))
    expect(page.locator("#photo-note")).to_be_hidden()
    assert page.locator("#photo").evaluate("(e) => [e.naturalWidth, e.naturalHeight]") == [60, 90]


def test_names_are_shown_as_text(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    answer = json.loads(json.dumps(answer_of(quarters())).replace("leaf", "<b>leaf</b>"))
    reply(page, answer)
    give(page, picture(name))
    expect(page.locator("#status")).to_contain_text(name)
    expect(page.locator("#classes")).to_contain_text("<b>leaf</b>")
    assert page.locator("#classes b").count() == 0
