"""Zoom and pan by wheel, buttons, keys and fingers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.support.browser.page import Visit, answer_of, on_screen, picture, reply, segment_file, until


def image_box(page: Page) -> tuple[float, float, float]:
    """Left and top of the image in the stage, and its width."""
    photo, frame = page.locator("#photo").bounding_box(), page.locator("#stage").bounding_box()
    assert photo
    assert frame
    return photo["x"] - frame["x"], photo["y"] - frame["y"], photo["width"]


def prepare(page: Page) -> Page:
    reply(page, answer_of(np.zeros((600, 900), np.uint8)))
    return segment_file(page, picture("wide.png", 600, 900))


@pytest.fixture
def wide(page: Page) -> Page:
    return prepare(page)


@pytest.mark.long
def test_buttons_zoom_in_out_to_the_whole_and_until_pixels_are_squares(wide: Page) -> None:
    whole = image_box(wide)
    wide.click("#zoom-in")
    assert image_box(wide)[2] == pytest.approx(whole[2] * 1.4, rel=0.01)
    expect(wide.locator("#fit")).to_have_attribute("aria-pressed", "false")
    wide.click("#zoom-out")
    assert image_box(wide) == pytest.approx(whole)
    wide.click("#full")
    assert image_box(wide)[2] == pytest.approx(900)
    expect(wide.locator("#scale")).to_have_text("100 %")
    wide.click("#fit")
    assert image_box(wide) == pytest.approx(whole)
    for _ in range(9):
        wide.click("#zoom-in")
    expect(wide.locator("#stage")).to_have_class(re.compile("pixels"))
    assert wide.locator("#colors").evaluate("(e) => getComputedStyle(e).imageRendering") == "pixelated"


def test_ctrl_and_the_wheel_zoom_around_the_pointer_and_dragging_moves(wide: Page) -> None:
    before = image_box(wide)
    spot = on_screen(wide, 300, 400)
    wide.mouse.move(*spot)
    wide.keyboard.down("Control")
    for _ in range(3):
        wide.mouse.wheel(0, -100)
    wide.keyboard.up("Control")
    expect(wide.locator("#fit")).to_have_attribute("aria-pressed", "false")
    until(wide, lambda: image_box(wide)[2] > before[2] * 2)
    assert on_screen(wide, 300, 400) == pytest.approx(spot, abs=3)
    wide.mouse.down()
    wide.mouse.move(spot[0] - 80, spot[1] - 50, steps=3)
    wide.mouse.up()
    assert on_screen(wide, 300, 400) == pytest.approx((spot[0] - 80, spot[1] - 50), abs=3)
    assert wide.locator("#colors").bounding_box() == wide.locator("#photo").bounding_box()


@pytest.mark.long
@pytest.mark.parametrize("is_zoomed", [False, True], ids=["whole", "zoomed"])
def test_the_wheel_scrolls_the_page_down_and_up(wide: Page, is_zoomed: bool) -> None:
    if is_zoomed:
        wide.click("#zoom-in")
    width = image_box(wide)[2]
    wide.mouse.move(*on_screen(wide, 300, 400))
    wide.mouse.wheel(0, 200)
    until(wide, lambda: wide.evaluate("scrollY > 100"))
    wide.mouse.wheel(0, -200)
    until(wide, lambda: wide.evaluate("scrollY === 0"))
    assert image_box(wide)[2] == width


GESTURE = """([name, scale, x, y]) => {
    const event = Object.assign(new Event(name, { cancelable: true }), { scale, clientX: x, clientY: y });
    return !document.querySelector("#stage").dispatchEvent(event);
}"""


@pytest.mark.long
def test_the_pinch_of_safari_zooms_around_the_pointer(wide: Page) -> None:
    before, spot = image_box(wide), on_screen(wide, 300, 400)
    for name, scale in (("gesturestart", 1), ("gesturechange", 1.5), ("gesturechange", 2)):
        assert wide.evaluate(GESTURE, [name, scale, *spot])
    assert image_box(wide)[2] == pytest.approx(before[2] * 2, rel=0.01)
    assert on_screen(wide, 300, 400) == pytest.approx(spot, abs=3)


@pytest.mark.long
def test_keys_zoom_and_move(wide: Page) -> None:
    stage, whole = wide.locator("#stage"), image_box(wide)
    stage.press("+")
    stage.press("+")
    box_of_zoom = image_box(wide)
    assert box_of_zoom[2] > whole[2] * 1.9
    stage.press("Shift+ArrowRight")
    stage.press("Shift+ArrowDown")
    assert image_box(wide)[:2] == pytest.approx((box_of_zoom[0] - 60, box_of_zoom[1] - 60))
    stage.press("-")
    assert image_box(wide)[2] < box_of_zoom[2]
    stage.press("1")
    expect(wide.locator("#scale")).to_have_text("100 %")
    stage.press("0")
    assert image_box(wide) == pytest.approx(whole)


@pytest.mark.long
def test_the_picture_follows_the_cursor_of_the_keyboard_and_stays_in_sight(wide: Page) -> None:
    stage = wide.locator("#stage")
    for _ in range(4):
        stage.press("+")
    before = image_box(wide)
    for _ in range(50):
        stage.press("ArrowRight")
    assert image_box(wide)[0] < before[0] - 50
    spot, frame = wide.locator("#spot").bounding_box(), stage.bounding_box()
    assert spot
    assert frame
    assert frame["x"] <= spot["x"] <= frame["x"] + frame["width"]
    for _ in range(60):
        stage.press("Shift+ArrowRight")
    left, _, width = image_box(wide)
    assert left + width == pytest.approx(frame["width"], abs=1)


@pytest.mark.long
def test_two_fingers_zoom_and_one_reads(visit: Visit) -> None:
    page = prepare(visit(width=390, height=844, has_touch=True))
    page.locator("#stage").scroll_into_view_if_needed()
    before = image_box(page)
    x, y = on_screen(page, 200, 300)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})

    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 6):
        touch("touchMove", (x - 20 - 10 * step, y), (x + 20 + 10 * step, y))
    touch("touchEnd")
    assert image_box(page)[2] > before[2] * 2
    page.touchscreen.tap(x, y)
    expect(page.locator("#reading-name")).to_have_text("background")
