"""Appends lines to a file, or to numbered objects of a store, so that a killed process loses few of them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from cli.places import join, names_below, read_whole, remove, write_whole
from cli.stores import is_url
from model.whole_file import open_descriptor

PART_LINES, PART_S = 1000, 30.0  # most lines, and most seconds between two parts: a store writes objects whole


class LineFile:
    """Appends lines to a file and flushes each one. Below a URL, it writes objects of many lines. For one thread.

    If an earlier process has left an incomplete last line, this ends it with a line feed. Raises `OSError`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: BinaryIO | None = None
        self._pending: list[bytes] = []
        self._part, self._since = 0, time.monotonic()
        self._run = secrets.token_hex(4)

    def append(self, line: str) -> bool:
        """Adds a line. Returns whether this call wrote it, with all lines before it, to the file or store."""
        self._pending.append(line.encode() + b"\n")
        full = len(self._pending) >= PART_LINES or time.monotonic() - self._since > PART_S
        if is_url(self._name) and not full:
            return False
        self.flush()
        return True

    def open(self) -> None:
        """Opens the file, which else the first line does, so that a name that cannot be written is known early."""
        if not is_url(self._name):
            self._file = self._file or _open(self._name)

    def flush(self) -> None:
        """Writes the pending lines."""
        data, self._since = b"".join(self._pending), time.monotonic()
        if data and is_url(self._name):
            stem, ending = os.path.splitext(self._name)
            write_whole(f"{stem}/part-{self._run}-{self._part:05}{ending}", data)
            self._part += 1
        elif data:
            self.open()
            assert self._file is not None
            self._file.write(data)
            self._file.flush()
        self._pending.clear()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            if self._file:
                self._file.close()


def part_names(name: str) -> list[str]:
    """The file of a `LineFile`, or its objects below a URL, as far as they exist."""
    if is_url(name):
        folder = os.path.splitext(name)[0]
        return [join(folder, part) for part in names_below(folder)]
    return [name] if os.path.exists(name) else []


def read_lines(names: Iterable[str]) -> Iterator[bytes]:
    """The lines of these files or objects. The last line of each may be incomplete. Raises `OSError`."""
    for name in names:
        if is_url(name):
            yield from read_whole(name)[0].splitlines()
        else:
            with open(name, "rb") as lines:
                yield from lines


def remove_lines(name: str) -> None:
    """Removes the lines of a `LineFile`: the objects below a URL; a file becomes empty, so that links and permissions stay."""
    if not is_url(name):
        if _is_appended(name):
            os.truncate(name, 0)
        return
    for part in part_names(name):
        with suppress(FileNotFoundError):
            remove(part)


def _is_appended(name: str) -> bool:
    """Whether lines are appended to a regular file, and not written to a pipe, a device or an open descriptor."""
    return os.path.isfile(name) and open_descriptor(name) is None


def _open(name: str) -> BinaryIO:
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    if (descriptor := open_descriptor(name)) is not None:
        return open(os.dup(descriptor), "wb")
    if os.path.exists(name) and not _is_appended(name):
        return open(name, "wb")
    file = open(name, "ab+")  # noqa: SIM115 (closed by `LineFile.close`)
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file
