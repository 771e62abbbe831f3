"""Answers of workers, which an attacker may have written."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from model.inference.plan import Options
from model.inference.processes.blob import Blob, anonymous_file
from model.inference.processes.protocol import WorkerBroken, WorkerPlan, parse_answer

NAMES = ("sky", "cat", "dog")
PLAN = WorkerPlan((2, 3), (), Options(), bytes=1000, decode_seconds=1, sha256="", class_names=NAMES)
HEAD: dict[str, Any] = {
    "kind": "answer",
    "encoding": "",
    "seconds": {"decode": 0.1, "inference": 0.2, "encode": 0.1},
    "counts": [5, 0, 1],
    "mean_confidence": 0.5,
    "box": [1, 0, 2, 1],
    "object_pixels": 5,
    "remark": "",
}
MISSING = object()


@pytest.fixture
def answer_file() -> Iterator[Blob]:
    file = Blob(b"", anonymous_file())
    yield file
    file.close()


def descriptor_of(file: Blob) -> int:
    assert file.descriptor is not None
    return file.descriptor


@pytest.mark.parametrize("confidence", [None, 0, 1.0, 0.25])
def test_a_worker_s_facts_are_read(answer_file: Blob, confidence: float | None) -> None:
    answer = parse_answer(HEAD | {"mean_confidence": confidence}, memoryview(b"mask"), answer_file, PLAN)
    assert (answer.body.data, answer.encoding, answer.seconds) == (b"mask", "", HEAD["seconds"])
    assert (answer.counts, answer.mean_confidence) == ({"sky": 5, "cat": 0, "dog": 1}, confidence)
    assert answer.shares == {"sky": 0.833333, "dog": 0.166667}
    assert (answer.box, answer.object_pixels) == ((1, 0, 2, 1), 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", [5, 0, 2]), ("counts", [8, -2]), ("counts", []), ("counts", 6), ("counts", None), ("counts", ["x"]),
        ("counts", [float("nan")]), ("mean_confidence", 1.5), ("mean_confidence", -0.1), ("mean_confidence", float("nan")),
        ("mean_confidence", "0.5"), ("seconds", {}), ("counts", [5.0, 1.0]), ("counts", ["5", "1"]),
        ("counts", [True, 5]), ("counts", [0] * 300 + [6]), ("counts", [10**400, -(10**400) + 6]), ("mean_confidence", True),
        ("box", [1, 2, 3]), ("box", [-1, 0, 1, 1]), ("box", "none"), ("box", [0, 0, 1, 1.5]),
        ("counts", [5, 1]), ("counts", [5, 0, 1, 0]), ("box", [0, 0, 4, 1]), ("box", [2, 1, 1, 2]), ("box", [3, 0, 1, 1]),
        ("box", [0, 0, 0, 1]), ("box", [0, 0, 1, 1, 1]), ("box", {"a": 1, "b": 1, "c": 1, "d": 1}), ("box", 4),
        ("object_pixels", 7), ("object_pixels", -1), ("object_pixels", True), ("object_pixels", "5"),
        ("remark", "a\r\nb"), ("remark", "\u00e9"), ("remark", None),
        ("encoding", "br"), ("encoding", None), ("seconds", HEAD["seconds"] | {"decode": -1.0}),
        ("seconds", HEAD["seconds"] | {"decode": "1"}), ("seconds", HEAD["seconds"] | {"decode": 1e300}),
        ("seconds", HEAD["seconds"] | {"decode": 10**400}), ("seconds", HEAD["seconds"] | {"decode": float("inf")}),
        *((name, MISSING) for name in HEAD if name != "kind"),
    ],
)  # fmt: skip
def test_facts_that_cannot_be_or_are_missing_are_refused(answer_file: Blob, name: str, value: Any) -> None:
    head = {key: fact for key, fact in (HEAD | {name: value}).items() if fact is not MISSING}
    with pytest.raises(WorkerBroken):
        parse_answer(head, memoryview(b"mask"), answer_file, PLAN)


@pytest.mark.parametrize("length", [0, PLAN.bytes + 1, 1 << 40])
def test_an_answer_s_file_is_no_longer_than_its_plan_allows(answer_file: Blob, length: int) -> None:
    os.ftruncate(descriptor_of(answer_file), length)
    with pytest.raises(WorkerBroken, match="expected an integer from 1 to 1000"):
        parse_answer(HEAD, memoryview(b""), answer_file, PLAN)


@pytest.mark.skipif(sys.platform != "linux", reason="files are sealed on Linux alone")
def test_nobody_can_change_an_answer_s_file_once_it_is_accepted(answer_file: Blob) -> None:
    os.pwrite(descriptor_of(answer_file), b"mask", 0)
    worker_s_copy = os.dup(descriptor_of(answer_file))
    body = parse_answer(HEAD, memoryview(b""), answer_file, PLAN).body
    for change in (lambda: os.pwrite(worker_s_copy, b"x", 0), lambda: os.ftruncate(worker_s_copy, 2)):
        with pytest.raises(PermissionError):
            change()
    assert body.read(body.length) == b"mask"
    os.close(worker_s_copy)


@pytest.mark.skipif(sys.platform != "linux", reason="files are sealed on Linux alone")
def test_a_file_that_a_worker_can_still_change_is_no_answer(answer_file: Blob) -> None:
    os.pwrite(descriptor_of(answer_file), b"mask", 0)
    with mmap.mmap(descriptor_of(answer_file), 4), pytest.raises(WorkerBroken):
        parse_answer(HEAD, memoryview(b""), answer_file, PLAN)
