"""What clients send is told back, and logged, escaped and cut."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.telemetry import JsonFormatter, TextFormatter
from common.printable import excerpt, printable
from tests.support.app.exchanges import PHOTO, assert_problem, post
from tests.support.app.services import Serve

ODD = "a\n\x1b[31m\u202e\x7f\u2028b"
ESCAPES = r"a\n\x1b[31m\u202e\x7f\u2028b"
FORMATTERS: list[logging.Formatter] = [JsonFormatter(), TextFormatter()]


@contextmanager
def capture_log(formatter: logging.Formatter) -> Iterator[io.StringIO]:
    """What the service logs meanwhile, in this format."""
    stream, log = io.StringIO(), logging.getLogger("segment")
    handler, level = logging.StreamHandler(stream), log.level
    handler.setFormatter(formatter)
    log.addHandler(handler)
    log.setLevel("INFO")
    try:
        yield stream
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def test_what_cannot_be_printed_is_escaped_and_what_is_long_is_cut() -> None:
    assert printable(ODD, 100) == ESCAPES
    assert printable("Größe 100 %", 100) == "Größe 100 %"
    assert printable("x" * 101, 100) == "x" * 100 + "..."
    assert excerpt(ODD) == f"'{ESCAPES}'"
    assert len(excerpt("\ud800" * 5000)) < 110
    assert len(excerpt({"a": "b" * 5000})) < 110


def test_parameters_and_paths_come_back_escaped_and_cut(client: TestClient) -> None:
    for parameter, value in (("format", ODD), ("side", "x" * 3000), ("model", ODD), ("confidence", "\x00" * 3000)):
        response = client.post("/segment", params={parameter: value}, content=PHOTO)
        assert_problem(response, 422, parameter)
        detail = response.json()["detail"]
        assert detail.isprintable()
        assert len(detail) < 700
        assert ESCAPES in detail or value != ODD
    for path in ("/" + "x" * 3000, "/%0d%0a%1b%5b31m", "/%ff%00%e2%80%ae"):
        response = client.get(path)
        assert_problem(response, 404, "nothing at /", "the routes are listed at /docs")
        assert response.json()["detail"].isprintable()
        assert len(response.json()["detail"]) < 160
    names = {f"{ODD}{i}": b"x" * 10 for i in range(40)}
    response = client.post("/segment", files={name * 40: ("photo", data) for name, data in names.items()})
    assert_problem(response, 400)
    assert len(response.json()["detail"]) <= 1003
    assert response.json()["detail"].isprintable()
    refusal = client.post("/segment", content=PHOTO, headers={"Accept": "text/" + "x" * 1000})
    assert_problem(refusal, 406)
    assert len(refusal.json()["detail"]) <= 1003


@pytest.mark.parametrize("formatter", FORMATTERS, ids=["json", "text"])
def test_a_request_is_one_log_line_of_bounded_length(client: TestClient, formatter: logging.Formatter) -> None:
    requests: list[Any] = [
        lambda: client.get("/%0a%0d%1b%5b31m" + "x" * 5000),
        lambda: post(client, b"text", format=ODD * 1000),
        lambda: client.post("/segment", files={"file": (f"{ODD}.png" * 100, b"")}),
        lambda: client.post("/segment", files={ODD * 500: ("photo", PHOTO)}),
    ]
    for ask in requests:
        with capture_log(formatter) as stream:
            ask()
        (line,) = stream.getvalue().splitlines()
        assert line.isprintable()
        assert len(line) < 2500
        if isinstance(formatter, JsonFormatter):
            assert json.loads(line)["message"] == "request"


def test_an_unexpected_error_is_one_log_line_with_the_traceback(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_body(_: object) -> bytes:
        raise OSError(f"broken by {ODD}" + "x" * 20_000)

    with serve() as client, capture_log(TextFormatter()) as stream:
        monkeypatch.setattr("app.telemetry.generate_latest", break_body)
        assert_problem(client.get("/metrics"), 500)
    first = stream.getvalue().splitlines()[0]
    assert "unexpected error" in first
    assert "exception" in first
    assert "xxx" in first
    assert len(stream.getvalue().splitlines()) == 2
    assert len(first) < 20_000
