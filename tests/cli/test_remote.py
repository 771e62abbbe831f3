"""`fcn-segment --server`: the same bytes from a running service, and what it says when it cannot."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.arguments import parser
from cli.main import main
from cli.remote import MOST_WAIT_S, Remote, ServerError, ServerUnusable
from tests.support import http_servers
from tests.support.checkout import ROOT
from tests.support.cli.busy_service import Busy
from tests.support.cli.folders import PHOTO, Segment, files_in, write_files
from tests.support.images import encode, make_photo

PHOTOS = ROOT / "docs" / "photos"


def remote(server: Busy, waits: list[float], *arguments: str) -> Remote:
    url = server.url
    args = parser().parse_args(["-", "-o", "-", "--server", url, "--api-key", "k", *arguments])
    return Remote(args, sleep=waits.append)


def test_the_service_gives_the_bytes_of_the_command_line(narrow_url: str, run: Segment, tmp_path: Path) -> None:
    for format in ("png", "coco"):
        mask = [] if format == "png" else ["--mask", "polygons"]
        arguments = [str(PHOTOS), "--format", format, "--min-confidence", "0.5", "--min-area", "2%", *mask]
        assert run(*arguments, "-o", tmp_path / "here" / format) == 0
        assert main([*arguments, "-o", str(tmp_path / "there" / format), "--server", narrow_url]) == 0
    names = files_in(tmp_path / "here")
    assert len(names) == 2 * len(list(PHOTOS.glob("*.jpg")))
    for name in names:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_errors_of_the_service_are_told_an_image(live_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"text")
    (tmp_path / "b.png").write_bytes(encode(make_photo(30, 30)))
    assert main([str(tmp_path), "-o", str(tmp_path / "out"), "--server", live_url]) == 3
    assert "a.png: 415 Not an accepted image type" in capsys.readouterr().err
    assert (tmp_path / "out" / "b.png").exists()


@pytest.mark.parametrize("busy", [2], indirect=True)
def test_a_busy_service_is_asked_again_when_it_says(busy: Busy) -> None:
    waits: list[float] = []
    asking = remote(busy, waits, "--side", "96", "--model", "m")
    assert asking(b"image", "a.png").body == b"mask of k"
    asking.close()
    assert waits == [7, 7]
    assert "side=96" in busy.paths[0]
    assert "model=m" in busy.paths[0]


@pytest.mark.parametrize("busy", [2], indirect=True)
@pytest.mark.parametrize("asks", ["Wed, 21 Oct 2026 07:28:00 GMT", "soon", "-1"])
def test_a_wait_that_is_no_number_of_seconds_grows_with_the_attempts(busy: Busy, asks: str) -> None:
    busy.asks = asks
    waits: list[float] = []
    asking = remote(busy, waits)
    assert asking(b"image").body == b"mask of k"
    asking.close()
    assert waits == [1, 2]


@pytest.mark.parametrize("busy", [99], indirect=True)
def test_a_service_that_stays_busy_is_given_up(busy: Busy) -> None:
    waits: list[float] = []
    asking = remote(busy, waits)
    with pytest.raises(ServerError, match="503 Not available now: full"):
        asking(b"image")
    asking.close()
    assert len(waits) == 5


def test_no_service_and_options_that_are_its_own_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(encode(make_photo(30, 30)))
    arguments = [str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--server", "http://127.0.0.1:9"]
    assert main(arguments) == 2
    assert "does not answer" in capsys.readouterr().err
    assert main([*arguments, "--tile", "96"]) == 2
    assert "--tile is set by the service" in capsys.readouterr().err


class Answering(http_servers.Handler):
    """Answers `server.answer`: status, headers and body."""

    server: Stranger

    def post(self) -> None:
        self.body()
        status, headers, body = self.server.answer
        self.server.count += 1
        self.answer(status, body, headers)


class Stranger(http_servers.LoopbackServer):
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(Answering)
        self.answer, self.count = (status, headers, body), 0


@contextmanager
def stranger(status: int, headers: dict[str, str], body: bytes) -> Iterator[tuple[str, Stranger]]:
    """A server of something else at this address."""
    with http_servers.running(Stranger(status, headers, body)) as server:
        yield server.url, server


@pytest.mark.parametrize(
    ("encoding", "times", "words"),
    [
        ("gzip, gzip", 2, "an answer in the encoding gzip, gzip, though gzip was asked for"),
        ("deflate", 0, "an answer in the encoding deflate"),
        ("gzip", 1, "an answer of more than 1 MB"),
    ],
)
def test_an_answer_that_would_fill_the_memory_is_refused(
    encoding: str, times: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cli.remote.MOST_BYTES", 1_000_000)
    monkeypatch.setattr("cli.remote.MOST_INFO_BYTES", 1_000_000)
    body = bytes(50_000_000 if times else 1000)
    for _ in range(times):
        body = gzip.compress(body)
    (tmp_path / "a.png").write_bytes(encode(make_photo(30, 30)))
    for format in ("png", "json"):
        with stranger(200, {"Content-Type": PNG, "Content-Encoding": encoding}, body) as (url, _):
            assert main([str(tmp_path / "a.png"), "-o", "-", "--server", url, "--format", format]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


HTML, PNG, JSON = "text/html; charset=utf-8", "image/png", "application/json"


@pytest.mark.parametrize(
    ("status", "kind", "body", "format", "words"),
    [
        (200, HTML, b"<html>Log in</html>", "png", "answers text/html where image/png was expected"),
        (200, HTML, b"<html>Log in</html>", "json", "answers text/html where application/json was expected"),
        (200, PNG, b"", "png", "answers an empty body where image/png was expected"),
        (200, JSON, b"{}", "npz", "answers application/json where application/x-npz was expected"),
        (204, PNG, b"", "png", "204 No Content"),
        (206, PNG, b"part", "png", "206 Partial Content"),
        (500, HTML, b"<html>", "png", "500 Internal Server Error"),
        (302, HTML, b"", "png", "302 Found"),
    ],
)
def test_an_answer_of_something_else_is_no_mask_and_ends_the_run(
    status: int, kind: str, body: bytes, format: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(encode(make_photo(30, 30)))
    with stranger(status, {"Content-Type": kind}, body) as (url, server):
        assert main([str(tmp_path), "-o", str(tmp_path / "out"), "--server", url, "--format", format]) == 2
        assert server.count < 30
    assert not (tmp_path / "out").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-segment: http://127.0.0.1:")
    assert words in line


def test_a_gateway_that_fails_is_asked_again_and_ends_the_run() -> None:
    for status in (429, 502, 503):
        waits: list[float] = []
        with stranger(status, {"Retry-After": "99999"}, b"<html>") as (url, server):
            asking = Remote(parser().parse_args(["-", "-o", "-", "--server", url]), sleep=waits.append)
            with pytest.raises(ServerUnusable, match=str(status)):
                asking(b"image")
            asking.close()
        assert waits == [MOST_WAIT_S] * 5
        assert server.count == 6


def test_what_is_wrong_with_an_image_alone_does_not_end_the_run() -> None:
    for status in (400, 408, 413, 415, 422, 504):
        with stranger(status, {}, b"<html>") as (url, _):
            asking = Remote(parser().parse_args(["-", "-o", "-", "--server", url]))
            for _ in range(9):
                with pytest.raises(ServerError, match=str(status)) as error_info:
                    asking(b"image")
                assert not isinstance(error_info.value, ServerUnusable)
            asking.close()


class Changing(http_servers.LoopbackServer):
    """A service whose model becomes another one after so many answers."""

    def __init__(self, after: int) -> None:
        super().__init__(ChangingHandler)
        self.after, self.answers = after, 0


class ChangingHandler(http_servers.Handler):
    server: Changing

    def get(self) -> None:
        model = {"name": "a" if self.server.answers < self.server.after else "b"}
        info = {"model": model, "runtime": {}, "tile": 512, "versions": {}}
        self.answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def post(self) -> None:
        self.body()
        self.server.answers += 1
        self.answer(200, b"mask", {"Content-Type": "image/png"})


def test_a_model_that_changes_during_the_run_is_told_and_its_answers_are_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "in", {f"{number}.png": PHOTO for number in range(3)})
    with http_servers.running(Changing(after=2)) as server:
        arguments = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--server", server.url, "--resume"]
        assert main(arguments) == 3
        assert "changed its model during the run" in capsys.readouterr().err
        server.answers = -10  # the first model is back
        assert main(arguments) == 0
        assert server.answers == -7
        assert main(arguments) == 0
        assert server.answers == -7
