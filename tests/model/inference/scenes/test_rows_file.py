"""The working file of a scene: what was appended is there after any end, and nothing else."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from model.inference.scenes.rows import ClassRows
from model.inference.scenes.rows_file import HEADER, RowsFile
from tests.support.disks import disk_for_files_of

SIZE = (30, 50)
RNG = np.random.default_rng(0)
PARTS = [
    ClassRows(top, RNG.integers(0, 5, (10, 50), np.uint8), RNG.integers(0, 256, (10, 50), np.uint8)) for top in (0, 10, 20)
]


def opened(path: Path, *, resume: bool = True, key: str = "k", confidence: bool = True) -> RowsFile:
    return RowsFile(path, key, SIZE, confidence=confidence, resume=resume)


def same(rows: RowsFile, count: int) -> None:
    parts = list(rows)
    assert len(parts) == count
    for part, expected in zip(parts, PARTS, strict=False):
        assert part.top == expected.top
        assert (part.ids == expected.ids).all()
        np.testing.assert_array_equal(part.confidence, expected.confidence)


def written(path: Path, parts: Sequence[ClassRows] = PARTS) -> bytes:
    """A new file with these rows."""
    with opened(path, resume=False) as rows:
        for part in parts:
            rows.append(part)
    return path.read_bytes()


def test_a_run_reads_its_own_rows_while_another_begins_at_the_same_path(tmp_path: Path) -> None:
    path = tmp_path / "a.rows"
    written(path)
    with opened(path) as rows, opened(path, resume=False, key="other") as others:
        for part in PARTS:
            others.append(ClassRows(part.top, np.zeros_like(part.ids), part.confidence))
        same(rows, 3)
        assert not any(part.ids.any() for part in others)


def test_rows_are_there_again_wherever_the_file_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "a.rows"
    ends = []
    with opened(path, resume=False) as rows:
        ends.append(path.stat().st_size)
        for part in PARTS:
            assert not rows.is_complete
            rows.append(part)
            ends.append(path.stat().st_size)
        assert rows.is_complete
        same(rows, 3)
    data = path.read_bytes()
    for length in range(ends[0], len(data) + 1, 7):
        path.write_bytes(data[:length])
        with opened(path) as rows:
            count = sum(end <= length for end in ends[1:])
            assert rows.next_row == 10 * count
            same(rows, count)
            for part in PARTS[count:]:
                rows.append(part)
        assert path.read_bytes() == data


def test_damage_in_a_record_ends_what_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.rows"
    first = len(written(path, PARTS[:1]))
    data = bytearray(written(path, PARTS[:2]))
    data[first + 40] ^= 255
    path.write_bytes(data)
    with opened(path) as rows:
        assert rows.next_row == 10


def record(top: int, count: int, body: bytes) -> bytes:
    return HEADER.pack(top, count, len(body), zlib.crc32(body)) + body


TAMPERED = {
    "rows past the end": record(0, 31, zlib.compress(bytes(31 * 100))),
    "very many rows": record(0, 2**32 - 1, zlib.compress(bytes(100))),
    "no rows": record(0, 0, zlib.compress(b"")),
    "too few bytes": record(0, 10, zlib.compress(bytes(999))),
    "too many bytes": record(0, 10, zlib.compress(bytes(100_000_000))),
    "a length without bytes": HEADER.pack(0, 10, 2**62, 0),
    "no compressed bytes": record(0, 10, b"0123456789"),
    "half a stream": record(0, 10, zlib.compress(bytes(1000))[:-5]),
    "a class that the network lacks": record(0, 10, zlib.compress(bytes([5]) * 500 + bytes(500))),
}


@pytest.mark.parametrize("tampered", TAMPERED)
def test_a_record_that_no_run_writes_is_told_before_the_work(tmp_path: Path, tampered: str) -> None:
    path = tmp_path / "a.rows"
    path.write_bytes(written(path, []) + TAMPERED[tampered])
    with pytest.raises(OSError, match=r"a\.rows is damaged at row 0; remove it and begin again"):
        RowsFile(path, "k", SIZE, 5, confidence=True, resume=True)


def test_void_is_no_class_that_the_network_lacks(tmp_path: Path) -> None:
    part = ClassRows(0, np.full((30, 50), 255, np.uint8), np.zeros((30, 50), np.uint8))
    with RowsFile(tmp_path / "a.rows", "k", SIZE, 5, confidence=True, resume=False) as rows:
        rows.append(part)
        assert (next(iter(rows)).ids == 255).all()


def rows_or_error(path: Path) -> str:
    try:
        with RowsFile(path, "k", SIZE, 5, confidence=True, resume=True) as rows:
            same(rows, rows.next_row // 10)
    except OSError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("seed", range(2))
def test_a_mutated_file_gives_the_same_rows_or_the_error_in_the_memory_of_its_rows(tmp_path: Path, seed: int) -> None:
    path, random = tmp_path / "a.rows", np.random.default_rng(seed)
    good = written(path)
    for _ in range(150):
        data = bytearray(good)
        for place in random.integers(0, len(data), random.integers(1, 4)):
            data[place] = random.integers(0, 256)
        if random.random() < 0.3:
            start = int(random.integers(0, len(data)))
            data[start:] = data[start + int(random.integers(1, 40)) :]
        if random.random() < 0.2:
            data = data.replace(b"\n", b"")
        path.write_bytes(data)
        tracemalloc.start()
        error = rows_or_error(path)
        assert tracemalloc.get_traced_memory()[1] < 300_000
        tracemalloc.stop()
        assert not error or "is damaged at row" in error or "is of a run with another scene" in error


def test_a_line_without_an_end_is_not_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.rows"
    with path.open("wb") as file:
        file.truncate(1 << 28)
    tracemalloc.start()
    with pytest.raises(OSError, match="is of a run with another scene"):
        opened(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_another_file_is_not_written_through_a_link_or_a_second_name(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"former")
    os.link(tmp_path / "real", tmp_path / "a.rows")
    (tmp_path / "link.rows").symlink_to("real")
    with opened(tmp_path / "a.rows", resume=False):
        assert (tmp_path / "real").read_bytes() == b"former"
    for resume in (True, False):
        with pytest.raises(OSError, match=r"link\.rows is a link, and the command keeps files of its own there"):
            opened(tmp_path / "link.rows", resume=resume)
    assert (tmp_path / "real").read_bytes() == b"former"


@pytest.mark.parametrize("other", [{"key": "other"}, {"confidence": False}])
def test_a_file_of_another_run_is_refused(tmp_path: Path, other: dict[str, object]) -> None:
    written(tmp_path / "a.rows", PARTS[:1])
    with pytest.raises(OSError, match="leave --resume out to begin again"):
        opened(tmp_path / "a.rows", **other)  # type: ignore[arg-type]
    with opened(tmp_path / "a.rows", resume=False) as rows:
        assert rows.next_row == 0


def test_without_room_the_rows_before_stay(tmp_path: Path) -> None:
    with opened(tmp_path / "a.rows", resume=False) as rows:
        rows.append(PARTS[0])
        with (
            disk_for_files_of(rows.path.stat().st_size + 100),
            pytest.raises(OSError, match=r"File too large.*a\.rows"),
        ):
            rows.append(PARTS[1])
        same(rows, 1)
        rows.append(PARTS[1])
    with opened(tmp_path / "a.rows") as rows:
        same(rows, 2)
