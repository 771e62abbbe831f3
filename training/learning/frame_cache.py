"""A cache of decoded frames that a training and its loader's worker processes share."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from common.arrays import Pixels

FILLED_FLAG = b"\1"
OPEN_FILES = Path("/proc/self/fd")  # Linux has it


class FrameCache:
    """Keeps frames in a temporary file. The process that makes the cache owns the file; pickled copies in others open it.

    The file is deleted with the original object. On Linux it has no name: other processes open it through `/proc`, and nothing
    is left behind if its owner is killed.

    sizes: bytes of each frame. limit: bytes of the file. The file begins with one byte for each frame, which says whether the
    frame is there. Then each frame has a fixed place, in the order of `sizes`; frames whose place would end beyond the limit
    are never kept. There are no locks. A frame's byte is written after the frame, so a reader sees a whole frame or none. Two
    processes may write a frame at the same time, because both write the same bytes. When the disk is full, further frames are
    not kept.
    """

    def __init__(self, sizes: Sequence[int], limit: int) -> None:
        self._sizes = sizes
        self._places: dict[int, int] = {}
        end = len(sizes)
        for index, size in enumerate(sizes):
            if end + size <= limit:
                self._places[index] = end
                end += size
        if OPEN_FILES.is_dir():
            file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # the finalizer closes it
            self._path = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        else:
            file = tempfile.NamedTemporaryFile(prefix="fcn-train-", suffix=".frames")  # noqa: SIM115
            self._path = Path(file.name)
        try:
            file.truncate(end)
        except OSError:  # the system allows no file of this size
            self._places.clear()
        weakref.finalize(self, file.close)

    def read(self, index: int) -> Pixels | None:
        """The bytes of a frame, uint8 (n,); None if the cache does not have it."""
        if index not in self._places:
            return None
        frame = np.empty(self._sizes[index], np.uint8)
        try:
            with self._path.open("rb", buffering=0) as file:
                file.seek(index)
                if file.read(1) != FILLED_FLAG:
                    return None
                file.seek(self._places[index])
                return frame if file.readinto(frame.data) == len(frame) else None
        except OSError:  # the process that made the file has ended
            return None

    def write(self, index: int, frame: Pixels) -> None:
        """Keeps a frame if it has a place, and the size that its place was made for."""
        if index not in self._places or len(frame) != self._sizes[index]:
            return
        try:
            with self._path.open("r+b", buffering=0) as file:
                file.seek(self._places[index])
                if file.write(frame.data) == len(frame):
                    file.seek(index)
                    file.write(FILLED_FLAG)
        except OSError:  # no room on the disk
            return
