"""The page as it is delivered: its files, their sizes and licences, and what browsers are told of them."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from imaging.decoding import IMAGE_FORMATS
from tests.support.checkout import ROOT

STATIC = ROOT / "app" / "static"


def test_without_samples_the_page_stays_below_200_kilobytes() -> None:
    files = [path for path in STATIC.rglob("*") if path.is_file() and path.parent.name != "samples"]
    assert sum(path.stat().st_size for path in files) < 200_000
    lines = {path.name: len(path.read_text().splitlines()) for path in STATIC.glob("*.js")}
    assert max(lines.values()) <= 200, lines


def test_the_page_names_every_format_that_the_service_reads() -> None:
    footer = (STATIC / "index.html").read_text().split("<footer>")[1]
    names = {"WebP" if name == "WEBP" else name for name in IMAGE_FORMATS}
    assert set(re.findall(r"[A-Z]\w*[A-Z]\w*", footer)) == names | {"HEIC", "HEIF"}


def test_samples_are_small_and_their_licences_are_told() -> None:
    folder = STATIC / "samples"
    licences = (folder / "LICENSE.md").read_text()
    photos = sorted(folder.glob("*.jpg"))
    assert len(photos) == 3
    for photo in photos:
        assert photo.stat().st_size < 80_000
        assert f"`{photo.name}`" in licences


def test_scripts_and_styles_come_from_files_alone(client: TestClient) -> None:
    response = client.get("/")
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", response.text)


def test_no_address_is_absolute_and_no_markup_is_made_from_text() -> None:
    text = "".join(path.read_text() for path in STATIC.glob("*.*") if path.suffix in (".js", ".html", ".css"))
    assert not re.search(r"(?:src|href)=[\"']/", text)
    assert not re.findall(r"https?://[^\s\"']+", text)
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_the_page_and_the_reference_come_from_this_server(client: TestClient) -> None:
    for path in ("/", "/docs"):
        assert not re.search('(src|href)="http', client.get(path).text)
    assert client.get("/docs/static/swagger-ui-bundle.js").status_code == 200
    assert '<head><script src="/static/theme.js"></script>' in client.get("/docs").text


def test_files_come_from_memory_with_a_tag_and_nothing_else_is_there(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("/static/page.js", "/static/samples/LICENSE.md", "/docs/static/swagger-ui.css"):
        response = client.get(path)
        tag = response.headers["etag"]
        for values in ([tag], [f"W/{tag}"], [f'"x", {tag}'], ['"x"', tag], ["*"]):
            again = client.get(path, headers=[("If-None-Match", value) for value in values])
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert client.get(path, headers={"If-None-Match": '"x"'}).content == response.content
        assert client.head(path).headers["content-length"] == str(len(response.content))
        assert client.post(path).status_code == 405
    assert client.get("/static/page.js").headers["content-type"].startswith("text/javascript")
    for path in ("/", "/static/page.js", "/static/page.css"):  # so that versions do not mix
        assert client.get(path).headers["cache-control"] == "no-cache"
    paths = ["/static/", "/static/nothing.js", "/static/../main.py", "/static/%2e%2e/main.py", "/static//page.js"]
    for path in [*paths, "/static/samples", "/docs/static/redoc.standalone.js", "/static/page.js%00"]:
        assert client.get(path).status_code == 404
    monkeypatch.setattr("builtins.open", None)
    assert client.get("/").status_code == client.get("/static/page.css").status_code == 200
