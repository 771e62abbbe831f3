"""Answers of workers, which an attacker may have written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from model.inference.processes.frames import WorkerBroken, anonymous_file
from model.inference.processes.messages import parse_answer

HEAD = {
    "kind": "answer",
    "encoding": "",
    "seconds": {"decode": 0.1, "inference": 0.2, "encode": 0.1},
    "counts": [5, 0, 1],
    "mean_confidence": 0.5,
}


@pytest.fixture
def answer_file() -> Iterator[int]:
    descriptor = anonymous_file()
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("confidence", [None, 0, 1.0, 0.25])
def test_a_worker_s_facts_are_read(answer_file: int, confidence: float | None) -> None:
    answer = parse_answer(HEAD | {"mean_confidence": confidence}, memoryview(b"mask"), answer_file, (2, 3))
    assert (answer.body.data, answer.encoding, answer.seconds) == (b"mask", "", HEAD["seconds"])
    assert (answer.counts, answer.mean_confidence) == ((5, 0, 1), confidence)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", [5, 0, 2]), ("counts", [8, -2]), ("counts", []), ("counts", 6), ("counts", None), ("counts", ["x"]),
        ("counts", [float("nan")]), ("mean_confidence", 1.5), ("mean_confidence", -0.1), ("mean_confidence", float("nan")),
        ("mean_confidence", "0.5"), ("seconds", {}),
    ],
)  # fmt: skip
def test_facts_that_cannot_be_are_refused(answer_file: int, name: str, value: Any) -> None:
    with pytest.raises(WorkerBroken):
        parse_answer(HEAD | {name: value}, memoryview(b"mask"), answer_file, (2, 3))


@pytest.mark.parametrize("name", ["counts", "mean_confidence", "seconds", "encoding"])
def test_a_fact_that_is_missing_is_refused(answer_file: int, name: str) -> None:
    head = {key: value for key, value in HEAD.items() if key != name}
    with pytest.raises(WorkerBroken):
        parse_answer(head, memoryview(b"mask"), answer_file, (2, 3))
