"""The working file of a scene: rows of classes, appended as they are finished, so that a killed run loses one band of rows.

The file begins with a line of JSON that says what the rows depend on. Each record is a header (row, number of rows, bytes,
crc32) and the compressed bytes: class ids, then confidences where there are some. A torn record at the end is cut off. Others
may have changed the file: no record takes more memory than the scene's rows, and one that no run writes is an error.
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

import numpy as np

from common.arrays import Size
from common.whole_file import refuse_link
from imaging.classes import VOID
from model.inference.scenes.rows import ClassRows

HEADER = struct.Struct("<QIQI")
LEVEL = 1  # of zlib: class maps become a fiftieth at every level
ENDING = ".rows"
Span = tuple[int, int]


class RowsFile:
    """The finished rows of a scene of `size` (height, width). Use it in a `with` statement.

    path: of the file. key: what the rows depend on. resume: whether to go on with the rows that are there. Raises `OSError` if
    these have another key, if the file is damaged, and for a link. span: the first row, and the row after the last; by default
    all. classes: how many the network has. next_row: the first row that is not there yet.
    """

    def __init__(
        self, path: Path, key: str, size: Size, classes: int = VOID, *, confidence: bool, resume: bool, span: Span | None = None
    ) -> None:
        self.first, self.last = span or (0, size[0])
        self.path, self.size, self.next_row = path, size, self.first
        self._planes, self._classes = 2 if confidence else 1, classes
        facts = {"key": key, "size": size, "planes": self._planes, "span": [self.first, self.last]}
        self._head = f"{json.dumps(facts)}\n".encode()
        refuse_link(path)
        if resume and path.is_file():
            self._file = path.open("r+b", buffering=0)
            try:
                self._read_state()
            except BaseException:
                self._file.close()
                raise
        else:
            path.unlink(missing_ok=True)
            self._file = path.open("x+b", buffering=0)
            self._file.write(self._head)

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
        record = memoryview(HEADER.pack(rows.top, len(rows.ids), len(body), zlib.crc32(body)) + body)
        end = self._file.seek(0, os.SEEK_END)
        try:
            while record:  # the system may write a part, and say at the next one that there is no room
                record = record[self._file.write(record) :]
        except OSError as error:
            self._file.truncate(end)
            raise OSError(error.errno or errno.EIO, error.strerror, str(self.path)) from error
        self.next_row = rows.bottom

    def __iter__(self) -> Iterator[ClassRows]:
        """The finished rows, in the pieces in which they were added. Raises `OSError` if the file is damaged.

        They are those of this run, also if another one has begun a file of the same path.
        """
        self._file.seek(len(self._head))
        row = self.first
        while row < self.next_row:
            if (rows := self._read_record(row)) is None:
                raise self._damage(row)
            yield rows
            row = rows.bottom

    def remove(self) -> None:
        """Removes the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _read_state(self) -> None:
        """Finds the next row and cuts a torn record off."""
        head = self._file.readline(len(self._head) + 1)
        if head != self._head:
            raise OSError(
                f"{self.path} is of a run with another scene, other options, weights or version; leave --resume out to begin "
                "again, or remove it"
            )
        end = self._file.tell()
        while (rows := self._read_record(self.next_row)) is not None:
            self.next_row = rows.bottom
            end = self._file.tell()
        self._file.truncate(end)

    def _read_record(self, row: int) -> ClassRows | None:
        """The rows of the record that begins with this row; None if it is torn or not there.

        Raises `OSError` for a record that is whole, and that no run has written.
        """
        head = self._file.read(HEADER.size)
        top, count, length, crc = HEADER.unpack(head.ljust(HEADER.size, b"\0"))
        if len(head) < HEADER.size or top != row:
            return None
        most = self._planes * count * self.size[1]
        if not 0 < count <= self.last - row or length > 2 * most + HEADER.size:
            raise self._damage(row)
        body = self._file.read(length)
        if len(body) < length or zlib.crc32(body) != crc:
            return None
        inflater, pixels = zlib.decompressobj(), b""
        with suppress(zlib.error):
            pixels = inflater.decompress(body, most + 1)
        if len(pixels) == most and inflater.eof:
            planes = np.frombuffer(pixels, np.uint8).reshape(self._planes, count, self.size[1])
            if ((planes[0] < self._classes) | (planes[0] == VOID)).all():
                return ClassRows(row, planes[0], planes[1] if self._planes > 1 else None)
        raise self._damage(row)

    def _damage(self, row: int) -> OSError:
        return OSError(f"{self.path} is damaged at row {row}; remove it and begin again")
