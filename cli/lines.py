"""Appends lines to a file, or to numbered objects of a store, so that a killed process loses few of them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from cli.places import join, names_below, read_whole, remove, write_whole
from cli.stores import is_url

PART_LINES, PART_S = 1000, 30.0  # of an object, which can only be written whole


class LineFile:
    """Lines of a file that is appended to and flushed at each line; below a URL, of objects that are parts. For one thread.

    A line that an earlier process has left torn is ended first. Raises `OSError`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._file: BinaryIO | None = None
        self._waiting: list[bytes] = []
        self._part, self._since = 0, time.monotonic()
        self._run = secrets.token_hex(4)

    def append(self, line: str) -> bool:
        """Writes a line. Whether it and all before it would survive the end of this process."""
        self._waiting.append(line.encode() + b"\n")
        full = len(self._waiting) >= PART_LINES or time.monotonic() - self._since > PART_S
        if is_url(self._name) and not full:
            return False
        self.flush()
        return True

    def flush(self) -> None:
        """Writes the lines that wait."""
        data, self._since = b"".join(self._waiting), time.monotonic()
        if data and is_url(self._name):
            stem, ending = os.path.splitext(self._name)
            write_whole(f"{stem}/part-{self._run}-{self._part:05}{ending}", data)
            self._part += 1
        elif data:
            self._file = self._file or _opened(self._name)
            self._file.write(data)
            self._file.flush()
        self._waiting.clear()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            if self._file:
                self._file.close()


def read_lines(folder: str) -> Iterator[bytes]:
    """The lines of all files and parts below a folder, in the order of their names. The last may be torn."""
    for name in names_below(folder):
        with suppress(FileNotFoundError):  # another shard may remove what it no longer needs
            if is_url(folder):
                yield from read_whole(join(folder, name))[0].splitlines()
            else:
                with open(join(folder, name), "rb") as lines:
                    yield from lines


def remove_lines(name: str) -> None:
    """Removes a `LineFile`."""
    folder = os.path.splitext(name)[0]
    for each in [join(folder, part) for part in names_below(folder)] if is_url(name) else [name]:
        with suppress(FileNotFoundError):
            remove(each)


def _opened(name: str) -> BinaryIO:
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    file = open(name, "ab+")  # noqa: SIM115 (closed by `LineFile.close`)
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file
