"""For every eye and hand: contrast, names, keys, themes, and small screens."""

from __future__ import annotations

import re
import threading

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.support.browser.page import (
    ANSWER_MS,
    CAT,
    SEGMENT,
    Visit,
    answer_of,
    give,
    picture,
    problem,
    quarters,
    reply,
    segment_file,
    state,
    until,
)
from tests.support.variants import long

LONG = pytest.mark.long
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def violations(page: Page) -> list[str]:
    entries = Axe().run(page, options=RULES).response["violations"]
    return [f"{entry['id']}: {[node['html'] for node in entry['nodes']]}" for entry in entries]


@pytest.mark.parametrize(
    ("scheme", "width"),
    [*long(("light", 1280), ("dark", 1280), ("light", 390)), ("dark", 390)],
)
def test_axe_finds_nothing_wrong(visit: Visit, scheme: str, width: int) -> None:
    page = visit(color_scheme=scheme, width=width, allowed_statuses=(503, 401), reduced_motion="reduce")
    expect(page.locator("#about")).to_be_visible()
    page.click("#options summary")
    assert violations(page) == []
    segment_file(page, CAT)
    page.locator("#classes .alone").first.click()
    page.mouse.move(5, 5)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    reply(page, problem(503, "Not available now", "full"), problem(401, "No key", "send a key"))
    give(page, picture("busy.png"), picture("key.png"))
    expect(page.locator("#key-ask")).to_be_visible()
    expect(page.locator("#problem-title")).to_have_text("The server is busy")
    page.mouse.move(5, 5)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def ground(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


@pytest.mark.long
@pytest.mark.parametrize("scheme", [pytest.param("light", marks=LONG), "dark"])
def test_the_theme_is_the_systems_until_another_is_chosen_and_that_is_kept(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    light, dark = "rgb(245, 244, 239)", "rgb(19, 21, 20)"
    first, second = (light, dark) if scheme == "light" else (dark, light)
    assert ground(page) == first
    page.click("#theme")
    assert ground(page) == second
    page.reload()
    assert ground(page) == second
    page.click("#theme")
    assert ground(page) == first


OUTLINES = """() => {
    const active = document.activeElement;
    const style = (element) => element && getComputedStyle(element);
    return [active, active.closest(".more"), active.querySelector(".grip")].map(style)
        .some((found) => found && found.outlineStyle !== "none" && parseFloat(found.outlineWidth) >= 1);
}"""


def test_everything_is_done_by_keys_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    assert page.locator(".skip").evaluate("(e) => e.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".sample").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    page.locator(".thumb").focus()
    names = []
    while len(names) < 60:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        names.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert page.evaluate(OUTLINES), names[-1]
    expected = "more stage divider opacity names sure rerun discard zoom-out zoom-in fit full alone eye overlay mask json"
    assert set(expected.split()) <= set(names), names


def test_states_and_results_are_spoken(page: Page) -> None:
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    assert page.locator("#spoken").get_attribute("aria-live") == "polite"
    reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    expect(page.locator("#status")).to_have_text(re.compile(r"a.png: 90 . 60 pixels, 3 classes\."))
    assert page.locator(".thumb").get_attribute("aria-label") == "a.png, done"


@pytest.mark.long
@pytest.mark.parametrize(("motion", "moving"), [("reduce", 0), ("no-preference", 1)])
def test_work_is_told_and_moves_only_where_motion_is_wanted(
    visit: Visit, gate_service: tuple[str, threading.Event], motion: str, moving: int
) -> None:
    url, gate = gate_service
    page = visit(url=url, reduced_motion=motion)
    give(page, picture("a.png"))
    state(page, "a.png", "working")
    expect(page.locator("#busy-text")).to_contain_text("Working")
    expect(page.locator("#status")).to_have_text("Segmenting a.png …")
    assert page.evaluate("document.getAnimations().length") == moving
    gate.set()
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    expect(page.locator("#busy")).to_be_hidden()


@pytest.mark.long
@pytest.mark.parametrize("width", [320, *(pytest.param(width, marks=LONG) for width in (390, 768, 1280))])
def test_nothing_has_to_be_scrolled_sideways(visit: Visit, width: int) -> None:
    page = visit(width=width, allowed_statuses=(413,))
    page.click("#options summary")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    reply(page, problem(413, "Too large", "x" * 300), answer_of(quarters()))
    give(page, *(picture(f"{'long' * 30}{index}.png") for index in range(9)))
    page.locator(".thumb").last.click()
    expect(page.locator("#result")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.locator(".thumb").first.click()
    expect(page.locator("#problem")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_with_a_key_the_page_learns_what_is_told_to_nobody_else(visit: Visit, protected_url: str) -> None:
    page = visit(url=protected_url, allowed_statuses=(401,))
    give(page, CAT)
    expect(page.locator("#key-ask")).to_be_visible()
    assert page.locator("#known li").count() == 0
    page.fill("#key", "open sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    expect(page.locator("#facts")).to_contain_text("narrow")
    assert page.locator("#known li").count() == 4
    page.reload()
    expect(page.locator("#known li")).to_have_count(4)


@pytest.mark.long
def test_the_focus_stays_where_the_work_is(visit: Visit) -> None:
    page = visit(allowed_statuses=(503,))
    requests = reply(page, problem(503, "Not available now", "full"), answer_of(quarters()))
    page.locator(".sample").first.press("Enter")
    expect(page.locator("#problem")).to_be_visible(timeout=ANSWER_MS)
    expect(page.locator(".thumb")).to_be_focused()
    page.locator("#retry").press("Enter")
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    expect(page.locator(".thumb")).to_be_focused()
    page.locator("#rerun").press("Enter")
    until(page, lambda: len(requests) == 3)
    expect(page.locator(".thumb")).to_be_focused()
    page.locator("#show-all").press("Enter")
    expect(page.locator(".alone").first).to_be_focused()
    page.locator("#discard").press("Enter")
    expect(page.locator("#file")).to_be_focused()


@pytest.mark.long
@pytest.mark.parametrize("button", [".alone", ".eye"])
def test_the_focus_stays_on_its_class_when_the_next_answer_comes(visit: Visit, button: str) -> None:
    page = visit()
    routes: list[Route] = []
    reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    page.unroute(SEGMENT)
    page.route(SEGMENT, lambda route: routes.append(route))
    page.click("#rerun")
    until(page, lambda: routes)
    page.locator(f".classes {button}").nth(1).focus()
    page.evaluate("window.former = document.activeElement")
    routes[0].fulfill(json=answer_of(quarters(), name="the next"))
    expect(page.locator("#answer-model")).to_have_text("the next")
    assert page.evaluate("!window.former.isConnected")
    expect(page.locator(f".classes {button}").nth(1)).to_be_focused()


@pytest.mark.long
@pytest.mark.parametrize("touch", [True, False], ids=["phone", "desk"])
def test_phones_are_asked_to_choose_photos_and_others_to_drop_them(visit: Visit, touch: bool) -> None:
    page = visit(width=390 if touch else 1280, has_touch=touch, is_mobile=touch)
    expect(page.get_by_text("Choose photos")).to_be_visible()
    expect(page.get_by_text("Drop photos here")).to_be_visible(visible=not touch)
    expect(page.get_by_text("paste one")).to_be_visible(visible=not touch)


@pytest.mark.long
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_state_is_seen_without_scrolling(visit: Visit, width: int, height: int) -> None:
    page = visit(width=width, height=height)
    reply(page, answer_of(quarters(600, 900)))
    give(page, picture("a.png", 600, 900), picture("b.png", 600, 900))
    for name in ("a.png", "b.png"):
        state(page, name, "done")
    expect(page.locator("#status")).to_contain_text("a.png: 900")
    page.evaluate("scrollTo(0, 0)")
    for selector in ("#count", "#stage", "#status"):
        bounds = page.locator(selector).bounding_box()
        assert bounds
        assert 0 <= bounds["y"] < bounds["y"] + bounds["height"] <= height, selector
