"""Zoom and pan by wheel, buttons, keys and fingers."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser.page import Visit, answer_of, box, on_screen, picture, reply, segment_file, until


def image_box(page: Page) -> tuple[float, float, float]:
    """Left and top of the image in the stage, and its width."""
    photo, frame = box(page, "#photo"), box(page, "#stage")
    return photo["x"] - frame["x"], photo["y"] - frame["y"], photo["width"]


def prepare(page: Page) -> Page:
    reply(page, answer_of(np.zeros((600, 900), np.uint8)))
    return segment_file(page, picture("wide.png", 600, 900))


def test_buttons_and_keys_zoom_to_the_whole_to_100_percent_and_until_pixels_are_squares(page: Page) -> None:
    stage, whole = prepare(page).locator("#stage"), image_box(page)
    page.click("#zoom-in")
    assert image_box(page)[2] == pytest.approx(whole[2] * 1.4, rel=0.01)
    expect(page.locator("#fit")).to_have_attribute("aria-pressed", "false")
    page.click("#zoom-out")
    assert image_box(page) == pytest.approx(whole)
    page.click("#full")
    expect(page.locator("#scale")).to_have_text("100 %")
    page.click("#fit")
    assert image_box(page) == pytest.approx(whole)
    stage.press("1")
    assert image_box(page)[2] == pytest.approx(900)
    stage.press("+")
    stage.press("+")
    before = image_box(page)
    stage.press("Shift+ArrowRight")
    stage.press("Shift+ArrowDown")
    assert image_box(page)[:2] == pytest.approx((before[0] - 60, before[1] - 60))
    for _ in range(50):
        stage.press("ArrowRight")  # the picture follows the cursor
    assert image_box(page)[0] < before[0] - 60
    spot, frame = box(page, "#spot"), box(page, "#stage")
    assert frame["x"] <= spot["x"] <= frame["x"] + frame["width"]
    stage.press("-")
    assert image_box(page)[2] < before[2]
    for _ in range(9):
        page.click("#zoom-in")
    expect(page.locator("#stage")).to_have_class(re.compile("pixels"))
    assert page.locator("#colors").evaluate("(e) => getComputedStyle(e).imageRendering") == "pixelated"
    stage.press("0")
    assert image_box(page) == pytest.approx(whole)


GESTURE = """([name, scale, x, y]) => {
    const event = Object.assign(new Event(name, { cancelable: true }), { scale, clientX: x, clientY: y });
    return !document.querySelector("#stage").dispatchEvent(event);
}"""


def test_ctrl_and_the_wheel_or_safari_s_pinch_zoom_around_the_pointer_and_dragging_moves(page: Page) -> None:
    before, spot = image_box(prepare(page)), on_screen(page, 300, 400)
    page.mouse.move(*spot)
    page.mouse.wheel(0, 200)  # alone it scrolls the page
    until(page, lambda: page.evaluate("scrollY > 100"))
    page.mouse.wheel(0, -200)
    until(page, lambda: page.evaluate("scrollY === 0"))
    assert image_box(page)[2] == before[2]
    page.keyboard.down("Control")
    for _ in range(3):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    expect(page.locator("#fit")).to_have_attribute("aria-pressed", "false")
    until(page, lambda: image_box(page)[2] > before[2] * 2)
    assert on_screen(page, 300, 400) == pytest.approx(spot, abs=3)
    page.mouse.down()
    page.mouse.move(spot[0] - 80, spot[1] - 50, steps=3)
    page.mouse.up()
    assert on_screen(page, 300, 400) == pytest.approx((spot[0] - 80, spot[1] - 50), abs=3)
    assert box(page, "#colors") == box(page, "#photo")
    width, spot = image_box(page)[2], on_screen(page, 300, 400)
    for name, scale in (("gesturestart", 1), ("gesturechange", 1.5), ("gesturechange", 2)):
        assert page.evaluate(GESTURE, [name, scale, *spot])
    assert image_box(page)[2] == pytest.approx(width * 2, rel=0.01)
    assert on_screen(page, 300, 400) == pytest.approx(spot, abs=3)


FINGERS_THAT_HOVER = "--blink-settings=primaryPointerType=2,availablePointerTypes=2,primaryHoverType=2,availableHoverTypes=2"


@pytest.mark.long
def test_two_fingers_zoom_one_reads_and_keys_are_told_only_to_those_who_have_a_mouse(
    visit: Visit, launch: Callable[..., Browser], narrow_url: str
) -> None:
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
    assert "Zoom with two fingers" in page.locator("#keys").inner_text()
    assert "Ctrl" not in prepare(visit(width=390)).locator("#keys").inner_text()
    assert "Ctrl" in prepare(visit()).locator("#keys").inner_text()
    with launch(FINGERS_THAT_HOVER) as phone:  # as some phones say of themselves
        page = phone.new_page()
        page.goto(narrow_url)
        for mice in page.locator(".for-mice").all():
            assert mice.evaluate("(e) => getComputedStyle(e).display") == "none"
