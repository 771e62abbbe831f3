"""Reads regular files alone, since opening or reading a pipe, a socket or a device can wait for ever."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


class NotRegular(OSError):
    """The name leads to a folder, a pipe, a socket or a device."""


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """Opens a regular file, or what a link leads to, for reading; never waits. Gives the file and its status.

    Read no more bytes than the status says: files of the kernel, such as `/proc/kmsg`, say 0 and can wait for ever. Raises
    `NotRegular`, and `OSError` for a file that cannot be opened.
    """
    _check(os.stat(path))  # before it is opened: to open a device may change its state
    with open(os.open(path, FLAGS), "rb") as file:
        status = os.fstat(file.fileno())
        _check(status)  # again, since another file may have taken the name
        yield file, status


def read_regular(path: str | os.PathLike[str], most_bytes: int | None = None) -> bytes:
    """The bytes of a regular file, as many as its size says. Raises as `open_regular`, and for more than `most_bytes`."""
    with open_regular(path) as (file, status):
        if most_bytes is not None and status.st_size > most_bytes:
            raise OSError(f"it has {status.st_size / 1e6:,.0f} MB; at most {most_bytes / 1e6:,.0f} MB are read")
        return file.read(status.st_size)


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise NotRegular(f"it is no file, but {kind}; give a file")
