"""`fcn-segment --server`: the same bytes from a running service, and what it says when it cannot."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cli.arguments import parser
from cli.main import main
from cli.remote import MOST_WAIT_S, Remote, ServerError
from tests.support.cli.folders import PHOTO, write_files
from tests.support.cli.scripted_server import MASK, Answer, ScriptedServer, scripted
from tests.support.images import encode, make_photo

HTML, PNG, JSON = "text/html; charset=utf-8", "image/png", "application/json"
BUSY = b'{"title": "Not available now", "detail": "full"}'


@contextmanager
def asking(*answers: Answer, options: tuple[str, ...] = ()) -> Iterator[tuple[Callable[[], str], list[float], ScriptedServer]]:
    """What asks a server with these answers: gives the body, or the name of the error; the pauses that it makes; the server."""
    with scripted(*answers) as server:
        waits: list[float] = []
        words = ["-", "-o", "-", "--server", server.url, *options]
        with closing(Remote(parser().parse_args(words), sleep=waits.append)) as remote:

            def ask() -> str:
                try:
                    return remote(b"image").body.decode()
                except ServerError as error:
                    return f"{type(error).__name__}: {error}"

            yield ask, waits, server


def test_errors_of_the_service_are_told_an_image(narrow_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(tmp_path, {"a.png": b"text", "b.png": encode(make_photo(30, 30))})
    assert main([str(tmp_path), "-o", str(tmp_path / "out"), "--server", narrow_url]) == 3
    assert "a.png: 415 Not an accepted image type" in capsys.readouterr().err
    assert (tmp_path / "out" / "b.png").exists()


@pytest.mark.parametrize(
    ("asks", "pauses"), [("7", [7, 7]), ("Wed, 21 Oct 2026 07:28:00 GMT", [1, 2]), ("-1", [1, 2]), ("99999", [MOST_WAIT_S] * 2)]
)
def test_a_busy_service_is_asked_again_when_it_says(asks: str, pauses: list[float]) -> None:
    busy = (503, {"Retry-After": asks}, BUSY)
    with asking(busy, busy, MASK, options=("--side", "96", "--model", "m")) as (ask, waits, server):
        assert ask() == "mask"
    assert waits == pauses
    assert "side=96" in server.requests[0][0]
    assert "model=m" in server.requests[0][0]


@pytest.mark.parametrize(
    ("status", "words", "tries"),
    [
        (401, "401 ", 1), (404, "404 ", 1), (308, "moved to http://elsewhere", 1), (429, "429 ", 6), (502, "502 ", 6),
        (503, "503 Not available now: full", 6),
    ],
)  # fmt: skip
def test_a_service_that_answers_no_image_ends_the_run(status: int, words: str, tries: int) -> None:
    headers = {"Location": "http://elsewhere"} if status == 308 else {}
    with asking((status, headers, BUSY if status == 503 else b"<html>")) as (ask, waits, server):
        answer = ask()
    assert (answer.startswith("ServerUnusable: "), words in answer) == (True, True)
    assert (len(server.requests), len(waits)) == (tries, tries - 1)


def test_a_service_that_is_lost_in_a_run_is_asked_again() -> None:
    with asking(MASK, (0, {}, b""), (0, {}, b""), MASK) as (ask, waits, _):
        assert [ask(), ask()] == ["mask", "mask"]
    assert waits == [1, 2]


def test_refusals_in_a_row_end_the_run_and_those_among_answers_do_not() -> None:
    refusal = (401, {}, b"<html>")
    with asking(MASK, refusal, MASK, refusal) as (ask, _, _):
        kinds = [ask().partition(":")[0] for _ in range(3 + Remote.workers)]
    assert kinds == ["mask", "ServerError", "mask", *["ServerError"] * (Remote.workers - 1), "ServerUnusable"]


@pytest.mark.parametrize("status", [400, 408, 413, 415, 422, 504])
def test_what_is_wrong_with_an_image_alone_does_not_end_the_run(status: int) -> None:
    with asking((status, {}, b"<html>")) as (ask, _, _):
        assert all(ask().startswith(f"ServerError: {status}") for _ in range(Remote.workers + 1))


@pytest.mark.parametrize(
    ("encoding", "times", "words"),
    [
        ("gzip, gzip", 2, "an answer in the encoding gzip, gzip, though gzip was asked for"),
        ("gzip", 1, "an answer of more than 1 MB"),
    ],
)
def test_an_answer_that_would_fill_the_memory_is_refused(
    encoding: str, times: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.remote.MOST_BYTES", 1_000_000)
    body = bytes(50_000_000)
    for _ in range(times):
        body = gzip.compress(body)
    with asking((200, {"Content-Type": PNG, "Content-Encoding": encoding}, body)) as (ask, _, _):
        assert words in ask()


@pytest.mark.parametrize(
    ("status", "kind", "body", "format", "words"),
    [
        (200, HTML, b"<html>Log in</html>", "png", "answers text/html where image/png was expected"),
        (200, PNG, b"", "png", "answers an empty body where image/png was expected"),
        (200, JSON, b"{}", "npz", "answers application/json where application/x-npz was expected"),
        (206, PNG, b"part", "png", "206 Partial Content"),
        (500, HTML, b"<html>", "png", "500 Internal Server Error"),
        (302, HTML, b"", "png", "302 Found"),
    ],
)
def test_an_answer_of_something_else_is_no_mask_and_ends_the_run(
    status: int, kind: str, body: bytes, format: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path, {f"{number}.png": PHOTO for number in range(30)})
    with scripted((status, {"Content-Type": kind}, body)) as server:
        assert main([str(tmp_path), "-o", str(tmp_path / "out"), "--server", server.url, "--format", format]) == 2
        assert len(server.requests) < 30
    assert not (tmp_path / "out").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcn-segment: http://127.0.0.1:")
    assert words in line


def test_a_model_that_changes_during_the_run_is_told_and_its_answers_are_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "in", {f"{number}.png": PHOTO for number in range(3)})
    with scripted(MASK) as server:
        server.models = ["a", "b", "a"]
        arguments = [str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--server", server.url, "--resume"]
        assert main(arguments) == 3
        assert "changed its model during the run" in capsys.readouterr().err
        for _ in range(2):  # the first model is back
            assert main(arguments) == 0
            assert len(server.requests) == 6
