"""The page before any photo, behind a proxy and with a key, by keys alone, in both themes, and what axe says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from model.weights_file import find_weights, load_weights
from tests.support.browser.page import (
    ANSWER_MS,
    Visit,
    answer_of,
    give,
    picture,
    problem,
    quarters,
    reply,
    state,
    thumb,
    until,
)
from tests.support.polling import HANG_S
from tests.support.variants import long

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
FITS = "document.documentElement.scrollWidth <= window.innerWidth"


def test_it_tells_model_device_classes_and_scores_before_any_photo(visit: Visit, narrow_url: str) -> None:
    info: dict[str, Any] = httpx.get(f"{narrow_url}/info", timeout=HANG_S).json()
    info["scores"] = scores = dict(load_weights(find_weights("voc-fcn8s-mobilenet-v2")).manifest.scores)
    info["runtime"]["precision"] = "int8"
    page = visit(before=lambda page: page.route("**/info", lambda route: route.fulfill(json=info)))
    expect(page.locator("#facts")).to_contain_text(f"{info['runtime']['device']}, OpenVINO, int8")
    expect(page.locator("#jobs")).to_be_hidden()
    classes = [entry["name"] for entry in httpx.get(f"{narrow_url}/classes", timeout=HANG_S).json()]
    assert page.locator("#known li").all_text_contents() == classes
    seven, every = scores["VOC 2012 animals, val, int8"], scores["everyday life, val, int8"]
    iou = dict(zip(seven["classes"], seven["iou"], strict=True))
    expect(page.locator("#class-range")).to_have_text(
        f"By class: person {iou['person']:.1%} to background {iou['background']:.1%}".replace("%", " %")
    )
    page.click("#class-range")
    rows = [row.split("\t") for row in page.locator("#class-rows").inner_text().splitlines()]
    assert [row[0] for row in rows] == seven["classes"] + [name for name in every["classes"] if name not in seven["classes"]]
    assert ["person", f"{iou['person']:.1%}".replace("%", " %"), "34"] in rows
    train = every["classes"].index("train")
    assert ["train", f"{every['iou'][train]:.1%}".replace("%", " %"), str(every["frames"][train])] in rows


def test_a_page_that_is_opened_while_the_service_starts_goes_on_by_itself(visit: Visit) -> None:
    starting, requests = [True], list[str]()

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
    expect(page.locator("#busy-text")).to_have_text("Waiting for its turn")
    before = len(requests)
    until(page, lambda: len(requests) > before)
    starting.clear()
    state(page, "a.png", "done")
    expect(page.locator("#facts")).to_contain_text("narrow")
    assert not any("segment?" in url for url in requests)


@pytest.mark.parametrize("end", ["", *long("/")], ids=["bare", "slash"])
def test_behind_a_path_of_a_proxy_a_key_is_asked_for_kept_in_the_tab_and_sent(
    visit: Visit, protected_url: str, end: str
) -> None:
    page = visit(end, url=protected_url, width=390, allowed_statuses=(401,))
    give(page, picture("a.png"), picture("b.png"))
    for title, reason, key in (
        ("This service needs a key", "Ask the operator", "wrong"),
        ("The key is wrong", "Check that it is complete", "open sesame"),
    ):
        expect(page.locator("#key-title")).to_have_text(title, timeout=ANSWER_MS)
        expect(page.locator("#key-reason")).to_contain_text(reason)
        expect(page.locator("#key")).to_be_focused()
        assert page.locator("body").inner_text().count(title) == 1
        assert thumb(page, "a.png").get_attribute("aria-label") == "a.png, needs a key"
        assert page.locator("#known li").count() == 0
        assert page.evaluate(FITS)
        assert violations(page) == []
        page.fill("#key", key)
        page.keyboard.press("Enter")
    for name in ("a.png", "b.png"):
        state(page, name, "done")
    expect(page.locator("#key-ask")).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()
    expect(thumb(page, "a.png")).to_be_focused()
    expect(page.locator("#facts")).to_contain_text("narrow")
    expect(page.locator("#curl")).to_contain_text(f"{protected_url}/segment?")
    expect(page.locator("#curl")).to_contain_text('-H "X-API-Key: $SEGMENT_KEY"')
    expect(page.locator("#python")).not_to_contain_text("sesame")
    with page.expect_download() as download:
        page.click("#mask")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    assert page.evaluate("[JSON.stringify(sessionStorage), JSON.stringify({ ...localStorage })]") == [
        '{"segment-key":"open sesame"}', "{}",
    ]  # fmt: skip
    page.reload()
    expect(page.locator("#known li")).to_have_count(4)
    page.locator(".sample").first.click()
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)


def violations(page: Page) -> list[str]:
    entries = Axe().run(page, options=RULES).response["violations"]
    return [f"{entry['id']}: {[node['html'] for node in entry['nodes']]}" for entry in entries]


@pytest.mark.parametrize(("scheme", "width"), [("dark", 390), *long(("light", 1280), ("dark", 1280), ("light", 320))])
def test_axe_finds_nothing_wrong_and_nothing_has_to_be_scrolled_sideways(visit: Visit, scheme: str, width: int) -> None:
    page = visit(color_scheme=scheme, width=width, allowed_statuses=(413, 503), reduced_motion="reduce")
    expect(page.locator("#about")).to_be_visible()
    page.click("#options summary")
    assert violations(page) == []
    refusal = problem(413, "Too large", "x" * 300)
    requests = reply(page, answer_of(quarters()), refusal, answer_of(quarters()))
    give(page, *(picture(f"{'long' * 30}{index}.png") for index in range(5)))
    page.locator("#classes .alone").first.click()
    until(page, lambda: len(requests) == 5)
    page.mouse.move(5, 5)
    assert violations(page) == []
    assert page.evaluate(FITS)
    page.locator(".thumb").nth(1).click()
    expect(page.locator("#problem")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate(FITS)


@pytest.mark.long
def test_the_theme_is_the_systems_until_another_is_chosen_and_that_is_kept_for_the_reference_too(visit: Visit) -> None:
    page = visit("/docs", color_scheme="dark")
    reference = page.locator(".swagger-ui .info .title").first
    text = "(e) => getComputedStyle(e).color.match(/\\d+/g).map(Number)"
    assert min(reference.evaluate(text)) > 180
    page.goto(page.url.removesuffix("docs"))
    light, dark, ground = "rgb(245, 244, 239)", "rgb(19, 21, 20)", "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == dark
    page.click("#theme")
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Switch to the dark theme")
    page.reload()
    assert page.evaluate(ground) == light
    page.goto(f"{page.url}docs")
    assert max(reference.evaluate(text)) < 100
    page.go_back()
    page.click("#theme")
    assert page.evaluate(ground) == dark


OUTLINES = """() => {
    const active = document.activeElement;
    const style = (element) => element && getComputedStyle(element);
    return style(active).getPropertyValue("--thumb").includes("radial") || [active, active.closest(".more")].map(style)
        .some((found) => found && found.outlineStyle !== "none" && parseFloat(found.outlineWidth) >= 1);
}"""


def test_everything_is_done_by_keys_alone_and_spoken(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".sample").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#result")).to_be_visible(timeout=ANSWER_MS)
    assert page.locator(".thumb").get_attribute("aria-label") == "cows.jpg, done"
    for id in ("status", "spoken"):
        assert page.locator(f"#{id}").get_attribute("aria-live") == "polite"
    page.locator(".thumb").focus()
    names = []
    while len(names) < 60:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        names.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert page.evaluate(OUTLINES), names[-1]
    expected = (
        "more stage divider opacity names sure cut rerun discard zoom-out zoom-in fit full alone eye overlay mask objects json"
    )
    assert set(expected.split()) <= set(names), names


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
    page.locator(".classes .eye").nth(1).focus()
    page.evaluate("document.querySelector('#rerun').click()")
    until(page, lambda: len(requests) == 4)
    expect(page.locator(".classes .eye").nth(1)).to_be_focused()
    page.locator("#discard").press("Enter")
    expect(page.locator("#file")).to_be_focused()
