"""Loads: what is read off their answers, and that wrk tells right answers from wrong ones."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from benchmarks.harness.load import Answer, Load, Sample, available, load
from tests.support.servers import over_http


def answers(*times: float, status: int = 200, right: bool = True) -> list[Answer]:
    return [Answer(0, when, status, 10.0, right) for when in times]


def load_of(load_answers: list[Answer]) -> Load:
    """A load that began at 100 and took 8 seconds."""
    return Load(load_answers, 100.0, 8.0, 1, 0, 0.8)


def test_the_rate_is_that_of_the_good_answers_once_the_load_has_settled() -> None:
    mixture = [*answers(101.0, 101.9), *answers(102.0, 104.0, 107.9), *answers(103.0, status=503), *answers(105.0, right=False)]
    assert load_of(mixture).rate == 3 / 6
    assert (load_of(mixture).good, load_of(mixture).wrong, load_of(mixture).failures) == (5, 1, 1)
    assert load_of(answers(100.5, 101.0)).rate == 2 / 8  # it never settles
    assert load_of([]).rate == 0


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (load_of([*answers(103.0), *answers(104.0, right=False)]), "1 right answers, 1 wrong ones"),
        (load_of([*answers(103.0), *answers(104.0, status=503, right=False)]), "1 failures"),
        (replace(load_of(answers(103.0)), errors=2), "2 errors"),
        (load_of([]), "0 right answers"),
    ],
    ids=["wrong", "refused", "errors", "empty"],
)
def test_a_load_that_went_wrong_raises(load: Load, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        load.check()


def test_a_load_that_went_right_is_given() -> None:
    right = load_of(answers(103.0, 104.0))
    assert right.check() is right
    refusal = load_of([*answers(103.0), *answers(104.0, status=503, right=False)])
    assert refusal.check(may_refuse=True) is refusal
    assert right.cores == pytest.approx(0.1)


async def backwards(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers a body turned round with the request's id, and 415 where it begins with `no`."""
    request = Request(scope, receive)
    body = await request.body()
    status = 415 if body.startswith(b"no") else 200
    headers = {"X-Request-ID": request.headers["X-Request-ID"]}
    await Response(body[::-1], status, headers)(scope, receive, send)


@pytest.mark.long
@pytest.mark.skipif(not available(), reason="wrk is not installed")
def test_a_load_tells_right_answers_from_wrong_ones_and_refusals() -> None:
    images = [Sample(b"abc", b"cba"), Sample(b"def", b"abc"), Sample(b"no image", None)]
    with over_http(backwards) as port:
        result = load(f"http://127.0.0.1:{port}", images, connections=2, seconds=5)  # each image has its turn on a busy machine
    by_index = {index: {(a.status, a.right) for a in result.answers if a.index == index} for index in range(3)}
    assert by_index == {0: {(200, True)}, 1: {(200, False)}, 2: {(415, False)}}
    assert min(result.milliseconds()) > 0
    assert result.p99 > 0
    assert 0 < result.cpu_seconds < 2 * result.seconds * (os.cpu_count() or 1)


def test_without_wrk_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="wrk is not installed"):
        load("http://127.0.0.1:1", [], connections=1, seconds=1)
