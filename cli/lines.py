"""Appends lines to a file, or to numbered objects of a store, so that a killed process loses few of them."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from cli.places import join, names_below, read_whole, remove, write_whole
from cli.stores import is_url
from common.whole_file import open_descriptor

PART = re.compile(r"part-[0-9a-f]{8}-\d{5,}\.[^/]+$")
PART_LINES, PART_S = 1000, 30.0  # most lines, and most seconds between two parts: a store writes objects whole


class LineFile:
    """Appends lines to a file and flushes each one. Below a URL, it writes objects of many lines. For one thread.

    If an earlier process has left an incomplete last line, this ends it with a line feed. With `fresh`, which is for a path,
    the first line, or `close` without one, removes those that are there. Raises `OSError`.
    """

    def __init__(self, name: str, *, fresh: bool = False) -> None:
        self._name, self._fresh = name, fresh
        self._file: BinaryIO | None = None
        self._lines: list[bytes] = []
        self._part, self._since = 0, time.monotonic()
        self._run = secrets.token_hex(4)

    def append(self, line: str) -> None:
        """Adds a line, or several with line feeds between."""
        self._lines.append(line.encode() + b"\n")
        if not is_url(self._name) or len(self._lines) >= PART_LINES or time.monotonic() - self._since > PART_S:
            self.flush()

    def flush(self) -> None:
        """Writes the pending lines."""
        data, self._since = b"".join(self._lines), time.monotonic()
        if data and is_url(self._name):
            stem, ending = os.path.splitext(self._name)
            write_whole(f"{stem}/part-{self._run}-{self._part:05}{ending}", data)
            self._part += 1
        elif data:
            self._file = self._file or self._open()
            self._file.write(data)
            self._file.flush()
        self._lines.clear()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            if self._file:
                self._file.close()
            elif self._fresh:
                remove_lines(self._name)

    def _open(self) -> BinaryIO:
        name = self._name
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        if (descriptor := open_descriptor(name)) is not None:
            return open(os.dup(descriptor), "wb")
        if self._fresh or (os.path.exists(name) and not os.path.isfile(name)):
            return open(name, "wb")
        file = open(name, "ab+")  # noqa: SIM115 (closed by `close`)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        return file


def part_names(name: str) -> list[str]:
    """The file of a `LineFile`, or its objects below a URL, as far as they exist."""
    if is_url(name):
        folder = os.path.splitext(name)[0]
        return [join(folder, part) for part in names_below(folder) if PART.match(part)]
    return [name] if os.path.isfile(name) else []


def read_lines(names: Iterable[str]) -> Iterator[bytes]:
    """The lines of these files or objects. The last line of each may be incomplete. Raises `OSError`."""
    for name in names:
        if is_url(name):
            yield from read_whole(name)[0].splitlines()
        else:
            with open(name, "rb") as lines:
                yield from lines


def remove_lines(name: str) -> None:
    """Removes the file or the objects of a `LineFile`. A link, a pipe, a device and an open descriptor stay."""
    if not is_url(name) and os.path.islink(name) and os.path.isfile(name) and open_descriptor(name) is None:
        os.truncate(name, 0)
    elif is_url(name) or (os.path.isfile(name) and not os.path.islink(name)):
        for part in part_names(name):
            with suppress(FileNotFoundError):
                remove(part)
