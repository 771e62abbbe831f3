"""What a worker and its parent exchange about an image, and the parsers of a worker's frames, which an attacker may control."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from imaging.decoding import Limits
from model.inference.processes.frames import INLINE_BYTES, WorkerBroken, anonymous_file, read_file, write_file
from model.inference.runtime import Tile
from model.inference.segmenter import Options
from model.inference.tiling import Size, check_tile


@dataclass(eq=False)
class Body:
    """Bytes of an image file or of an answer.

    Up to `INLINE_BYTES` are in memory; larger files are in an anonymous file. `close` frees both.
    """

    data: bytes = b""
    descriptor: int | None = None
    length: int = 0

    @classmethod
    def of(cls, data: bytes) -> Body:
        if len(data) <= INLINE_BYTES:
            return cls(data, None, len(data))
        descriptor = anonymous_file()
        try:
            write_file(descriptor, data)
        except OSError:
            os.close(descriptor)
            raise
        return cls(b"", descriptor, len(data))

    @property
    def open(self) -> bool:
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


@dataclass(frozen=True)
class Image:
    """An image to segment. gzip: whether to compress a JSON answer. about: the request's fields for log lines."""

    body: Body
    options: Options
    limits: Limits
    gzip: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerPlan:
    """A worker's plan for an image.

    size: (height, width) of the upright image. tile_count: tiles of all views. bytes: of memory that the work needs besides
    the file's own bytes. decode_seconds: the limit on processor time for decoding. sha256: of the file.
    """

    size: Size
    tile_count: int
    bytes: int
    decode_seconds: float
    sha256: str

    @property
    def megapixels(self) -> float:
        return self.size[0] * self.size[1] / 1e6


@dataclass(frozen=True)
class WorkerAnswer:
    """An answer's bytes, their content encoding (`gzip` or empty), and the seconds of `decode`, `inference` and `encode`.

    counts and mean_confidence: as in `Output`.
    """

    body: Body
    encoding: str
    seconds: dict[str, float]
    counts: tuple[int, ...]
    mean_confidence: float | None


def parse_plan(head: Mapping[str, Any]) -> WorkerPlan:
    """Parses a worker's plan; raises `WorkerBroken` for an invalid one."""
    try:
        height, width = (int(side) for side in head["size"])
        if not isfinite(head["decode_seconds"]):
            raise ValueError(f"{head['decode_seconds']} seconds")
        return WorkerPlan(
            size=(height, width),
            tile_count=int(head["tiles"]),
            bytes=int(head["bytes"]),
            decode_seconds=float(head["decode_seconds"]),
            sha256=str(head["sha256"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WorkerBroken(f"a worker sent an invalid plan: {error}") from error


def parse_tile(head: Mapping[str, Any], payload: memoryview) -> Tile:
    """Parses a worker's tile; raises `WorkerBroken` for an invalid one."""
    try:
        tile = np.frombuffer(payload, np.uint8).reshape(head["shape"])
        height, width, channels = tile.shape
        check_tile((height, width))
        if channels != 3:
            raise ValueError(f"a tile has 3 channels, got {channels}")
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise WorkerBroken(f"a worker sent an invalid tile: {error}") from error
    return tile


def parse_answer(head: Mapping[str, Any], payload: memoryview, answer_file: int, size: Size) -> WorkerAnswer:
    """Parses a worker's answer for an image of this (height, width); raises `WorkerBroken` for an invalid one.

    The answer's bytes are in the frame or in the file.
    """
    try:
        length = os.fstat(answer_file).st_size
        body = Body(bytes(payload), None, len(payload)) if payload else Body(b"", answer_file, length)
        seconds = {stage: float(head["seconds"][stage]) for stage in ("decode", "inference", "encode")}
        if not all(map(isfinite, seconds.values())):
            raise ValueError(f"seconds of {seconds}")
        counts = tuple(int(pixels) for pixels in head["counts"])
        if min(counts) < 0 or sum(counts) != size[0] * size[1]:
            raise ValueError(f"counts of {sum(counts)} pixels for an image of {size[1]}x{size[0]}")
        confidence = head["mean_confidence"]
        if confidence is not None and not 0 <= confidence <= 1:
            raise ValueError(f"a mean confidence of {confidence}")
        return WorkerAnswer(body, "gzip" if head["encoding"] else "", seconds, counts, confidence)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WorkerBroken(f"a worker sent an invalid answer: {error}") from error
