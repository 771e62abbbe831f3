"""Downloads, options, and the same request as a program."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.browser.page import (
    ANSWER_MS,
    CAT,
    COLORS,
    Visit,
    answer_of,
    give,
    picture,
    quarters,
    reply,
    segment_file,
    until,
)
from tests.support.polling import HANG_S

BASE = {"format": ["json"], "mask": ["rle"]}


def download_from(page: Page, selector: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(selector)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


@pytest.mark.long
def test_pictures_are_asked_for_when_wanted_and_are_the_services(page: Page, narrow_url: str) -> None:
    segment_file(page, CAT)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if request.method == "POST" else None)
    answer = json.loads(download_from(page, "#json")[1])
    ids_text = "%2C".join(str(entry["id"]) for entry in answer["classes"] if entry["name"] != "background")
    for button, name, query in (
        ("#mask", "chelsea-mask.png", "format=png"),
        ("#color", "chelsea-color.png", f"format=color&classes={ids_text}"),
        ("#confidence", "chelsea-confidence.png", "format=confidence"),
    ):
        filename, data = download_from(page, button)
        assert filename == name
        expected = httpx.post(f"{narrow_url}/segment?{query}", files={"file": CAT.read_bytes()}, timeout=HANG_S).content
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(io.BytesIO(expected))))
        assert requests.pop() == f"{narrow_url}/segment?{query}"
    assert requests == []


def test_polygons_and_coco_are_the_services(page: Page, narrow_url: str) -> None:
    answer = json.loads(download_from(segment_file(page, CAT), "#json")[1])
    ids = [str(entry["id"]) for entry in answer["classes"] if entry["name"] != "background"]
    entry_of_list = page.locator("#classes li", has_not_text="background").first
    ids.remove(
        next(str(entry["id"]) for entry in answer["classes"] if entry["name"] == entry_of_list.locator(".name").inner_text())
    )
    entry_of_list.locator(".eye").click()
    for button, name, query in (
        ("#polygons", "chelsea-polygons.json", f"format=json&mask=polygons&classes={','.join(ids)}"),
        ("#coco", "chelsea-coco.json", f"format=coco&mask=polygons&classes={','.join(ids)}"),
    ):
        filename, data = download_from(page, button)
        assert filename == name
        files = {"file": (CAT.name, CAT.read_bytes())}
        assert json.loads(data) == httpx.post(f"{narrow_url}/segment?{query}", files=files, timeout=HANG_S).json()


@pytest.mark.long
def test_files_of_shown_classes_need_one(page: Page) -> None:
    requests = reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    for name in ("leaf", "stone"):
        page.locator("#classes li", has_text=name).locator(".eye").click()
    page.click("#color")
    expect(page.locator("#status")).to_have_text("No class is shown. Show at least one class for this file.")
    assert len(requests) == 1


QUERIES = """async (options) => {
    const { FORMATS, segmentQuery } = await import("./static/formats.js");
    const overlay = { alpha: 0.6, names: false };
    return Object.entries(FORMATS).map(([id, { takesClasses }]) =>
        segmentQuery(id, options, { ...(takesClasses && { classes: "1,2" }), ...(id === "overlay" && overlay) }));
}"""


@pytest.mark.long
def test_every_format_is_asked_for_with_the_options_that_go_with_it(page: Page, narrow_url: str) -> None:
    options = "side=64&quality=high&blend=hann&overlap=0.1&min_confidence=0.1&min_area=2%25&fill_holes=9"
    for query in page.evaluate(QUERIES, options):
        response = httpx.post(f"{narrow_url}/segment?{query}", content=picture("a.png")["buffer"], timeout=HANG_S)
        assert response.status_code == 200, (query, response.text)


@pytest.mark.long
def test_a_cut_out_has_the_classes_that_are_shown(page: Page, narrow_url: str) -> None:
    segment_file(page, CAT)
    alone = page.locator("#classes li", has_not_text="background").first
    alone.locator(".alone").click()
    with page.expect_request("**/segment?format=cutout*") as request:
        name, data = download_from(page, "#cutout")
    assert name == "chelsea-cutout.png"
    assert list(query_of(request.value.url)) == ["format", "classes"]
    response = httpx.post(request.value.url, files={"file": CAT.read_bytes()}, timeout=HANG_S)
    assert data == response.content
    left, top, width, height = response.headers["X-Object-Box"].split(",")
    place = f"{width} \u00d7 {height} pixels, {left} from the left and {top} from the top."
    expect(page.locator("#status")).to_have_text(f"chelsea-cutout.png is saved. The object has {place}")
    cutout = Image.open(io.BytesIO(data))
    assert (cutout.mode, cutout.size) == ("RGBA", (451, 300))
    low, high = cutout.getchannel("A").getextrema()
    assert low < high


@pytest.mark.parametrize(
    ("box", "text"),
    [
        ("3,4,20,10", "The object has 20 \u00d7 10 pixels, 3 from the left and 4 from the top."),
        ("none", "Nothing is visible in it."),
    ],
)
def test_the_status_says_where_the_object_of_a_cut_out_lies(page: Page, box: str, text: str) -> None:
    reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    page.route("**/segment?format=cutout*", lambda route: route.fulfill(headers={"X-Object-Box": box}, body=b"picture"))
    download_from(page, "#cutout")
    expect(page.locator("#status")).to_have_text(f"a-cutout.png is saved. {text}")


def test_json_is_what_came_without_asking_again(page: Page) -> None:
    answer = answer_of(quarters())
    requests = reply(page, answer)
    segment_file(page, picture("a.b.png"))
    name, data = download_from(page, "#json")
    assert name == "a.b.json"
    assert json.loads(data) == answer
    assert len(requests) == 1


@pytest.mark.long
def test_options_are_sent_and_hold_for_downloads_and_programs(page: Page) -> None:
    requests = reply(page, answer_of(quarters()))
    page.click("#options summary")
    page.select_option("#side", "number")
    page.fill("#side-pixels", "640")
    page.select_option("#quality", "high")
    page.select_option("#blend", "hann")
    page.fill("#overlap", "0.5")
    page.fill("#min-confidence", "0.3")
    page.fill("#min-area", "0.1 %")
    page.fill("#fill-holes", "40")
    segment_file(page, picture("a.png"))
    options = {"side": ["640"], "quality": ["high"], "blend": ["hann"], "overlap": ["0.5"], "min_confidence": ["0.3"]}
    options |= {"min_area": ["0.1%"], "fill_holes": ["40"]}
    assert query_of(requests[0]) == BASE | options
    for part in ('"side": "640"', '"blend": "hann"', '"min_confidence": "0.3"'):
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


def test_options_are_taken_by_the_service(visit: Visit) -> None:
    page = visit(allowed_statuses=(422,))
    page.click("#options summary")
    page.select_option("#side", "number")
    page.fill("#side-pixels", "5")
    give(page, picture("a.png"))
    expect(page.locator("#problem-detail")).to_contain_text("side", timeout=ANSWER_MS)
    page.fill("#side-pixels", "256")
    page.select_option("#blend", "hann")
    page.fill("#overlap", "0.1")
    page.fill("#min-confidence", "0.95")
    page.fill("#min-area", "2%")
    page.fill("#fill-holes", "9")
    page.click("#retry")
    expect(page.locator("#classes")).to_contain_text("void", timeout=ANSWER_MS)


MODELS = [
    {"name": "animals", "sha256": "0", "default": True, "classes": [{"id": 0, "name": "cat", "color": "#400000"}]},
    {"name": "streets", "sha256": "1", "default": False, "classes": [{"id": 0, "name": "road", "color": "#804080"}]},
]

INFO = {
    "model": {"name": "streets"},
    "runtime": {"runtime": "openvino", "device": "cpu", "precision": "int8"},
    "scores": {"Roads, val": {"mean_iou": 0.756}, "Roads, val, int8": {"mean_iou": 0.7512}, "another start": {"mean_iou": 0.7}},
}


@pytest.mark.long
def test_a_model_is_chosen_where_there_are_several(visit: Visit) -> None:
    def two(page: Page) -> None:
        page.route("**/models", lambda route: route.fulfill(json=MODELS))
        page.route("**/info?model=streets", lambda route: route.fulfill(json=INFO))

    page = visit(before=two)
    requests = reply(page, answer_of(quarters()))
    page.click("#options summary")
    page.locator("#model").select_option(label="streets")
    expect(page.locator("#known")).to_have_text("road")
    expect(page.locator("#facts")).to_contain_text("streets")
    expect(page.locator("#facts")).to_contain_text("cpu, OpenVINO, int8")
    expect(page.locator("#scores tr")).to_have_count(1)
    expect(page.locator("#scores tr")).to_contain_text("Roads, val75.1 %")
    segment_file(page, picture("a.png"))
    assert query_of(requests[0]) == BASE | {"model": ["streets"]}
    page.route("**/info?model=animals", lambda route: route.fulfill(json=INFO))
    page.locator("#model").select_option(label="animals")
    page.click("#again")
    until(page, lambda: len(requests) == 2)
    assert query_of(requests[1]) == BASE
    expect(page.locator("#again")).to_be_hidden()


@pytest.mark.long
@pytest.mark.parametrize("models", [MODELS[:1], pytest.param(None, marks=pytest.mark.long)], ids=["one", "no route"])
def test_no_model_is_offered_where_there_is_no_choice(visit: Visit, models: list[object] | None) -> None:
    answer = {"json": models} if models else {"status": 404, "json": {"title": "Not found"}}
    page = visit(before=lambda page: page.route("**/models", lambda route: route.fulfill(**answer)), allowed_statuses=(404,))
    page.click("#options summary")
    expect(page.locator("#side")).to_be_visible()
    expect(page.locator("#model")).to_be_hidden()
    requests = reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    assert query_of(requests[0]) == BASE


NAMES = [
    'it\'s; "a", $HOME \\ photo.jpg',
    *(pytest.param(name, marks=pytest.mark.long) for name in ("photo.jpg", "фото 1.jpg")),
]


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_programs_do_what_the_page_did(page: Page, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CAT.read_bytes())
    segment_file(page, {"name": name, "mimeType": "image/jpeg", "buffer": CAT.read_bytes()})
    answer = json.loads(download_from(page, "#json")[1])
    command = ["sh", "-ec", page.locator("#curl").inner_text()]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=HANG_S)
    file = next(tmp_path.glob("*.json"))
    assert file.stem == Path(name).stem
    assert json.loads(file.read_text()) == answer
    program = page.locator("#python").inner_text()
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        env=os.environ,
    )
    assert ran.stdout.split() == [str(value) for entry in answer["classes"] for value in (entry["name"], entry["fraction"])]


@pytest.mark.long
@pytest.mark.parametrize(("format", "file"), [("color", "photo-color.png"), ("polygons", "photo-polygons.json")])
def test_the_programs_ask_for_the_chosen_format(page: Page, tmp_path: Path, format: str, file: str) -> None:
    (tmp_path / "photo.jpg").write_bytes(CAT.read_bytes())
    segment_file(page, {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": CAT.read_bytes()})
    page.select_option("#code-format", format)
    for code, command in (("curl", ["sh", "-ec"]), ("python", [sys.executable, "-c"])):
        program = page.locator(f"#{code}").inner_text()
        result = subprocess.run([*command, program], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=HANG_S)
        assert result.stdout if (code, format) == ("python", "polygons") else (tmp_path / file).stat().st_size > 100
        (tmp_path / file).unlink(missing_ok=True)


def test_the_programs_follow_the_format_and_the_classes_that_are_shown(page: Page) -> None:
    reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    curl, python = page.locator("#curl"), page.locator("#python")
    expect(curl).to_contain_text("format=json")
    page.select_option("#code-format", "cutout")
    expect(curl).to_contain_text("format=cutout")
    expect(curl).not_to_contain_text("classes=")
    expect(python).to_contain_text("a-cutout.png")
    page.click("#classes .alone >> nth=1")
    shown = page.locator("#classes .alone[aria-pressed=true] .name").inner_text()
    ids = {name: str(number) for number, (name, _) in COLORS.items()}
    expect(curl).to_contain_text(f"classes={ids[shown]}")
    expect(python).to_contain_text(f'"classes": "{ids[shown]}"')
    page.select_option("#code-format", "mask")
    expect(curl).not_to_contain_text("classes=")


@pytest.mark.long
@pytest.mark.parametrize("has_clipboard", [pytest.param(True, marks=pytest.mark.long), False], ids=["clipboard", "selection"])
def test_programs_are_copied(visit: Visit, has_clipboard: bool) -> None:
    def forbid(page: Page) -> None:
        if not has_clipboard:
            page.add_init_script("navigator.clipboard.writeText = () => Promise.reject(new Error('not here'))")

    page = visit(permissions=["clipboard-read", "clipboard-write"], before=forbid)
    reply(page, answer_of(quarters()))
    segment_file(page, picture("a.png"))
    for name in ("curl", "python"):
        page.click(f'[data-copy="{name}"]')
        expect(page.locator(f'[data-copy="{name}"]')).to_have_text("Copied")
        text = page.evaluate("navigator.clipboard.readText()")
        assert text.strip() == page.locator(f"#{name}").inner_text().strip()
