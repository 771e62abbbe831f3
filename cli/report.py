"""Reports the outcome of each image: JSON lines on stdout, messages on stderr, and the exit status."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from cli.answers import Marks
from cli.input import Input
from common.command_line import flag, one_line
from imaging.errors import AnswerTooLarge, ImageError, WrongParameter
from imaging.object_facts import image_row, lacks_object
from imaging.rendering import RENDERING, Rendering
from model.inference.errors import InferenceError
from model.inference.plan import OPTIONS
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, RuntimeUnavailable
from model.inference.scaling import SideError
from model.inference.tiling import TilingError
from model.manifest import WeightsError

DONE, NOTHING_DONE, SOME_FAILED, INTERRUPTED, PIPE_CLOSED = 0, 2, 3, 130, 141
# messages of these errors are clear without the error's type; `describe` adds the type to all others
CLEAR_ERRORS = (
    ImageError, AnswerTooLarge, WrongParameter, SideError, TilingError, InferenceError,
    DeviceLost, DeviceOutOfMemory, RuntimeUnavailable, WeightsError, OSError,
)  # fmt: skip
OF_OPTIONS = AnswerTooLarge, WrongParameter
"""Errors whose messages name parameters as HTTP does."""
NAMES = "|".join(RENDERING | OPTIONS)
WITH_VALUE = re.compile(rf"(?<![\w'-])({NAMES})=(?=(\w?))")
ALONE = re.compile(rf"(?<![\w'-])({NAMES})(?= applies to | out\b| and fill_holes )")


@dataclass(frozen=True)
class Result:
    """An answer's bytes, and facts for the table of results.

    row: as of `image_row`; a service does not say it. facts: of its object, as of `imaging.object_facts`. remark: what to tell
    of it, if anything.
    """

    body: bytes
    row: Mapping[str, Any] = field(default_factory=image_row)
    facts: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an image.

    target: of its answer, `-` for stdout; None if the image is not read. status: `done`, `skipped`, `kept` or `failed`.
    problem: why it failed, or why the file that is there was kept. ends_run: whether the problem affects every image, not only
    this one. key, marks: of the answer, for the journal.
    """

    image: Input
    target: str | None
    status: str
    seconds: float = 0.0
    problem: str | None = None
    ends_run: bool = False
    result: Result | None = None
    key: str | None = None
    marks: Marks | None = None

    def line(self) -> str:
        """The outcome as JSON in ASCII.

        Bytes of a name that are not UTF-8 become lone surrogates, which Python's `os.fsencode` turns back into the bytes.
        """
        facts = {"source": self.image.display_name, "target": self.target, "status": self.status}
        facts |= {"error": self.problem} if self.problem and self.status == "failed" else {}
        return json.dumps(facts | {"seconds": round(self.seconds, 3)})

    def row(self) -> dict[str, Any]:
        """The outcome as a row of the table of results. What is not known is None or empty.

        name, target: of the image and of its answer. width, height, classes, mean_confidence: as of `image_row`. milliseconds:
        from reading the image to the written answer. problem: why there is no answer. key: as in `cli.resume`. box: of a
        cut-out's object, left, top, width and height in pixels of the image.
        """
        is_old = self.status in ("skipped", "kept")
        result = Result(b"") if is_old or self.result is None else self.result
        return {
            "name": self.image.display_name,
            "target": None if self.status == "failed" else self.target,
            **result.row,
            "milliseconds": None if is_old else round(self.seconds * 1000, 3),
            "problem": self.problem,
            "key": self.key,
            "box": result.facts.get("box"),
        }


class Summary:
    """Counts outcomes and tells of failures at once, so that its memory does not grow with them.

    command: its name. rendering: the form of its answers.
    """

    def __init__(self, command: str = "fcn-segment", rendering: Rendering | None = None) -> None:
        self._command, self._rendering = command, rendering or Rendering()
        self._lacks_object: Counter[bool | None] = Counter()
        self._counts = dict.fromkeys(("done", "skipped", "kept", "failed"), 0)
        self._reason: str | None = None

    def add(self, outcome: Outcome) -> None:
        if outcome.ends_run:
            self._reason = outcome.problem
            return
        self._counts[outcome.status] += 1
        if outcome.result:
            self._lacks_object[lacks_object(outcome.result.facts)] += 1
            if outcome.result.remark:
                self.tell(f"{outcome.image.display_name}: {outcome.result.remark}")
        if outcome.status == "failed":
            self.tell(f"{outcome.image.display_name}: {outcome.problem}")
        if outcome.status == "kept":
            self.tell(f"{outcome.target}: {outcome.problem}")

    def finish(self, resumable: bool) -> int:
        """Tells the counts, and returns the exit status. resumable: whether `--resume` would go on with this run."""
        self._tell_objects()
        done_count, skip_count, kept_count, failure_count = self._counts.values()
        if skip_count:
            self.tell(f"{skip_count} skipped, their answers exist")
        if kept_count > 1:
            self.tell(f"{kept_count} kept, since no run wrote them so; --force replaces them")
        if self._reason is not None:
            rest = f"; {done_count} images were done, --resume does the rest" if resumable else ""
            self.tell(f"{self._reason}{rest}")
            return NOTHING_DONE
        if failure_count > 1:
            self.tell(f"{failure_count} of {sum(self._counts.values())} failed")
        return SOME_FAILED if failure_count else DONE

    def _tell_objects(self) -> None:
        """Tells how many photos show none of their classes, for forms of answer that `classes` select."""
        classes = "the chosen classes" if self._rendering.classes else "the model's classes"
        count = self._lacks_object.total()
        if empty_count := self._lacks_object[True]:
            self.tell(f"{empty_count} of {count} photos show none of {classes}")
        if self._rendering.uses("classes") and (unknown_count := self._lacks_object[None]):
            self.tell(f"of {unknown_count} of {count} photos, the service does not say whether they show {classes}")

    def tell(self, text: str) -> None:
        tell(text, self._command)


def tell(text: str, command: str = "fcn-segment") -> None:
    """Writes one line to stderr, above a progress bar; does nothing if stderr is closed."""
    if sys.stderr is not None:
        tqdm.write(f"{command}: {one_line(text)}", file=sys.stderr)


def exit_status(run: Callable[[], int], command: str = "fcn-segment") -> int:
    """Does the run and returns its exit status; an error is told in one line."""
    try:
        return run()
    except KeyboardInterrupt:
        tell("interrupted", command)
        return INTERRUPTED
    except BrokenPipeError:
        discard_stdout()
        return PIPE_CLOSED
    except Exception as error:
        tell(describe(error), command)
        return NOTHING_DONE


def describe(error: BaseException) -> str:
    """The error in one line, with its type unless it is one of `CLEAR_ERRORS`."""
    text = one_line(str(error))
    if text and isinstance(error, CLEAR_ERRORS):
        return as_options(text) if isinstance(error, OF_OPTIONS) else text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def as_options(text: str) -> str:
    """The text with parameters as options: `--format json --mask rle` for `format=json&mask=rle`."""
    text = re.sub(rf"&(?=({NAMES})=)", " ", text)
    text = WITH_VALUE.sub(lambda match: flag(match[1]) + " " * bool(match[2]), text)
    return ALONE.sub(lambda match: flag(match[1]), text)


def print_line(line: str) -> None:
    """Writes a line to stdout and flushes it. Raises `OSError` if stdout is closed or full, or if its reader is gone."""
    write_stdout(f"{line}\n".encode())


def write_stdout(data: bytes) -> None:
    """Writes bytes to stdout and flushes them. Raises the same errors as `print_line`."""
    if sys.stdout is None:
        raise OSError("stdout is closed; give -o a file or a folder")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        discard_stdout()
        raise OSError(error.errno, error.strerror, "stdout") from error


def discard_stdout() -> None:
    """Redirects stdout to the null device, so that the interpreter does not fail to flush it at exit."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
