"""Jobs on the page: sent, left, found again, fetched and removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from benchmarks.harness.serving import service
from tests.support.browser.page import ANSWER_MS, Visit, picture
from tests.support.images import make_photo
from tests.support.imaging.scenes import scene_file
from tests.support.polling import HANG_S

KEY = "open sesame"


@pytest.fixture(scope="module")
def jobs_url(narrow_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with jobs, which belong to keys."""
    folder = tmp_path_factory.mktemp("jobs")
    settings = {"weights": narrow_file, "device": "cpu", "threads": 1, "api_keys": KEY}
    with service(log=folder / "log", jobs_dir=folder / "jobs", **settings) as server:
        yield server.url


def test_a_scene_is_sent_and_its_result_fetched_after_the_page_was_left(visit: Visit, jobs_url: str) -> None:
    page: Page = visit(url=jobs_url, width=390, allowed_statuses=(401, 404, 422))
    scene = scene_file(make_photo(300, 400))
    page.set_input_files("#job-files", {"name": "town.tif", "mimeType": "image/tiff", "buffer": scene})
    expect(page.locator("#job-output")).to_have_value("tif")
    page.click("#job-form >> text=Send")
    expect(page.locator("#key-title")).to_have_text("This service needs a key", timeout=ANSWER_MS)
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    row = page.locator("#job-list li", has_text="town.tif")
    expect(row).to_be_visible(timeout=ANSWER_MS)
    page.reload()
    expect(row.locator(".job-status")).to_have_text("successful", timeout=ANSWER_MS)
    expect(row.locator("progress")).to_be_hidden()
    with page.expect_download() as download:
        row.locator("a").click()
    (job,) = httpx.get(f"{jobs_url}/jobs", headers={"X-API-Key": KEY}, timeout=HANG_S).json()["jobs"]
    result = httpx.get(f"{jobs_url}/jobs/{job['jobID']}/results", headers={"X-API-Key": KEY}, timeout=HANG_S)
    assert Path(download.value.path()).read_bytes() == result.content
    assert download.value.suggested_filename in result.headers["content-disposition"]

    page.set_input_files("#job-files", [picture("a.png"), picture("b.png")])
    expect(page.locator("#job-output")).to_have_value("zip")
    page.click("#options summary")
    page.fill("#min-area", "9")
    page.select_option("#job-output", "jsonl")
    page.click("#job-form >> text=Send")
    photos = page.locator("#job-list li", has_text="2 photos")
    expect(photos.locator(".job-status")).to_have_text("successful", timeout=ANSWER_MS)
    page.set_input_files("#job-files", {"name": "no.tif", "mimeType": "image/tiff", "buffer": scene[:100]})
    page.click("#job-form >> text=Send")
    expect(page.locator("#job-problem")).to_contain_text("does not go with output=tif", timeout=ANSWER_MS)

    httpx.delete(f"{jobs_url}/jobs/{job['jobID']}", headers={"X-API-Key": KEY}, timeout=HANG_S)
    page.reload()
    expect(row.locator(".job-status")).to_have_text("missing", timeout=ANSWER_MS)
    row.locator("button").click()
    photos.locator("button").click()
    expect(page.locator("#job-list li")).to_have_count(0, timeout=ANSWER_MS)
    assert httpx.get(f"{jobs_url}/jobs", headers={"X-API-Key": KEY}, timeout=HANG_S).json()["jobs"] == []
    page.reload()
    expect(page.locator("#but-jobs")).to_be_visible()
    expect(page.locator("#jobs-limits")).to_contain_text("16384 MB")
    expect(page.locator("#job-list li")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1280])
def test_jobs_stand_below_the_photo_and_on_a_phone_below_its_downloads(visit: Visit, jobs_url: str, width: int) -> None:
    page: Page = visit(url=jobs_url, width=width)
    edges = (
        "element => { const {left, right, top, bottom} = element.getBoundingClientRect(); return {left, right, top, bottom}; }"
    )
    jobs, panel, column = (page.locator(each).evaluate(edges) for each in ("#jobs", ".panel", ".column"))
    assert jobs["top"] >= column["bottom"]
    assert jobs["top"] >= panel["bottom"] if width == 390 else jobs["right"] <= panel["left"]


def test_outputs_that_the_service_cannot_make_are_not_offered(visit: Visit, jobs_url: str) -> None:
    def leave_out(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=response.text().replace('"tif cog gpkg geojson zip', '"zip'))

    page: Page = visit(url=jobs_url, before=lambda page: page.route(f"{jobs_url}/", leave_out))
    expect(page.locator("#job-output option")).to_have_count(3)
    page.set_input_files("#job-files", {"name": "a.tif", "mimeType": "image/tiff", "buffer": b"II*\0"})
    expect(page.locator("#job-output")).to_have_value("zip")
    expect(page.locator("#job-form")).not_to_contain_text("GeoTIFF")
