"""Names of files that clients send, at the limits of what they may send."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.api.body import DEFAULT_NAME
from app.api.job_upload import MOST_FILES, JobUpload, _Form
from app.serving.results import distinct_names

LONG = "\U0001f600" * 251 + ".jpg"


def seconds(names: list[str]) -> float:
    start = time.perf_counter()
    assert len(set(distinct_names(names))) == len(names)
    return time.perf_counter() - start


@pytest.mark.parametrize("numbered", [0, 2])
def test_the_time_to_tell_equal_names_apart_grows_with_their_number(numbered: int) -> None:
    def names(count: int) -> list[str]:
        return [LONG] * (count // 2) + [f"{LONG[:-4]} ({number}).jpg" if numbered else LONG for number in range(count // 2)]

    assert seconds(names(MOST_FILES)) <= 25 * min(seconds(names(MOST_FILES // 10)) for _ in range(3))


def form(folder: Path, name: bytes) -> list[str]:
    upload = JobUpload([], [])
    parts = b'--B\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\na\r\n--B--\r\n' % name
    _Form(b"B", folder, upload).write(parts)
    return upload.names


@pytest.mark.parametrize(
    ("name", "expected"),
    [(b"x/a.png", "a.png"), (rb"C:\x\a.png", "a.png"), (b"a" * 4000, "a" * 255), (b"x/", DEFAULT_NAME)],
)
def test_a_name_has_no_folder_and_at_most_255_characters(tmp_path: Path, name: bytes, expected: str) -> None:
    (tmp_path / "work").mkdir()
    assert form(tmp_path, name) == [expected]


def test_the_time_to_read_a_name_grows_with_its_length(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()

    def part_seconds(length: int) -> float:
        start = time.perf_counter()
        form(tmp_path, b"a" * length)
        return time.perf_counter() - start

    assert min(part_seconds(4000) for _ in range(5)) <= 25 * min(part_seconds(400) for _ in range(5))
