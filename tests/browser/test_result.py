"""A segmented photo: overlay, divider, legend, and the class under the pointer."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.browser.page import (
    ANSWER_MS,
    CAT,
    Visit,
    answer_of,
    color_at,
    give,
    on_screen,
    picture,
    quarters,
    reply,
    segment_file,
)
from tests.support.images import encode
from tests.support.polling import HANG_S
from tests.support.vision import oklab

HEAT = 'async () => (await import("./static/heat.js")).HEAT'


@pytest.fixture
def result_page(page: Page) -> Page:
    """A picture of 90 x 60 whose lower quarters are a leaf and a stone; confidence grows from left to right."""
    confidence = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (60, 1))
    reply(page, answer_of(quarters()))
    page.route("**/segment?format=confidence*", lambda route: route.fulfill(body=encode(confidence), content_type="image/png"))
    return segment_file(page, picture("quarters.png"))


def box(page: Page, selector: str) -> dict[str, float]:
    bounds = page.locator(selector).bounding_box()
    assert bounds
    return dict(bounds)


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.long), 390])
def test_one_request_shows_a_photo_its_classes_and_fits_the_screen(visit: Visit, width: int) -> None:
    page = visit(width=width)
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


@pytest.mark.long
def test_the_default_weights_find_the_cat_of_a_sample(visit: Visit, live_url: str) -> None:
    page = visit(url=live_url)
    page.locator(".sample", has=page.locator('img[src$="chelsea.jpg"]')).click()
    expect(page.locator("#classes")).to_contain_text("cat", timeout=ANSWER_MS)
    page.click("#sure")
    expect(page.locator("#sure")).to_have_attribute("aria-pressed", "true", timeout=ANSWER_MS)
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
    classes = httpx.get(f"{live_url}/classes", timeout=HANG_S).json()
    color = next(entry.get("display_color", entry["color"]) for entry in classes if entry["name"] == "cat")
    assert (pixels[mask == 8] == [*bytes.fromhex(color[1:]), 255]).all()
    assert (pixels[mask == 0] == 0).all()


@pytest.mark.long
def test_the_legend_tells_shares_and_the_opacity_follows_its_slider(result_page: Page) -> None:
    first = result_page.locator("#classes li").first
    expect(first.locator(".share")).to_have_text("50.0 %")
    expect(first.locator(".sure")).to_have_text("50 % sure")
    widths = [bar["width"] for bar in (locator.bounding_box() for locator in result_page.locator(".bar span").all()) if bar]
    assert abs(widths[1] / widths[0] - 0.5) < 0.02
    result_page.locator("#opacity").focus()
    result_page.keyboard.press("End")
    assert result_page.locator("#colors").evaluate("(e) => getComputedStyle(e).opacity") == "1"
    result_page.locator("#opacity").fill("20")
    assert result_page.locator("#colors").evaluate("(e) => getComputedStyle(e).opacity") == "0.2"
    expect(result_page.locator("#opacity-value")).to_have_text("20 %")


def clip(page: Page) -> str:
    path: str = page.locator("#after").evaluate("(e) => getComputedStyle(e).clipPath")
    return path


@pytest.mark.long
def test_the_divider_is_dragged_and_moved_by_keys(result_page: Page) -> None:
    divider, stage = result_page.locator("#divider"), box(result_page, "#stage")
    assert clip(result_page) == "inset(0px 0px 0px 50%)"
    grip = box(result_page, ".grip")
    result_page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + 5)
    result_page.mouse.down()
    result_page.mouse.move(stage["x"] + stage["width"] * 0.25, grip["y"] + 40, steps=4)
    result_page.mouse.up()
    assert abs(float(clip(result_page).split()[-1].rstrip("%)")) - 25) < 0.5
    result_page.mouse.move(stage["x"] + stage["width"] * 0.25 + 15, grip["y"] + 40, steps=4)
    assert divider.get_attribute("aria-valuenow") == "25"
    divider.press("ArrowRight")
    assert divider.get_attribute("aria-valuenow") == "27"
    divider.press("Home")
    assert divider.get_attribute("aria-valuenow") == "0"
    assert clip(result_page) == "inset(0px 0px 0px 0%)"
    divider.press("End")
    assert divider.get_attribute("aria-valuetext") == "100 % photo"


def test_pointing_tells_class_and_confidence(result_page: Page) -> None:
    reading = result_page.locator("#reading")
    expect(reading).to_be_hidden()
    result_page.click("#sure")
    expect(result_page.locator("#sure")).to_have_attribute("aria-pressed", "true")
    for column, row, name in ((10, 50, "leaf"), (80, 50, "stone"), (70, 5, "background")):
        result_page.mouse.move(*on_screen(result_page, column, row))
        expect(result_page.locator("#reading-name")).to_have_text(name)
        sure = round(np.linspace(0, 255, 90).astype(np.uint8)[column] / 255 * 100)
        expect(result_page.locator("#reading-sure")).to_have_text(f"{sure:.0f} %")
        assert result_page.locator("#classes li.here .name").all_text_contents() == [name]
    result_page.mouse.move(5, 5)
    expect(reading).to_be_hidden()


@pytest.mark.long
def test_confidence_is_asked_for_once_when_it_is_looked_at(result_page: Page) -> None:
    requests: list[str] = []
    result_page.on("request", lambda request: requests.append(request.url) if request.method == "POST" else None)
    sure = result_page.locator("#sure")
    result_page.mouse.move(*on_screen(result_page, 10, 50))
    expect(result_page.locator("#reading-sure")).to_have_text("")
    assert requests == []
    heat = result_page.evaluate(HEAT)
    for _ in range(2):
        sure.click()
        expect(sure).to_have_attribute("aria-pressed", "true")
        assert color_at(result_page, 89, 5) == heat[255] == [0, 0, 0, 0]
        assert color_at(result_page, 0, 50) == heat[0]
        assert heat[0][3] > 250
        expect(result_page.locator("#after-tag")).to_have_text("Confidence")
        expect(result_page.locator("#heat-scale")).to_be_visible()
        sure.click()
        expect(sure).to_have_attribute("aria-pressed", "false")
        assert color_at(result_page, 0, 50) == [0x3C, 0xA9, 0x51, 255]
        expect(result_page.locator("#heat-scale")).to_be_hidden()
    assert [url.split("?")[1] for url in requests] == ["format=confidence"]


def test_the_colours_of_confidence_are_even_to_the_eye(page: Page) -> None:
    heat = np.array(page.evaluate(HEAT), float)
    opacity = heat[:, 3:] / 255
    assert (np.diff(opacity[:, 0]) <= 0).all()
    on_white = np.rint(opacity * heat[:, :3] + (1 - opacity) * 255).astype(int)
    tenths = oklab(on_white.tolist())[np.linspace(0, 255, 11).astype(int)]
    steps = np.linalg.norm(np.diff(tenths, axis=0), axis=1)
    assert steps.max() < 1.3 * steps.min()
    assert (np.diff(tenths[:, 0]) > 0).all()


@pytest.mark.long
def test_names_lie_on_the_visible_part_of_their_regions(result_page: Page) -> None:
    tags = result_page.locator(".name-tag")
    expect(tags.filter(visible=True)).to_have_count(1)  # the divider covers the leaf
    result_page.locator("#divider").press("Home")
    expect(tags.filter(visible=True)).to_have_count(2)
    left, middle = box(result_page, "#colors")["x"], box(result_page, "#colors")["width"] / 2
    for name, low in (("leaf", left), ("stone", left + middle)):
        tag = tags.filter(has_text=name).bounding_box()
        assert tag
        assert low <= tag["x"] < tag["x"] + tag["width"] <= low + middle
        assert tag["y"] > box(result_page, "#colors")["y"] + box(result_page, "#colors")["height"] / 2
    result_page.locator("#classes li", has_text="leaf").locator(".eye").click()
    expect(tags.filter(visible=True)).to_have_text(["stone"])
    result_page.click("#names")
    expect(result_page.locator("#names")).to_have_attribute("aria-pressed", "false")
    expect(tags).to_have_count(0)


def outline(page: Page, column: int, row: int) -> list[int]:
    """The outlines' red, green, blue and opacity there."""
    script = "([x, y]) => [...document.querySelector('#outlines').getContext('2d').getImageData(x, y, 1, 1).data]"
    rgba: list[int] = page.evaluate(script, [column, row])
    return rgba


@pytest.mark.long
def test_shown_classes_have_outlines_on_light_and_dark_photos(result_page: Page) -> None:
    clear, light, dark = [0, 0, 0, 0], [255, 255, 255, 235], [0, 0, 0, 140]
    assert [outline(result_page, 20, row) for row in (27, 28, 29, 30, 31)] == [clear, dark, light, dark, clear]
    assert [outline(result_page, column, 50) for column in (43, 44, 45)] == [dark, light, dark]
    for name in ("leaf", "stone"):
        result_page.locator("#classes li", has_text=name).locator(".eye").click()
    assert outline(result_page, 20, 29) == clear
    assert outline(result_page, 44, 50) == clear
    result_page.click("#sure")
    expect(result_page.locator("#outlines")).to_be_hidden()


def saved_overlay(page: Page, name: str = "quarters-overlay.jpg") -> Any:
    with page.expect_download() as download:
        page.click("#overlay")
    assert download.value.suggested_filename == name
    return np.asarray(Image.open(Path(download.value.path())), float)


@pytest.mark.long
def test_the_overlay_is_what_the_page_shows(page: Page) -> None:
    reply(page, answer_of(quarters(600, 900)))
    photo = picture("quarters.png", 600, 900)
    segment_file(page, photo)
    pixels = np.asarray(Image.open(io.BytesIO(photo["buffer"])), float)
    colors = {1: [0x3C, 0xA9, 0x51], 2: [0x42, 0x69, 0xD0]}

    def expected(opacity: float, *ids: int) -> Any:
        picture = pixels.copy()
        for id in ids:
            where = quarters(600, 900) == id
            picture[where] = (1 - opacity) * pixels[where] + opacity * np.array(colors[id])
        return picture

    page.click("#names")
    page.locator("#opacity").fill("35")
    assert abs(saved_overlay(page) - expected(0.35, 1, 2)).mean() < 6
    page.locator("#classes li", has_text="stone").locator(".eye").click()
    plain = saved_overlay(page)
    assert abs(plain - expected(0.35, 1)).mean() < 6
    page.locator("#classes li", has_text="stone").locator(".alone").click()
    page.locator("#opacity").fill("100")
    assert abs(saved_overlay(page) - expected(1, 2)).mean() < 6
    page.locator("#classes li", has_text="stone").locator(".alone").click()
    page.locator("#opacity").fill("35")
    page.click("#names")
    is_name = abs(saved_overlay(page) - plain).max(axis=2) > 60
    assert is_name[300:, :450].any()
    assert not is_name[:300].any()
    assert not is_name[300:, 450:].any()


@pytest.mark.long
def test_the_overlay_of_a_picture_that_the_browser_cannot_show_is_the_services(page: Page) -> None:
    segment_file(page, picture("quarters.tiff", format="TIFF"))
    with page.expect_request("**/segment?format=overlay*") as request:
        overlay = saved_overlay(page)
    assert overlay.shape == (60, 90, 3)
    assert "alpha=0.6&classes=" in request.value.url


@pytest.mark.long
def test_the_overlay_of_the_confidence_has_a_name_of_its_own(result_page: Page) -> None:
    result_page.locator("#opacity").fill("100")
    result_page.click("#sure")
    expect(result_page.locator("#sure")).to_have_attribute("aria-pressed", "true")
    overlay = saved_overlay(result_page, "quarters-confidence-overlay.jpg")
    pixels = np.asarray(Image.open(io.BytesIO(picture("quarters.png")["buffer"])), float)
    assert abs(overlay[:, 80:] - pixels[:, 80:]).mean() < 20
    assert abs(overlay[:, :8] - result_page.evaluate(HEAT)[0][:3]).mean() < 25


@pytest.mark.long
def test_an_overlay_of_the_confidence_that_the_browser_cannot_make_is_told(page: Page) -> None:
    segment_file(page, picture("quarters.tiff", format="TIFF"))
    page.click("#sure")
    expect(page.locator("#sure")).to_have_attribute("aria-pressed", "true")
    page.click("#overlay")
    expect(page.locator("#status")).to_contain_text("No overlay of the confidence. This browser cannot make the picture.")


@pytest.mark.long
def test_a_confidence_that_is_refused_is_told_and_the_classes_stay(visit: Visit) -> None:
    page = visit(allowed_statuses=(503,))
    reply(page, answer_of(quarters()))
    segment_file(page, picture("quarters.png"))
    page.route("**/segment?format=confidence*", lambda route: route.fulfill(status=503, json={"detail": "it is full"}))
    page.click("#sure")
    expect(page.locator("#status")).to_contain_text("It is full")
    expect(page.locator("#sure")).to_have_attribute("aria-pressed", "false")
    assert color_at(page, 10, 50) == [0x3C, 0xA9, 0x51, 255]


@pytest.mark.long
def test_without_a_confidence_map_the_class_alone_is_told(page: Page) -> None:
    reply(page, answer_of(quarters()))
    segment_file(page, picture("quarters.png"))
    page.mouse.move(*on_screen(page, 10, 50))
    expect(page.locator("#reading-name")).to_have_text("leaf")
    expect(page.locator("#reading-sure")).to_have_text("")


@pytest.mark.long
def test_arrow_keys_read_pixel_by_pixel_and_speak(result_page: Page) -> None:
    result_page.click("#sure")
    expect(result_page.locator("#sure")).to_have_attribute("aria-pressed", "true")
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
    expect(result_page.locator("#reading")).to_be_hidden()


def opaque(page: Page) -> dict[str, bool]:
    spots = {"background": (70, 5), "leaf": (10, 50), "stone": (80, 50)}
    return {name: color_at(page, *spot)[3] == 255 for name, spot in spots.items()}


def test_a_class_is_isolated_hidden_and_shown_again(result_page: Page) -> None:
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
    assert color_at(result_page, 10, 50) == [0x3C, 0xA9, 0x51, 255]


@pytest.mark.long
def test_a_picture_that_the_browser_cannot_show_gives_its_classes(page: Page) -> None:
    segment_file(page, picture("scan.tiff", format="TIFF"))
    expect(page.locator("#photo-note")).to_contain_text("cannot show this file format")
    expect(page.locator("#photo-note")).to_be_visible()
    expect(page.locator("#divider")).to_be_hidden()
    assert page.locator("#colors").evaluate("(e) => [e.width, e.height]") == [90, 60]
    assert page.locator("#colors").evaluate("(e) => getComputedStyle(e).opacity") == "1"
    assert clip(page) == "none"
    segment_file(page, picture("seen.png"))
    page.locator(".thumb").last.click()
    expect(page.locator("#photo-note")).to_be_hidden()
    expect(page.locator("#divider")).to_be_visible()


def test_a_photo_of_nothing_that_the_model_knows_says_so(page: Page) -> None:
    reply(page, answer_of(np.zeros((60, 90), np.uint8)), answer_of(quarters()))
    segment_file(page, picture("empty.png"))
    note, classes, known = (page.locator(id) for id in ("#nothing", "#classes", "#known"))
    expect(page.locator("#status")).to_have_text(re.compile("^empty.png: .*, none of the model.s classes was found.$"))
    expect(note).to_contain_text(re.compile("None of the model.s classes was found"))
    expect(note).to_be_visible()
    expect(classes).to_be_hidden()
    expect(page.locator("#show-all")).to_be_hidden()
    expect(known).to_be_visible()
    expect(known).to_contain_text("triangle")
    segment_file(page, picture("full.png"))
    page.locator(".thumb").last.click()
    expect(classes).to_contain_text("leaf")
    expect(note).to_be_hidden()
    expect(known).to_be_hidden()


def test_names_are_shown_as_text(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    answer = json.loads(json.dumps(answer_of(quarters())).replace("leaf", "<b>leaf</b>"))
    reply(page, answer)
    give(page, picture(name))
    expect(page.locator("#status")).to_contain_text(name)
    expect(page.locator("#classes")).to_contain_text("<b>leaf</b>")
    assert page.locator("#classes b").count() == 0
