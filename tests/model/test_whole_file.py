"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.whole_file import whole_file


@pytest.mark.parametrize("own", [None, "own"])
def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path: Path, own: str | None) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"former")
    with whole_file(target, tmp_path / own if own else None) as partial:
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"former"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"new")]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_the_former_file_stays_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"former")

    def write_half() -> None:
        with whole_file(target) as partial:
            partial.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"former")]


def test_a_block_that_ends_before_it_writes_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), whole_file(tmp_path / "file"):
        raise ValueError("early")
    assert not list(tmp_path.iterdir())
