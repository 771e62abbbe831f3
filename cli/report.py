"""Reports the outcome of each image: JSON lines on stdout, messages on stderr, and the exit status."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cli.files import STDIO, Item
from imaging.errors import AnswerTooLarge, ImageError, UnknownClass, UnusedParameter
from model.command_line import one_line
from model.inference.errors import InferenceError
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, RuntimeUnavailable
from model.inference.scaling import SideTooLarge
from model.inference.tiling import TilingError
from model.manifest import WeightsError

DONE, NOTHING_DONE, SOME_FAILED, INTERRUPTED, PIPE_CLOSED = 0, 2, 3, 130, 141
# messages of these errors are clear without the error's type; `describe` adds the type to all others
EXPLAINED = (
    ImageError, AnswerTooLarge, UnknownClass, UnusedParameter, SideTooLarge, TilingError, InferenceError, DeviceLost,
    DeviceOutOfMemory, RuntimeUnavailable, WeightsError, OSError,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The outcome of an image.

    status: `done`, `skipped` or `failed`. ends_run: whether the error affects every image, not only this one.
    """

    item: Item
    status: str
    seconds: float = 0.0
    error: str | None = None
    ends_run: bool = False

    def line(self) -> str:
        """The outcome as JSON in ASCII.

        Bytes of a name that are not UTF-8 become lone surrogates, which Python's `os.fsencode` turns back into the bytes.
        """
        facts = {"source": self.item.name, "target": str(self.item.target or STDIO), "status": self.status}
        facts |= {"error": self.error} if self.error else {}
        return json.dumps(facts | {"seconds": round(self.seconds, 3)})


def tell(text: str) -> None:
    """Writes one line to stderr; does nothing if stderr is closed."""
    if sys.stderr is not None:
        print(f"fcn-segment: {one_line(text)}", file=sys.stderr)


def describe(error: BaseException) -> str:
    """The error in one line, with its type unless it is one of `EXPLAINED`."""
    text = one_line(str(error))
    if text and isinstance(error, EXPLAINED):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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


def summarize(outcomes: Sequence[Outcome]) -> int:
    """Writes to stderr which images were skipped and which failed, and returns the exit status."""
    skipped, failed = ([outcome for outcome in outcomes if outcome.status == status] for status in ("skipped", "failed"))
    if skipped:
        tell(f"{len(skipped)} skipped, their answers exist")
    undone = [outcome for outcome in failed if outcome.ends_run]
    for outcome in failed:
        if not outcome.ends_run or len(outcomes) == 1:
            tell(f"{outcome.item.name}: {outcome.error}")
    if undone and len(outcomes) > 1:
        tell(f"{len(undone)} of {len(outcomes)} images were not done: {undone[0].error}; --resume does them later")
    if len(failed) > 1 and len(undone) < len(failed):
        tell(f"{len(failed)} of {len(outcomes)} failed")
    if undone and not any(outcome.status == "done" for outcome in outcomes):
        return NOTHING_DONE
    return SOME_FAILED if failed else DONE
