"""The page as it is delivered: what it holds, under which rules, and at which address."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.browser.page import ANSWERED, CAT, Visit, segmented
from tests.support.checkout import ROOT
from tests.support.polling import HANG_S

STATIC = ROOT / "app" / "static"


def test_without_samples_the_page_stays_below_200_kilobytes() -> None:
    files = [path for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "samples"]
    assert sum(path.stat().st_size for path in files) < 200_000
    lines = {path.name: len(path.read_text().splitlines()) for path in STATIC.glob("*.js")}
    assert max(lines.values()) <= 200, lines


def test_samples_are_small_and_their_licences_are_told() -> None:
    folder = STATIC / "samples"
    licences = (folder / "LICENSE.md").read_text()
    photos = sorted(folder.glob("*.jpg"))
    assert len(photos) == 3
    for photo in photos:
        assert photo.stat().st_size < 70_000
        assert f"`{photo.name}`" in licences


def test_scripts_and_styles_come_from_files_alone(narrow_url: str) -> None:
    response = httpx.get(narrow_url, timeout=HANG_S)
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", response.text)


def test_no_address_is_absolute_and_no_markup_is_made_from_text() -> None:
    text = "".join(path.read_text() for path in STATIC.glob("*.*") if path.suffix in (".js", ".html", ".css"))
    assert not re.search(r"(?:src|href)=[\"']/", text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_browsers_ask_anew_so_that_versions_do_not_mix(narrow_url: str) -> None:
    for path in ("/", "/static/page.js", "/static/page.css"):
        assert httpx.get(narrow_url + path, timeout=HANG_S).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("end", ["", "/"], ids=["bare", "slash"])
def test_it_works_under_a_path_of_a_proxy(visit: Visit, prefixed_url: str, end: str) -> None:
    page = visit(end, url=prefixed_url)
    expect(page.locator("#facts")).to_contain_text("narrow")
    page.locator(".sample").first.click()
    expect(page.locator("#result")).to_be_visible(timeout=ANSWERED)
    expect(page.locator("#curl")).to_contain_text(f"{prefixed_url}/segment?")
    with page.expect_download() as download:
        page.click("#mask")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    page.get_by_text("API reference").click()
    expect(page.get_by_text("Segment an image", exact=True)).to_be_visible(timeout=ANSWERED)


def test_it_tells_model_device_and_classes_before_any_photo(visit: Visit, narrow_url: str) -> None:
    info = httpx.get(f"{narrow_url}/info", timeout=HANG_S).json()
    page = visit()
    expect(page.locator("#facts")).to_contain_text(info["model"]["name"])
    expect(page.locator("#facts")).to_contain_text(f"{info['runtime']['device']}, OpenVINO, {info['runtime']['precision']}")
    expect(page.locator("#score-table")).to_be_hidden()
    classes = [entry["name"] for entry in httpx.get(f"{narrow_url}/classes", timeout=HANG_S).json()]
    assert page.locator("#known li").all_text_contents() == classes


def test_it_works_where_info_classes_and_models_tell_nothing(visit: Visit) -> None:
    def silent(page: object) -> None:
        for name in ("info", "classes", "models"):
            page.route(f"**/{name}", lambda route: route.fulfill(status=503, body="<p>busy</p>"))

    page = visit(before=silent, refused=(503,))
    expect(page.locator("#about")).to_be_hidden()
    expect(page.locator("#known-part")).to_be_hidden()
    segmented(page, CAT)


def test_the_api_reference_shows_the_route_and_its_errors(visit: Visit) -> None:
    page = visit("/docs")
    page.get_by_text("/segment", exact=False).first.click(timeout=ANSWERED)
    expect(page.get_by_text("Not an accepted image type").first).to_be_visible(timeout=ANSWERED)
