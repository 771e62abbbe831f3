"""What the page asks of the service: downloads, options, models, and the programs that ask for the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.browser.page import CAT, COLORS, Visit, answer_of, box, picture, quarters, reply, segment_file, until
from tests.support.polling import HANG_S
from tests.support.variants import long

BASE = {"format": ["json"], "mask": ["rle"]}


def download_from(page: Page, selector: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(selector)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def test_files_are_asked_for_when_wanted_and_are_the_services_of_the_shown_classes(page: Page, narrow_url: str) -> None:
    segment_file(page, CAT)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if request.method == "POST" else None)
    name, data = download_from(page, "#json")
    answer = json.loads(data)
    assert (name, requests) == ("chelsea.json", [])
    hidden = page.locator("#classes li", has_not_text="background").first
    hidden.locator(".eye").click()
    hidden_name = hidden.locator(".name").inner_text()
    with_background = [str(entry["id"]) for entry in answer["classes"] if entry["name"] != hidden_name]
    ids = ",".join(id for id in with_background if id != "0")
    page.click("#names")
    page.locator("#opacity").fill("35")
    for button, name, query in (
        ("#overlay", "chelsea-overlay.jpg", f"format=overlay&image_format=jpeg&alpha=0.35&names=false&classes={ids}"),
        ("#cutout", "chelsea-cutout.png", f"format=cutout&classes={ids}"),
        ("#mask", "chelsea-mask.png", "format=png"),
        ("#color", "chelsea-color.png", f"format=color&classes={ids}"),
        ("#confidence", "chelsea-confidence.png", "format=confidence"),
        ("#polygons", "chelsea-polygons.json", f"format=json&mask=polygons&classes={ids}"),
        ("#coco", "chelsea-coco.json", f"format=coco&mask=polygons&classes={','.join(with_background)}"),
    ):
        filename, data = download_from(page, button)
        assert filename == name
        assert query_of(requests.pop()) == parse_qs(query)
        files = {"file": (CAT.name, CAT.read_bytes())}
        assert data == httpx.post(f"{narrow_url}/segment?{query}", files=files, timeout=HANG_S).content
        expect(page.locator("#status")).to_have_text(f"{name} is saved.")
    assert requests == []
    check_cutouts(page, requests, f"{narrow_url}/segment?format=cutout&classes={ids}")


def check_cutouts(page: Page, requests: list[str], url: str) -> None:
    """Cut-outs on a colour, as WebP, and as JPEG, which needs a colour. url: that of a transparent PNG."""
    jpeg, preview, within = page.locator("#jpeg"), page.locator("#preview"), "width=2048&height=2048"
    expect(jpeg).to_be_disabled()
    expect(preview).to_be_hidden()
    page.click("#cut")  # what will be saved is seen before
    expect(preview).to_be_visible()
    assert query_of(requests.pop()) == query_of(f"{url}&{within}")
    assert preview.evaluate("(e) => [e.naturalWidth, e.naturalHeight]") == [451, 300]
    assert box(page, "#preview") == box(page, "#colors")
    expect(page.locator("#after-tag")).to_have_text("Cut-out")
    page.select_option("#objects", "largest")
    until(page, lambda: requests)
    assert query_of(requests.pop()) == query_of(f"{url}&objects=largest&{within}")
    expect(page.locator("#cut")).to_have_attribute("aria-pressed", "true")
    page.click("#cut")
    expect(preview).to_be_hidden()
    expect(page.locator("#after-tag")).to_have_text("Classes")
    url = f"{url}&objects=largest"
    page.select_option("#code-format", "cutout")
    page.select_option("#cutout-type", "webp")
    for label, ending, color, query in (
        ("WebP", "webp", None, "image_format=webp"),
        ("WebP", "webp", "#3ca951", "image_format=webp&background=%233ca951"),
        ("JPEG", "jpg", "#ffffff", "image_format=jpeg&background=%23ffffff"),
    ):
        if color:
            page.select_option("#ground", "color")
            page.fill("#ground-color", color)
            page.select_option("#cutout-type", label)
        expect(page.locator("#cutout small")).to_have_text(label)
        name, data = download_from(page, "#cutout")
        assert name == f"chelsea-cutout.{ending}"
        assert query_of(requests.pop()) == query_of(f"{url}&{query}")
        assert data == httpx.post(f"{url}&{query}", files={"file": (CAT.name, CAT.read_bytes())}, timeout=HANG_S).content
        expect(page.locator("#curl")).to_contain_text(query)
        expect(page.locator("#curl")).to_contain_text(name)
    page.select_option("#ground", "")
    expect(jpeg).to_be_disabled()
    expect(page.locator("#ground-color")).to_be_hidden()
    expect(page.locator("#cutout small")).to_have_text("PNG")


QUERIES = """async (options) => {
    const { FORMATS, segmentQuery } = await import("./static/formats.js");
    const overlay = { alpha: 0.6, names: false };
    return Object.entries(FORMATS).map(([id, { takesClasses }]) =>
        segmentQuery(id, options, { ...(takesClasses && { classes: "1,2" }), ...(id === "overlay" && overlay) }));
}"""


def test_options_are_sent_hold_for_downloads_and_programs_and_go_with_every_format(page: Page, narrow_url: str) -> None:
    requests = reply(page, answer_of(quarters()))
    page.click("#options summary")
    page.select_option("#side", "number")
    page.fill("#side-pixels", "64")
    page.select_option("#quality", "high")
    page.select_option("#blend", "hann")
    page.fill("#overlap", "0.1")
    page.fill("#min-confidence", "0.1")
    page.fill("#min-area", "2 %")
    page.fill("#fill-holes", "9")
    segment_file(page, picture("a.png"))
    options = {"side": ["64"], "quality": ["high"], "blend": ["hann"], "overlap": ["0.1"], "min_confidence": ["0.1"]}
    options |= {"min_area": ["2%"], "fill_holes": ["9"]}
    assert query_of(requests[0]) == BASE | options
    for query in page.evaluate(QUERIES, "&".join(f"{name}={value}".replace("%", "%25") for name, (value,) in options.items())):
        response = httpx.post(f"{narrow_url}/segment?{query}", content=picture("a.png")["buffer"], timeout=HANG_S)
        assert response.status_code == 200, (query, response.text)
    for part in ('"side": "64"', '"blend": "hann"', '"min_confidence": "0.1"'):
        expect(page.locator("#python")).to_contain_text(part)
    expect(page.locator("#again")).to_be_hidden()
    page.select_option("#side", "native")
    page.route("**/segment?format=png*", lambda route: route.fulfill(body=picture("x.png")["buffer"]))
    with page.expect_request("**/segment?format=png*") as request:
        download_from(page, "#mask")
    assert query_of(request.value.url) == {"format": ["png"]} | options
    page.click("#again")
    expect(page.locator("#python")).to_contain_text('"side": "native"')
    assert query_of(requests[-1])["side"] == ["native"]
    expect(page.locator("#again")).to_be_hidden()


MODELS = [
    {"name": "animals", "sha256": "0", "default": True, "classes": [{"id": 0, "name": "cat", "color": "#400000"}]},
    {"name": "streets", "sha256": "1", "default": False, "classes": [{"id": 0, "name": "road", "color": "#804080"}]},
]
INFO = {
    "model": {"name": "streets"},
    "runtime": {"runtime": "openvino", "device": "cpu", "precision": "int8"},
    "scores": {"Roads, val": {"mean_iou": 0.756}, "Roads, val, int8": {"mean_iou": 0.7512}, "another start": {"mean_iou": 0.7}},
}


def test_a_model_is_chosen_where_there_are_several(visit: Visit) -> None:
    late: list[Route] = []

    def two(page: Page) -> None:
        page.route("**/models", lambda route: route.fulfill(json=MODELS))
        page.route("**/info", lambda route: late.append(route))
        page.route("**/info?model=*", lambda route: route.fulfill(json=INFO))

    page = visit(before=two)
    requests = reply(page, answer_of(quarters()))
    page.click("#options summary")
    page.locator("#model").select_option(label="streets")
    expect(page.locator("#known")).to_have_text("road")
    expect(page.locator("#facts")).to_contain_text("cpu, OpenVINO, int8")
    expect(page.locator("#scores tr")).to_have_count(1)
    with page.expect_response("**/info"):
        late[0].fulfill(json=INFO | {"scores": {}})
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(page.locator("#scores tr")).to_contain_text("Roads, val75.1 %")
    segment_file(page, picture("a.png"))
    assert query_of(requests[0]) == BASE | {"model": ["streets"]}
    page.locator("#model").select_option(label="animals")
    page.click("#again")
    until(page, lambda: len(requests) == 2)
    assert query_of(requests[1]) == BASE
    expect(page.locator("#again")).to_be_hidden()


@pytest.mark.parametrize("name", ['it\'s; "a", $HOME \\ photo.jpg', *long("фото 1.jpg")])
def test_the_programs_do_what_the_page_did(page: Page, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CAT.read_bytes())
    segment_file(page, {"name": name, "mimeType": "image/jpeg", "buffer": CAT.read_bytes()})
    answer = json.loads(download_from(page, "#json")[1])

    def run(code: str, *command: str) -> str:
        words, variables = [*command, page.locator(f"#{code}").inner_text()], os.environ | {"HOME": str(tmp_path)}
        return subprocess.run(
            words, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=HANG_S, env=variables
        ).stdout

    run("curl", "sh", "-ec")
    file = tmp_path / f"{Path(name).stem}.json"
    assert json.loads(file.read_text()) == answer
    shown = run("python", sys.executable, "-c")
    assert shown.split() == [str(value) for entry in answer["classes"] for value in (entry["name"], entry["fraction"])]
    page.select_option("#code-format", "color")
    for code, command in (("curl", ["sh", "-ec"]), ("python", [sys.executable, "-c"])):
        run(code, *command)
        picture_file = file.with_name(f"{file.stem}-color.png")
        assert picture_file.stat().st_size > 100
        picture_file.unlink()


@pytest.mark.parametrize("has_clipboard", [True, *long(False)], ids=["clipboard", "selection"])
def test_the_programs_follow_format_and_classes_are_copied_and_files_need_a_class(visit: Visit, has_clipboard: bool) -> None:
    def forbid(page: Page) -> None:
        if not has_clipboard:
            page.add_init_script("navigator.clipboard.writeText = () => Promise.reject(new Error('not here'))")

    page: Any = visit(permissions=["clipboard-read", "clipboard-write"], before=forbid)
    requests = reply(page, answer_of(quarters()))
    segment_file(page, picture("a.b.png"))
    name, data = download_from(page, "#json")
    assert (name, json.loads(data)) == ("a.b.json", answer_of(quarters()))
    curl, python = page.locator("#curl"), page.locator("#python")
    expect(curl).to_contain_text("format=json")
    page.select_option("#code-format", "cutout")
    expect(curl).to_contain_text("format=cutout")
    expect(curl).not_to_contain_text("classes=")
    expect(python).to_contain_text("a.b-cutout.png")
    page.click("#classes .alone >> nth=1")
    shown = page.locator("#classes .alone[aria-pressed=true] .name").inner_text()
    ids = {name: str(number) for number, (name, _) in COLORS.items()}
    expect(curl).to_contain_text(f"classes={ids[shown]}")
    expect(python).to_contain_text(f'"classes": "{ids[shown]}"')
    for name in ("curl", "python"):
        page.click(f'[data-copy="{name}"]')
        expect(page.locator(f'[data-copy="{name}"]')).to_have_text("Copied")
        text = page.evaluate("navigator.clipboard.readText()")
        assert text.strip() == page.locator(f"#{name}").inner_text().strip()
    page.select_option("#code-format", "mask")
    expect(curl).not_to_contain_text("classes=")
    page.locator("#classes .alone[aria-pressed=true]").click()
    for name in ("leaf", "stone"):
        page.locator("#classes li", has_text=name).locator(".eye").click()
    page.click("#color")
    expect(page.locator("#status")).to_have_text("No class is shown. Show at least one class for this file.")
    assert len(requests) == 1
