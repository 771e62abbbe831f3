"""The working file of a scene: rows of classes, appended as they are finished, so that a killed run loses one band of rows.

The file begins with a line of JSON that says what the rows depend on. Each record is a header (row, number of rows, bytes,
crc32) and the compressed bytes: class ids, then confidences where there are some. A torn record at the end is cut off.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from model.inference.scenes import ClassRows
from model.inference.tiling import Size

HEADER = struct.Struct("<QIQI")
LEVEL = 1  # of zlib: class maps become a fiftieth at every level
ENDING = ".rows"


class RowsFile:
    """The finished rows of a scene of `size` (height, width). Use it in a `with` statement.

    path: of the file. key: what the rows depend on. resume: whether to go on with the rows that are there. Raises `OSError` if
    these have another key. span: the first row, and the row after the last; by default all. next_row: the first row that is not
    there yet.
    """

    def __init__(
        self, path: Path, key: str, size: Size, *, confidence: bool, resume: bool, span: tuple[int, int] | None = None
    ) -> None:
        self.first, self.last = span or (0, size[0])
        self.path, self.size, self.next_row = path, size, self.first
        self._planes = 2 if confidence else 1
        facts = {"key": key, "size": size, "planes": self._planes, "span": [self.first, self.last]}
        self._head = f"{json.dumps(facts)}\n".encode()
        if resume and path.exists():
            self._file: IO[bytes] = path.open("r+b")
            try:
                self._read_state()
            except BaseException:
                self._file.close()
                raise
        else:
            self._file = path.open("w+b")
            self._file.write(self._head)
            self._file.flush()

    def __enter__(self) -> RowsFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def is_complete(self) -> bool:
        return self.next_row == self.last

    def append(self, rows: ClassRows) -> None:
        """Adds the next rows. After an `OSError`, such as for lack of room, the file ends with the rows before them."""
        if rows.top != self.next_row:
            raise ValueError(f"row {self.next_row} is next, got {rows.top}")
        planes = [rows.ids] if rows.confidence is None else [rows.ids, rows.confidence]
        body = zlib.compress(b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes), LEVEL)
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(HEADER.pack(rows.top, len(rows.ids), len(body), zlib.crc32(body)) + body)
            self._file.flush()
        except OSError as error:
            self._file = self._reopened(end)
            raise OSError(error.errno or errno.EIO, error.strerror, str(self.path)) from error
        self.next_row = rows.bottom

    def __iter__(self) -> Iterator[ClassRows]:
        """The finished rows, in the pieces in which they were added. Raises `OSError` if the file is damaged."""
        width = self.size[1]
        with self.path.open("rb") as file:
            file.readline()
            row = self.first
            while row < self.next_row:
                record = _read_record(file, row)
                if record is None:
                    raise OSError(f"{self.path} is damaged at row {row}; remove it and begin again")
                count, body = record
                planes = np.frombuffer(zlib.decompress(body), np.uint8).reshape(self._planes, count, width)
                yield ClassRows(row, planes[0], planes[1] if self._planes > 1 else None)
                row += count

    def remove(self) -> None:
        """Removes the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _read_state(self) -> None:
        """Finds the next row and cuts a torn record off."""
        head = self._file.readline()
        if head != self._head:
            raise OSError(
                f"{self.path} is of a run with another scene, other options, weights or version; leave --resume out to begin "
                "again, or remove it"
            )
        end = self._file.tell()
        while (record := _read_record(self._file, self.next_row)) is not None:
            self.next_row += record[0]
            end = self._file.tell()
        self._file.truncate(end)

    def _reopened(self, end: int) -> IO[bytes]:
        """Opens the file anew, cut to this many bytes, and drops what could not be written."""
        with suppress(OSError):
            self._file.close()
        os.truncate(self.path, end)
        return self.path.open("r+b")


def _read_record(file: IO[bytes], row: int) -> tuple[int, bytes] | None:
    """The number of rows and the compressed bytes of the record of this row; None if it is torn or not there."""
    head = file.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    top, count, length, crc = HEADER.unpack(head)
    body = file.read(length)
    return (count, body) if top == row and len(body) == length and zlib.crc32(body) == crc else None
