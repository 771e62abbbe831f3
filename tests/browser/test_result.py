"""A segmented photo: its layers, divider and legend, and the class under the pointer."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.browser.page import (
    CAT,
    Visit,
    answer_of,
    box,
    color_at,
    give,
    on_screen,
    picture,
    quarters,
    reply,
    segment_file,
    state,
)
from tests.support.images import encode
from tests.support.variants import long
from tests.support.vision import oklab

HEAT = 'async () => (await import("./static/colors.js")).HEAT'


@pytest.fixture
def result_page(visit: Visit) -> Page:
    """A picture of 90 x 60 whose lower quarters are a leaf and a stone; confidence grows from left to right.

    The photo's colours are warm: wood, a dark red saucer, coffee, a white cup, in bands from above.
    """
    bands = np.array([[[176, 98, 48]], [[130, 32, 14]], [[214, 142, 54]], [[244, 232, 214]]], np.uint8)
    photo = {"name": "quarters.png", "mimeType": "image/png", "buffer": encode(np.kron(bands, np.ones((15, 90, 1), np.uint8)))}
    confidence = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (60, 1))
    page = visit(allowed_statuses=(503,))
    reply(page, answer_of(quarters()))
    page.route("**/segment?format=confidence*", lambda route: route.fulfill(body=encode(confidence), content_type="image/png"))
    return segment_file(page, photo)


@pytest.mark.parametrize(("width", "height"), [(390, 844), *long((1280, 800))])
def test_one_request_shows_a_photo_its_classes_and_fits_the_screen(visit: Visit, width: int, height: int) -> None:
    page = visit(width=width, height=height)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if request.method == "POST" else None)
    segment_file(page, CAT)
    expect(page.locator("#status")).to_contain_text(re.compile("chelsea.jpg: 451 . 300 pixels"))
    expect(page.locator("#classes")).to_contain_text("circle")
    assert [url.split("/segment?")[1] for url in requests] == ["format=json&mask=rle"]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert abs(box(page, "#photo")["width"] / box(page, "#photo")["height"] - 451 / 300) < 0.01
    assert box(page, "#photo") == box(page, "#colors")
    assert page.locator("#photo").evaluate("(e) => [e.naturalWidth, e.naturalHeight]") == [451, 300]
    for title in page.locator("h2:has(+ .row > select):visible").all():
        assert title.evaluate("(e) => e.nextElementSibling.getBoundingClientRect().top - e.getBoundingClientRect().bottom") > 6
    give(page, picture("b.png", 600, 900))
    state(page, "b.png", "done")
    page.evaluate("scrollTo(0, 0)")
    for selector in ("#count", "#stage", "#status"):
        bounds = box(page, selector)
        assert 0 <= bounds["y"] < bounds["y"] + bounds["height"] <= height, selector


def clip(page: Page) -> str:
    path: str = page.locator("#after").evaluate("(e) => getComputedStyle(e).clipPath")
    return path


def test_the_legend_tells_shares_and_slider_and_divider_are_dragged_and_moved_by_keys(result_page: Page) -> None:
    first = result_page.locator("#classes li").first
    expect(first.locator(".share")).to_have_text("50.0 %")
    expect(first.locator(".sure")).to_have_text("50 % sure")
    widths = [bar["width"] for bar in (locator.bounding_box() for locator in result_page.locator(".bar span").all()) if bar]
    assert abs(widths[1] / widths[0] - 0.5) < 0.02
    result_page.locator("#opacity").focus()
    result_page.keyboard.press("End")
    assert result_page.locator("#colors").evaluate("(e) => getComputedStyle(e).opacity") == "1"
    expect(result_page.locator("#opacity-value")).to_have_text("100 %")
    divider, stage = result_page.locator("#divider"), box(result_page, "#stage")
    middle = stage["y"] + stage["height"] / 2
    assert clip(result_page) == "inset(0px 0px 0px 0%)"
    expect(result_page.locator(".before-tag")).to_be_hidden()
    result_page.mouse.move(stage["x"] + 3, middle)
    result_page.mouse.down()
    result_page.mouse.move(stage["x"] + stage["width"] * 0.25, middle + 20, steps=4)
    result_page.mouse.up()
    assert abs(float(clip(result_page).split()[-1].rstrip("%)")) - 25) < 0.5
    result_page.mouse.move(stage["x"] + stage["width"] * 0.25 + 15, middle + 20, steps=4)
    assert divider.input_value() == "25"
    for key, value in (("ArrowRight", "26"), ("Home", "0"), ("End", "100")):
        divider.press(key)
        assert divider.input_value() == value
    assert divider.get_attribute("aria-valuetext") == "100 % photo"


def shown(page: Page, columns: tuple[int, ...], row: int) -> list[tuple[int, ...]]:
    """The colours on the screen at these pixels of the image."""
    screen = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return [screen.getpixel(tuple(round(place) for place in on_screen(page, column, row))) for column in columns]


def assert_confidence_is_seen(page: Page) -> None:
    """Each third of the scale differs from the next on each of the photo's colours, and what is sure has none of its own."""
    for row in (8, 22, 37, 48):
        colors = oklab(shown(page, (12, 34, 56, 84), row))  # 13, 38, 63 and 94 % sure
        assert np.linalg.norm(np.diff(colors, axis=0), axis=1).min() > 0.04, row
        chroma = np.linalg.norm(colors[:, 1:], axis=1)
        assert chroma[0] > 0.09 > 0.02 > chroma[-1], row


def test_confidence_is_refused_or_asked_for_once_is_seen_on_warm_colours_and_told_where_one_points(
    result_page: Page,
) -> None:
    requests: list[str] = []
    result_page.on("request", lambda request: requests.append(request.url) if request.method == "POST" else None)
    sure, reading = result_page.locator("#sure"), result_page.locator("#reading")
    expect(reading).to_be_hidden()
    result_page.mouse.move(*on_screen(result_page, 10, 50))
    expect(result_page.locator("#reading-name")).to_have_text("leaf")
    expect(result_page.locator("#reading-sure")).to_have_text("")
    assert requests == []
    full = {"status": 503, "json": {"detail": "it is full"}}
    result_page.route("**/segment?format=confidence*", lambda route: route.fulfill(**full), times=1)
    sure.click()
    expect(result_page.locator("#status")).to_contain_text("It is full")
    expect(sure).to_have_attribute("aria-pressed", "false")
    assert color_at(result_page, 10, 50) == [0x3C, 0xA9, 0x51, 255]
    requests.clear()
    heat, wood = result_page.evaluate(HEAT), [(176, 98, 48)]
    result_page.locator("#divider").fill("50")
    for _ in range(2):
        sure.click()
        expect(sure).to_have_attribute("aria-pressed", "true")
        assert color_at(result_page, 89, 5) == heat[255] == [0, 0, 0, 0]
        assert color_at(result_page, 0, 50) == heat[0]
        assert heat[0][3] > 250
        expect(result_page.locator("#after-tag")).to_have_text("Confidence")
        expect(result_page.locator("#heat-scale")).to_be_visible()
        expect(result_page.locator("#outlines")).to_be_hidden()
        assert shown(result_page, (20,), 7) == wood  # left of the divider
        result_page.locator("#divider").press("Home")
        assert_confidence_is_seen(result_page)
        result_page.locator("#divider").fill("50")
        sure.click()
        expect(sure).to_have_attribute("aria-pressed", "false")
        assert color_at(result_page, 0, 50) == [0x3C, 0xA9, 0x51, 255]
        expect(result_page.locator("#heat-scale")).to_be_hidden()
        assert shown(result_page, (70,), 7) == wood
    assert [url.split("?")[1] for url in requests] == ["format=confidence"]
    for column, row, name in ((10, 50, "leaf"), (80, 50, "stone"), (70, 5, "background")):
        result_page.mouse.move(*on_screen(result_page, column, row))
        expect(result_page.locator("#reading-name")).to_have_text(name)
        percent = round(np.linspace(0, 255, 90).astype(np.uint8)[column] / 255 * 100)
        expect(result_page.locator("#reading-sure")).to_have_text(f"{percent:.0f} %")
        assert result_page.locator("#classes li.here .name").all_text_contents() == [name]
    result_page.mouse.move(5, 5)
    expect(reading).to_be_hidden()
    stage = result_page.locator("#stage")
    stage.press("ArrowRight")
    expect(result_page.locator("#spot")).to_be_visible()
    for _ in range(8):
        stage.press("ArrowDown")
    expect(result_page.locator("#spoken")).to_have_text(re.compile(r"^stone, \d+ %; column 4\d, row \d\d$"))
    for _ in range(4):
        stage.press("ArrowLeft")
    expect(result_page.locator("#spoken")).to_contain_text("leaf")
    stage.press("Escape")
    expect(reading).to_be_hidden()


def opaque(page: Page) -> dict[str, bool]:
    spots = {"background": (70, 5), "leaf": (10, 50), "stone": (80, 50)}
    return {name: color_at(page, *spot)[3] == 255 for name, spot in spots.items()}


def test_shown_classes_have_names_and_outlines_and_a_class_is_isolated_hidden_and_shown_again(result_page: Page) -> None:
    tags, colors = result_page.locator(".name-tag"), box(result_page, "#colors")
    result_page.locator("#divider").fill("50")
    expect(tags.filter(visible=True)).to_have_count(1)  # the divider covers the leaf
    result_page.locator("#divider").press("Home")
    expect(tags.filter(visible=True)).to_have_count(2)
    left, middle = colors["x"], colors["width"] / 2
    for name, low in (("leaf", left), ("stone", left + middle)):
        tag = tags.filter(has_text=name).bounding_box()
        assert tag
        assert low <= tag["x"] < tag["x"] + tag["width"] <= low + middle
        assert tag["y"] > colors["y"] + colors["height"] / 2
    clear, light, dark = [0, 0, 0, 0], [255, 255, 255, 235], [0, 0, 0, 140]
    assert [color_at(result_page, 20, row, "#outlines") for row in (27, 28, 29, 30, 31)] == [clear, dark, light, dark, clear]
    assert [color_at(result_page, column, 50, "#outlines") for column in (43, 44, 45)] == [dark, light, dark]
    result_page.locator("#classes li", has_text="leaf").locator(".eye").click()
    expect(tags.filter(visible=True)).to_have_text(["stone"])
    result_page.locator("#classes li", has_text="stone").locator(".eye").click()
    assert color_at(result_page, 20, 29, "#outlines") == clear
    assert color_at(result_page, 44, 50, "#outlines") == clear
    for name in ("leaf", "stone"):
        result_page.locator("#classes li", has_text=name).locator(".eye").click()
    result_page.click("#names")
    expect(result_page.locator("#names")).to_have_attribute("aria-pressed", "false")
    expect(tags).to_have_count(0)
    row = {name: result_page.locator("#classes li", has_text=name) for name in ("background", "leaf", "stone")}
    assert opaque(result_page) == {"background": False, "leaf": True, "stone": True}
    row["leaf"].locator(".alone").click()
    assert opaque(result_page) == {"background": False, "leaf": True, "stone": False}
    expect(row["leaf"].locator(".alone")).to_have_attribute("aria-pressed", "true")
    row["leaf"].locator(".alone").click()
    row["stone"].locator(".eye").click()
    assert opaque(result_page) == {"background": False, "leaf": True, "stone": False}
    expect(row["stone"].locator(".eye")).to_have_attribute("aria-pressed", "false")
    result_page.click("#show-all")
    assert opaque(result_page) == {"background": True, "leaf": True, "stone": True}
    expect(result_page.locator("#show-all")).to_be_hidden()


def test_a_picture_that_the_browser_cannot_show_gives_its_classes(page: Page) -> None:
    segment_file(page, picture("scan.tiff", format="TIFF"))
    expect(page.locator("#photo-note")).to_contain_text("cannot show this file format")
    expect(page.locator("#divider")).to_be_hidden()
    assert page.locator("#colors").evaluate("(e) => [e.width, e.height]") == [90, 60]
    assert page.locator("#colors").evaluate("(e) => getComputedStyle(e).opacity") == "1"
    assert clip(page) == "none"
    segment_file(page, picture("seen.png"))
    page.locator(".thumb").last.click()
    expect(page.locator("#photo-note")).to_be_hidden()
    expect(page.locator("#divider")).to_be_visible()


def test_a_photo_of_nothing_that_the_model_knows_says_so_and_names_are_shown_as_text(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    answer = json.loads(json.dumps(answer_of(quarters())).replace("leaf", "<b>leaf</b>"))
    reply(page, answer_of(np.zeros((60, 90), np.uint8)), answer)
    segment_file(page, picture("empty.png"))
    note, classes, known = (page.locator(id) for id in ("#nothing", "#classes", "#known"))
    expect(page.locator("#status")).to_have_text(re.compile("^empty.png: .*, none of the model.s classes was found.$"))
    expect(note).to_contain_text(re.compile("None of the model.s classes was found"))
    expect(classes).to_be_hidden()
    expect(page.locator("#show-all")).to_be_hidden()
    expect(known).to_contain_text("triangle")
    page.click("#cutout")
    expect(page.locator("#status")).to_contain_text("Nothing to cut out.")
    segment_file(page, picture(name))
    page.locator(".thumb").last.click()
    expect(classes).to_contain_text("<b>leaf</b>")
    expect(page.locator("#status")).to_contain_text(name)
    assert page.locator("#classes b").count() == 0
    expect(note).to_be_hidden()
    expect(known).to_be_hidden()
