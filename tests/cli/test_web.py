"""Images at web addresses."""

from __future__ import annotations

import gzip
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import web
from tests.support import http_servers
from tests.support.cli.folders import OTHER, PHOTO, Segment, files_in, write_files
from tests.support.http_servers import running
from tests.support.variants import long


class WebServer(http_servers.LoopbackServer):
    """Serves `files` by their paths, without the query.

    tags: the entity tags of paths; others have none. headers: further ones of paths. `/moved/PATH` leads to `/PATH`, `/circle`
    to itself, `/page` is HTML, and `/empty` is empty. counts: requests by method and path.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(Handler)
        self.files, self.tags = files, dict[str, str]()
        self.headers = dict[str, dict[str, str]]()
        self.counts = Counter[str]()


class Handler(http_servers.Handler):
    server: WebServer

    def get(self) -> None:
        path = self.path.partition("?")[0]
        self.server.counts[f"{self.command} {path}"] += 1
        if path == "/circle" or path.startswith("/moved/"):
            self.answer(302, b"", {"Location": path.removeprefix("/moved")} | self.server.headers.get(path, {}))
        elif path == "/page":
            self.answer(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"})
        elif path == "/empty" or path in self.server.files:
            tag = self.server.tags.get(path)
            headers = self.server.headers.get(path, {}) | ({"ETag": tag} if tag else {})
            self.answer(200, self.server.files.get(path, b""), headers)
        else:
            self.answer(404, b"none")


@pytest.fixture
def server() -> Iterator[WebServer]:
    with running(
        WebServer({"/a/photo.jpg": OTHER, "/a/photo.png": PHOTO, "/b%20c.png": PHOTO, "/text.png": b"text"})
    ) as server:
        yield server


def test_an_image_of_the_web_has_the_answer_of_its_file(server: WebServer, run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path, {"photo.jpg": OTHER})
    assert run(tmp_path / "photo.jpg", "-o", tmp_path / "file.json", "--format", "json") == 0
    for address in ("/a/photo.jpg?width=800", "/moved/a/photo.jpg"):
        assert run(f"{server.url}{address}", "-o", tmp_path / "web.json", "--format", "json") == 0
        assert (tmp_path / "web.json").read_bytes() == (tmp_path / "file.json").read_bytes()


def test_answers_are_named_by_the_path_of_the_address(server: WebServer, run: Segment, tmp_path: Path) -> None:
    addresses = [f"{server.url}{path}" for path in ("/a/photo.jpg?x=1", "/a/photo.png", "/b%20c.png")]
    assert run(*addresses, "-o", tmp_path / "out") == 0
    assert files_in(tmp_path / "out") == ["b c.png", "photo.png", "photo.png.png"]
    assert run(addresses[0], "-o", tmp_path / "coco", "--format", "coco") == 0
    assert '"file_name":"photo.jpg"' in (tmp_path / "coco" / "photo.json").read_text().replace(": ", ":")


def test_a_list_has_addresses_beside_files(server: WebServer, run: Segment, tmp_path: Path) -> None:
    write_files(tmp_path, {"own.png": PHOTO})
    names = [str(tmp_path / "own.png"), f"{server.url}/a/photo.jpg", f"{server.url}/a/gone.jpg", "https://"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert run("--from-file", tmp_path / "list.txt", "-o", tmp_path / "out") == 3
    assert files_in(tmp_path / "out") == ["127.0.0.1/a/photo.png", f"{str(tmp_path).lstrip('/')}/own.png"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/gone.jpg", "the address answers 404 Not Found"),
        ("/page", "the address answers a web page; give the address of the image itself"),
        ("/empty", "the address answers no bytes"),
        ("/circle", "redirect"),
        ("/large.png", "it has more than 0.1 MB"),
    ],
)
def test_what_is_no_image_is_a_line(
    path: str,
    words: str,
    server: WebServer,
    run: Segment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(web, "MOST_BYTES", 100_000)
    server.files["/large.png"] = bytes(100_001)
    assert run(f"{server.url}{path}", "-o", tmp_path / "out") == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcn-segment: {server.url}{path}: ")
    assert words in line


@pytest.mark.parametrize("encoding", ["gzip, gzip", *long("br")])
def test_an_encoding_that_was_not_asked_for_is_refused(
    encoding: str, server: WebServer, run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few bytes in several encodings are gigabytes."""
    server.files["/encoded.png"] = gzip.compress(gzip.compress(bytes(50_000_000)))
    assert len(server.files["/encoded.png"]) < 1000
    server.headers["/encoded.png"] = {"Content-Encoding": encoding}
    tracemalloc.start()
    assert run(f"{server.url}/encoded.png", f"{server.url}/a/photo.jpg", "-o", tmp_path / "out") == 3
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()
    assert f"in the encoding {encoding}, though identity was asked for" in capsys.readouterr().err
    server.headers["/a/photo.jpg"] = {"Content-Encoding": "identity"}
    assert run(f"{server.url}/a/photo.jpg", "-o", tmp_path / "out", "--force") == 0


def test_the_body_of_a_redirection_is_not_read(server: WebServer, run: Segment, tmp_path: Path) -> None:
    server.headers["/moved/a/photo.png"] = {"Content-Length": str(10**12), "Content-Encoding": "gzip, gzip"}
    assert run(f"{server.url}/moved/a/photo.png", "-o", tmp_path / "out") == 0


def test_a_host_that_does_not_answer_is_a_line(run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with WebServer({}) as server:
        address = f"{server.url}/photo.jpg"
    assert run(address, "-o", tmp_path / "out") == 3
    assert f"{address}: it cannot be fetched: " in capsys.readouterr().err


def test_a_download_that_takes_too_long_is_ended(
    server: WebServer, run: Segment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(web, "WHOLE_S", 0.0)
    assert run(f"{server.url}/a/photo.jpg", "-o", tmp_path / "out") == 3
    assert "it did not come whole within 0 s" in capsys.readouterr().err


def test_resume_asks_for_the_version_and_fetches_what_changed(
    server: WebServer, run: Segment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"{server.url}/a/photo.jpg", f"{server.url}/b%20c.png", "-o", tmp_path / "out", "--resume"]
    server.tags["/a/photo.jpg"] = '"1"'
    for tag, count in [('"1"', 1), ('"1"', 1), ('"2"', 2)]:
        server.tags["/a/photo.jpg"] = tag
        assert run(*arguments) == 0
        assert server.counts["GET /a/photo.jpg"] == count
    assert server.counts["GET /b%20c.png"] == 3  # it has no version
    assert "1 skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("https://user:secret@host:8000/a/b.jpg?x#y", "host/a/b.jpg"),
        ("HTTPS://host/a%2F..%2Fb.jpg", "host/a/b.jpg"),
        ("https://host/../%00.jpg", "host/.jpg"),
        ("http://host", "host"),
    ],
)
def test_the_path_of_an_address_leads_nowhere_else(address: str, path: str) -> None:
    assert web.web_path(address) == path
