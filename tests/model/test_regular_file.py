"""Regular files alone are read: nothing that can wait for ever."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from model.regular_file import NotRegular, read_regular


def test_a_file_and_a_link_to_it_give_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == read_regular(str(tmp_path / "link")) == b"content"


@pytest.mark.parametrize("name", ["pipe", "folder", "socket", "device"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_named_and_not_opened(tmp_path: Path, name: str, linked: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
        (tmp_path / "link").symlink_to(name)
        with pytest.raises(NotRegular, match=f"but a {name}"):
            read_regular(tmp_path / ("link" if linked else name))


def test_a_file_of_the_kernel_that_says_no_size_is_empty(tmp_path: Path) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("no /proc")
    (tmp_path / "link").symlink_to("/proc/self/status")
    assert (tmp_path / "link").read_bytes()
    assert read_regular(tmp_path / "link") == b""


def test_more_bytes_than_allowed_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match=r"has 1,099,512 MB; at most 1 MB"):
        read_regular(tmp_path / "file", 1_000_000)


def test_a_missing_file_and_a_circle_of_links_are_errors(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "circle")
