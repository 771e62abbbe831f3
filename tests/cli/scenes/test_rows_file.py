"""The working file of a scene: what was appended is there after any end, and nothing else."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from cli.scenes.rows_file import RowsFile
from model.inference.scenes import ClassRows

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
        assert part.confidence is not None
        assert expected.confidence is not None
        assert (part.confidence == expected.confidence).all()


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
    with opened(path, resume=False) as rows:
        rows.append(PARTS[0])
        first = path.stat().st_size
        rows.append(PARTS[1])
    data = bytearray(path.read_bytes())
    data[first + 40] ^= 255
    path.write_bytes(data)
    with opened(path) as rows:
        assert rows.next_row == 10


@pytest.mark.parametrize("other", [{"key": "other"}, {"confidence": False}])
def test_a_file_of_another_run_is_refused(tmp_path: Path, other: dict[str, object]) -> None:
    with opened(tmp_path / "a.rows", resume=False) as rows:
        rows.append(PARTS[0])
    with pytest.raises(OSError, match="leave --resume out to begin again"):
        opened(tmp_path / "a.rows", **other)  # type: ignore[arg-type]
    with opened(tmp_path / "a.rows", resume=False) as rows:
        assert rows.next_row == 0


def test_without_room_the_rows_before_stay(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with opened(tmp_path / "a.rows", resume=False) as rows:
            rows.append(PARTS[0])
            resource.setrlimit(resource.RLIMIT_FSIZE, (rows.path.stat().st_size + 100, before[1]))
            with pytest.raises(OSError, match=r"File too large.*a\.rows"):
                rows.append(PARTS[1])
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            same(rows, 1)
            rows.append(PARTS[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    with opened(tmp_path / "a.rows") as rows:
        same(rows, 2)
