"""Reads files of which only the path is known: never a pipe, a device or a file of the system's that blocks or has no end."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

MOST_BYTES = 2 << 30
# opens a pipe without waiting for its writer; systems without it have no such pipes
NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def open_regular_file(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """Opens a regular file, or the one that a link leads to, for reading; gives it with its status.

    Read no more than the status' size says, which is 0 for files such as `/proc/kmsg`. Raises `OSError` for anything that is no
    regular file, and for one of more than `MOST_BYTES`.
    """
    _require_regular(os.stat(path), path)  # before it is opened, which has effects on some devices
    with open(os.open(path, os.O_RDONLY | NO_WAIT), "rb") as file:
        status = os.fstat(file.fileno())
        _require_regular(status, path)
        yield file, status


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file, as many as its size says. Raises as `open_regular_file`."""
    with open_regular_file(path) as (file, status):
        return file.read(status.st_size)


def _require_regular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file, but a pipe or a device", str(path))
    if status.st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, f"{status.st_size:,} bytes; at most {MOST_BYTES:,} are read", str(path))
