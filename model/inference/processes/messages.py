"""What a worker and its parent exchange about an image, and the parsers of a worker's frames, which an attacker may control."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from imaging.cutout import ObjectBox
from imaging.decoding import LONGEST_SIDE, Limits
from model.inference.plan import Options
from model.inference.processes.frames import INLINE_BYTES, WorkerBroken, anonymous_file, read_file, seal, write_file
from model.inference.processes.worker_main import MOST_MESSAGE, decode_seconds, distant_segmenter
from model.inference.runtime import Tile
from model.inference.segmenter import Segmenter
from model.inference.tiling import Size

MOST_BYTES = 1 << 44  # of memory that a plan may ask for; the budget refuses far less
MOST_SECONDS = 86_400.0  # of a stage
SHARE_DIGITS = 6  # of shares and confidence
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(eq=False)
class Body:
    """Bytes of an image file or of an answer: in `data`, or in the open file `descriptor`. `close` frees both.

    `of` puts more than `INLINE_BYTES` into an anonymous file.
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
            seal(descriptor)
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
    the file's own bytes. decode_seconds: the limit on processor time for decoding. sha256: of the file. tile_shapes: (height,
    width) of its tiles. channels: of each tile. class_names: of the network, by id.
    """

    size: Size
    tile_count: int
    bytes: int
    decode_seconds: float
    sha256: str
    tile_shapes: frozenset[Size] = frozenset()
    channels: int = 3
    class_names: tuple[str, ...] = ()

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def megapixels(self) -> float:
        return self.pixels / 1e6


@dataclass(frozen=True)
class Answer:
    """An answer. encoding: of its bytes, `gzip` or empty. size: (height, width) of the image.

    seconds: of the stages `decode`, `inference` and `encode`. counts: pixels of each class of the network, by name. All else as
    in `Output`; mean_confidence has `SHARE_DIGITS` decimals.
    """

    body: Body
    encoding: str
    size: Size
    seconds: dict[str, float]
    counts: dict[str, int]
    mean_confidence: float | None
    box: ObjectBox | None = None
    object_pixels: int | None = None
    remark: str = ""

    @property
    def shares(self) -> dict[str, float]:
        """The share of the pixels, 0 to 1, of each class that is present, before `min_confidence`, by the class's name."""
        return {name: round(pixels / prod(self.size), SHARE_DIGITS) for name, pixels in self.counts.items() if pixels}


def parse_head(head: bytes) -> dict[str, Any]:
    """The JSON document of a worker's frame. Raises `WorkerBroken` if it has no `kind`."""
    try:
        document = json.loads(head)
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise ValueError("it has no kind")
        return document
    except (ValueError, RecursionError) as error:
        raise WorkerBroken(f"a worker sent a message that cannot be read: {error}") from error


def parse_error(head: Mapping[str, Any]) -> tuple[str, str]:
    """Parses a worker's error, its name and its text; raises `WorkerBroken` for an invalid one."""
    with _refuse("an error"):
        return _text(head["type"], 100), _text(head["message"], MOST_MESSAGE)


def most_payload(image: Image, runtime: bytes) -> int:
    """The most bytes of one frame of a worker for this image: a tile's, or those of an answer that needs no file."""
    preprocessing = distant_segmenter(runtime, image.limits).manifest.preprocessing
    tile = image.options.tile or preprocessing.tile
    return max(INLINE_BYTES, preprocessing.channels * tile[0] * tile[1])


def parse_plan(head: Mapping[str, Any], payload: memoryview, image: Image, runtime: bytes) -> WorkerPlan:
    """Parses a worker's plan of this image; raises `WorkerBroken` for one that cannot be.

    runtime: a pickled `DistantRuntime`. The worker says the image's size, which memory the work needs and the file's sha256.
    Of a scene it says the side too, if that follows from its pixels' size on the ground. All else follows from these.
    """
    with _refuse("a plan"):
        _kind(head, "plan")
        if payload:
            raise ValueError(f"a payload of {len(payload)} bytes")
        height, width = (_integer(side, 1, LONGEST_SIDE) for side in head["size"])
        pixels = height * width
        if pixels > image.limits.megapixels * 1e6:
            raise ValueError(f"{width}x{height} pixels, more than {image.limits.megapixels:g} megapixels")
        segmenter = distant_segmenter(runtime, image.limits)
        plan = segmenter.plan_size((height, width), _options(head, image.options, segmenter))
        sha256 = _text(head["sha256"], 64)
        if not SHA256.fullmatch(sha256):
            raise ValueError("a sha256 that is none")
        return WorkerPlan(
            size=plan.size,
            tile_count=plan.tile_count,
            bytes=_integer(head["bytes"], pixels, MOST_BYTES),
            decode_seconds=decode_seconds(plan, segmenter),
            sha256=sha256,
            tile_shapes=frozenset(view.tile_plan.tile for view in plan.views),
            channels=segmenter.channels,
            class_names=tuple(segmenter.manifest.labels.names),
        )


def _options(head: Mapping[str, Any], options: Options, segmenter: Segmenter) -> Options:
    """The request's options, with the side that a worker may choose."""
    side = head["side"]
    if side == options.side:
        return options
    chooses = options.side == "auto" and segmenter.manifest.preprocessing.gsd and segmenter.reads_scene(options.rendering)
    if not chooses:
        raise ValueError(f"side {str(side)[:20]}, and not the request's {options.side}")
    return replace(options, side=_integer(side, 1, LONGEST_SIDE))


def parse_tile(head: Mapping[str, Any], payload: memoryview, plan: WorkerPlan) -> Tile:
    """Parses a worker's tile for an image of this plan; raises `WorkerBroken` for an invalid one."""
    with _refuse("a tile"):
        height, width, channels = (_integer(side, 1, LONGEST_SIDE) for side in head["shape"])
        if (height, width) not in plan.tile_shapes or channels != plan.channels:
            raise ValueError(
                f"{height}x{width}x{channels}, expected one of {sorted(plan.tile_shapes)} and {plan.channels} channels"
            )
        return np.frombuffer(payload, np.uint8).reshape((height, width, channels))


def parse_answer(head: Mapping[str, Any], payload: memoryview, answer_file: int, plan: WorkerPlan) -> Answer:
    """Parses a worker's answer for an image of this plan; raises `WorkerBroken` for an invalid one.

    The answer's bytes are in the frame or in the file, which nobody can change from now on.
    """
    with _refuse("an answer"):
        _kind(head, "answer")
        if payload:
            body = Body(bytes(payload), None, len(payload))
        else:
            seal(answer_file)
            body = Body(b"", answer_file, _integer(os.fstat(answer_file).st_size, 1, plan.bytes))
        seconds = {stage: _number(head["seconds"][stage], MOST_SECONDS) for stage in ("decode", "inference", "encode")}
        counts = tuple(_integer(pixels, 0, plan.pixels) for pixels in head["counts"])
        if len(counts) != len(plan.class_names) or sum(counts) != plan.pixels:
            raise ValueError(f"{sum(counts)} pixels of {len(counts)} classes, not {plan.pixels} of {len(plan.class_names)}")
        confidence = head["mean_confidence"]
        if head["encoding"] not in ("", "gzip"):
            raise ValueError(f"the encoding {head['encoding']!r:.100}")
        mean_confidence = None if confidence is None else round(_number(confidence, 1), SHARE_DIGITS)
        pixels = None if head["object_pixels"] is None else _integer(head["object_pixels"], 0, plan.pixels)
        by_name, box = dict(zip(plan.class_names, counts, strict=True)), None
        if head["box"] is not None:
            left, top, width, height = head["box"]
            left, top = _integer(left, 0, plan.size[1] - 1), _integer(top, 0, plan.size[0] - 1)
            box = left, top, _integer(width, 1, plan.size[1] - left), _integer(height, 1, plan.size[0] - top)
        if not (remark := _text(head["remark"], MOST_MESSAGE)).isascii() or not (remark or " ").isprintable():
            raise ValueError(f"the remark {remark!r:.100}, expected one line of ASCII")
        return Answer(body, head["encoding"], plan.size, seconds, by_name, mean_confidence, box, pixels, remark)


@contextmanager
def _refuse(what: str) -> Iterator[None]:
    """Raises `WorkerBroken` for what a parser raises at a message that no worker of ours sends."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
        raise WorkerBroken(f"a worker sent {what} that cannot be: {str(error)[:300]}") from error


def _kind(head: Mapping[str, Any], kind: str) -> None:
    if head["kind"] != kind:
        raise ValueError(f"a message of the kind {head['kind']!r:.100}, expected {kind}")


def _integer(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:  # True is an int as well
        raise ValueError(f"{value!r:.100}, expected an integer from {least} to {most}")
    return value


def _number(value: object, most: float) -> float:
    if type(value) not in (int, float) or not 0 <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{value!r:.100}, expected a number from 0 to {most:g}")
    return float(value)  # type: ignore[arg-type]


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{value!r:.100}, expected a text of at most {most} characters")
    return value
