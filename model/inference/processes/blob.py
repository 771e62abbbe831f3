"""Bytes of files and answers: in memory or, of large ones, in an anonymous file that processes pass to each other."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from dataclasses import dataclass

INLINE_BYTES = 1 << 20  # larger bodies and answers are passed as files
SEAL_ATTEMPTS = 3  # the system itself may hold a page for a moment, as while it moves it


@dataclass(eq=False)
class Blob:
    """Bytes of an image file or of an answer: in `data`, or in the open file `descriptor`. `close` frees both.

    `of` puts more than `INLINE_BYTES` into an anonymous file.
    """

    data: bytes = b""
    descriptor: int | None = None
    length: int = 0

    @classmethod
    def of(cls, data: bytes) -> Blob:
        if len(data) <= INLINE_BYTES:
            return cls(data, None, len(data))
        descriptor = anonymous_file()
        try:
            write_file(descriptor, data)
            seal(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return cls(b"", descriptor, len(data))

    @property
    def is_open(self) -> bool:
        return self.descriptor is not None or bool(self.data)

    def close(self) -> None:
        self.data, descriptor, self.descriptor = b"", self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def sha256(self) -> str:
        return hashlib.sha256(self.read(self.length)).hexdigest()

    def read(self, count: int, start: int = 0) -> bytes:
        """Up to `count` bytes from the offset `start`."""
        if self.descriptor is None:
            return self.data[start : start + count]
        return read_file(self.descriptor, min(count, self.length - start), start)


def anonymous_file() -> int:
    """A descriptor of an empty file without a name: in memory on Linux, else on disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fcn-segment", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal(descriptor: int) -> None:
    """Makes an `anonymous_file` unchangeable, also for processes that have its descriptor (Linux).

    Raises `OSError` if one of them can still change it: it has mapped it, or has forbidden new seals.
    """
    if hasattr(os, "memfd_create"):
        changes = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        for attempt in range(SEAL_ATTEMPTS):
            try:
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, changes | fcntl.F_SEAL_SEAL)
                return
            except OSError as error:
                if error.errno != errno.EBUSY or attempt == SEAL_ATTEMPTS - 1:
                    raise


def write_file(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all of the data from the start of the file."""
    view, position = memoryview(data), 0
    while position < len(view):
        position += os.pwrite(descriptor, view[position:], position)


def read_file(descriptor: int, count: int, start: int = 0) -> bytes:
    """Up to `count` bytes of the file from the offset `start`."""
    pieces = []
    while count and (piece := os.pread(descriptor, count, start)):
        pieces.append(piece)
        start, count = start + len(piece), count - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
