"""What a worker process and the front tell each other of an image, and the checks of a worker's words, which an attacker may
control. `conversation.py` has their order.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from common.arrays import Size
from imaging.cutout import ObjectBox
from imaging.decoding import LONGEST_SIDE, Limits
from imaging.errors import AnswerTooLarge, DamagedImage, EmptyImage, ImageTooLarge, UnknownImageType, WrongParameter
from model.inference.errors import NoRoom
from model.inference.plan import Options, Plan
from model.inference.processes.blob import Blob, seal
from model.inference.runtime import Runtime, Tile
from model.inference.scaling import SideError
from model.inference.segmenter import Segmenter
from model.inference.tiling import TilingError

PLAN_BYTES = 64 << 20  # memory that planning an image may take besides the file's own bytes
PLAN_SECONDS = 1  # processor time that planning an image may take
DECODE_SECONDS, DECODE_MEGAPIXELS_PER_SECOND = 1.0, 10.0  # processor time that decoding may take (`decode_seconds`)
SCENE_MEGAPIXELS_PER_SECOND = 2.5  # of scenes, which may have many bands of 16 bits, read twice where they are scaled
MOST_BYTES = 1 << 44  # of memory that a plan may ask for; the budget refuses far less
MOST_SECONDS = 86_400.0  # of a stage
MOST_MESSAGE = 4000  # longest text of an error, in characters
SHARE_DIGITS = 6  # of shares and confidence
TileShape = tuple[int, int, int]
"""(height, width, channels) of a tile."""


class WorkerEnded(ConnectionError):
    """The other end of the socket is closed."""


class WorkerBroken(WorkerEnded):
    """The other end sent an invalid message."""


class TaskDropped(Exception):
    """The front sent `Drop`."""


REFUSALS = (
    EmptyImage, UnknownImageType, ImageTooLarge, DamagedImage, AnswerTooLarge, WrongParameter, SideError, TilingError, NoRoom,
)  # fmt: skip
"""Errors of an image or a scene that cannot be segmented. The text says why, and what to do."""
REPORTED_ERRORS: dict[str, type[Exception]] = {error.__name__: error for error in (*REFUSALS, MemoryError, TaskDropped)}
"""A process reports these by name, and the front raises them again."""


@dataclass(frozen=True)
class Task:
    """An image to segment.

    runtime: a pickled `Runtime`. gzip: whether to compress a JSON answer. ahead: how many tiles may be sent before
    logits must be received. The image's bytes are in the frame's file, or else its payload.
    """

    runtime: bytes
    limits: Limits
    options: Options
    gzip: bool
    ahead: int


@dataclass(frozen=True)
class Drop:
    """Ends the task, because nobody waits for it any more or one of its tiles failed."""


@dataclass(frozen=True)
class ImageRequest:
    """An image to segment. gzip: whether to compress a JSON answer. log_fields: the request's, for log lines.

    is_background: whether its tiles come after those of others.
    """

    body: Blob
    options: Options
    limits: Limits
    gzip: bool = False
    log_fields: Mapping[str, Any] = field(default_factory=dict)
    is_background: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerPlan(Plan):
    """A worker's plan for an image.

    bytes: of memory that the work needs besides the file's own bytes. decode_seconds: the limit on processor time for decoding.
    sha256: of the file. tile_shapes: of its tiles. class_names: of the network, by id.
    network: the bytes and seconds that the network takes beside the worker, as `Segmenter.network_cost` says.
    """

    bytes: int
    decode_seconds: float
    sha256: str
    tile_shapes: frozenset[TileShape] = frozenset()
    class_names: tuple[str, ...] = ()
    network: tuple[int, float] = (0, 0.0)


@dataclass(frozen=True)
class Answer:
    """An answer. encoding: of its bytes, `gzip` or empty. size: (height, width) of the image.

    seconds: of the stages `decode`, `inference` and `encode`, and `queue` after `work_on`. counts: pixels of each class of the
    network, by name. All else as in `Output`; mean_confidence has `SHARE_DIGITS` decimals.
    """

    body: Blob
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
        total = sum(self.counts.values())
        return {name: round(pixels / total, SHARE_DIGITS) for name, pixels in self.counts.items() if pixels}


@lru_cache(maxsize=8)
def distant_segmenter(runtime: bytes, limits: Limits) -> Segmenter:
    """A segmenter without a network, for a pickled `Runtime` of the front."""
    distant_runtime: Runtime = pickle.loads(runtime)  # noqa: S301 (the front's own)
    return Segmenter(distant_runtime, limits)


def decode_seconds(plan: Plan, segmenter: Segmenter) -> float:
    """The processor time that decoding an image of this plan may take."""
    rate = SCENE_MEGAPIXELS_PER_SECOND if segmenter.reads_scene(plan.options.rendering) else DECODE_MEGAPIXELS_PER_SECOND
    return DECODE_SECONDS + plan.megapixels / rate


@contextmanager
def refuse(what: str) -> Iterator[None]:
    """Raises `WorkerBroken` for what a parser raises at a message that no process of ours sends."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, OSError, RecursionError) as error:
        raise WorkerBroken(f"a worker sent {what} that cannot be: {str(error)[:300]}") from error


def integer(value: object, least: int, most: int) -> int:
    """The value of a head, if it is an integer of this range; raises `ValueError` otherwise, as `number` and `text` do."""
    if type(value) is not int or not least <= value <= most:  # True is an int as well
        raise ValueError(f"{value!r:.100}, expected an integer from {least} to {most}")
    return value


def number(value: object, most: float) -> float:
    if type(value) not in (int, float) or not 0 <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{value!r:.100}, expected a number from 0 to {most:g}")
    return float(value)  # type: ignore[arg-type]


def text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{value!r:.100}, expected a text of at most {most} characters")
    return value


def error_head(error: Exception) -> dict[str, object]:
    """What the front is told of an error: its name and text; of one that no file should cause, its traceback."""
    name = next((base.__name__ for base in type(error).__mro__ if base.__name__ in REPORTED_ERRORS), "unexpected")
    trace = "".join(traceback.format_exception(error))[-MOST_MESSAGE:] if name == "unexpected" else ""
    return {"kind": "error", "type": name, "message": trace or str(error)[:MOST_MESSAGE]}


def parse_plan(head: Mapping[str, Any], options: Options, segmenter: Segmenter) -> WorkerPlan:
    """Parses a worker's plan of an image with these options; raises `WorkerBroken` for one that cannot be.

    The worker says the image's size, which memory the work needs and the file's sha256. Of a scene it says the side too, if
    that follows from its pixels' size on the ground. All else follows from these.
    """
    with refuse("a plan"):
        height, width = (integer(side, 1, LONGEST_SIDE) for side in head["size"])
        if height * width > segmenter.limits.megapixels * 1e6:
            raise ValueError(f"{width}x{height} pixels, more than {segmenter.limits.megapixels:g} megapixels")
        plan = segmenter.plan_size((height, width), _options(head, options, segmenter))
        sha256 = text(head["sha256"], 64)
        if len(sha256) < 64 or bytes.fromhex(sha256).hex() != sha256:
            raise ValueError("a sha256 that is none")
        return WorkerPlan(
            size=plan.size,
            views=plan.views,
            options=plan.options,
            bytes=integer(head["bytes"], prod(plan.answer_size), MOST_BYTES),
            decode_seconds=decode_seconds(plan, segmenter),
            sha256=sha256,
            tile_shapes=frozenset((*view.tile_plan.shape, segmenter.channels) for view in plan.views),
            class_names=tuple(segmenter.manifest.labels.names),
            network=segmenter.network_cost(plan),
        )


def _options(head: Mapping[str, Any], options: Options, segmenter: Segmenter) -> Options:
    """The request's options, with the side that a worker may choose."""
    side = head["side"]
    if side == options.side:
        return options
    if options.side != "auto" or not segmenter.manifest.preprocessing.gsd or not segmenter.reads_scene(options.rendering):
        raise ValueError(f"side {str(side)[:20]}, and not the request's {options.side}")
    return replace(options, side=integer(side, 1, LONGEST_SIDE))


def parse_tile(head: Mapping[str, Any], payload: memoryview, shapes: Collection[TileShape]) -> Tile:
    """Parses a process's tile, of one of these shapes; raises `WorkerBroken` for an invalid one."""
    with refuse("a tile"):
        height, width, channels = (integer(side, 1, LONGEST_SIDE) for side in head["shape"])
        if (height, width, channels) not in shapes:
            raise ValueError(f"{height}x{width}x{channels}, expected one of {sorted(shapes)}")
        return np.frombuffer(payload, np.uint8).reshape((height, width, channels))


def parse_answer(head: Mapping[str, Any], payload: memoryview, answer_file: Blob, plan: WorkerPlan) -> Answer:
    """Parses a worker's answer for an image of this plan; raises `WorkerBroken` for an invalid one.

    The answer's bytes are in the frame, or in the file that the worker got, which nobody can change from now on.
    """
    with refuse("an answer"):
        body = Blob(bytes(payload), None, len(payload)) if payload else answer_file
        if body.descriptor is not None:
            seal(body.descriptor)
            body.length = integer(os.fstat(body.descriptor).st_size, 1, plan.bytes)
        if not body.is_open:
            raise ValueError("no bytes, and no file")
        seconds = {stage: number(head["seconds"][stage], MOST_SECONDS) for stage in ("decode", "inference", "encode")}
        most_rows, most_columns = plan.answer_size
        total = most_rows * most_columns
        counts = tuple(integer(pixels, 0, total) for pixels in head["counts"])
        if len(counts) != len(plan.class_names) or sum(counts) != total:
            raise ValueError(f"{sum(counts)} pixels of {len(counts)} classes, not {total} of {len(plan.class_names)}")
        confidence, pixels, box = head["mean_confidence"], head["object_pixels"], head["box"]
        if head["encoding"] not in ("", "gzip"):
            raise ValueError(f"the encoding {head['encoding']!r:.100}")
        if box is not None:
            left, top, width, height = box
            left, top = integer(left, 0, most_columns - 1), integer(top, 0, most_rows - 1)
            box = left, top, integer(width, 1, most_columns - left), integer(height, 1, most_rows - top)
        if not (remark := text(head["remark"], MOST_MESSAGE)).isascii() or not (remark or " ").isprintable():
            raise ValueError(f"the remark {remark!r:.100}, expected one line of ASCII")
        return Answer(
            body,
            head["encoding"],
            plan.size,
            seconds,
            counts=dict(zip(plan.class_names, counts, strict=True)),
            mean_confidence=None if confidence is None else round(number(confidence, 1), SHARE_DIGITS),
            box=box,
            object_pixels=None if pixels is None else integer(pixels, 0, total),
            remark=remark,
        )
