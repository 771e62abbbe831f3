"""Regular files are read whole; pipes, devices and the system's files neither block nor fill the memory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from common.regular_file import MOST_BYTES, read_regular_file


def test_a_file_is_read_whole_and_through_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular_file(tmp_path / "file") == read_regular_file(tmp_path / "link") == b"abc"


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/null", "/dev/tty"])
def test_a_link_to_a_pipe_without_a_writer_or_to_a_device_is_refused(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(OSError, match="not a regular file"):
        read_regular_file(tmp_path / "link")


@pytest.mark.parametrize("file", ["/proc/kmsg", "/proc/self/pagemap", "/proc/kcore"])
def test_a_file_of_the_system_s_has_no_bytes_or_is_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / "link").symlink_to(file)
    with suppress(OSError):  # another user than root may not open it
        assert read_regular_file(tmp_path / "link") == b""


def test_a_folder_and_a_missing_file_are_told_as_the_system_does(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_regular_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular_file(tmp_path / "none")


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(OSError, match="at most"):
        read_regular_file(tmp_path / "sparse")
