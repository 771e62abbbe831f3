"""What became of each image: a line of JSON on stdout, a line of text on stderr, and the exit status."""

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
# their words say enough; any other error is told with its type
EXPLAINED = (
    ImageError, AnswerTooLarge, UnknownClass, UnusedParameter, SideTooLarge, TilingError, InferenceError, DeviceLost,
    DeviceOutOfMemory, RuntimeUnavailable, WeightsError, OSError,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of an image: `done`, `skipped` or `failed`. ends_run: the error is of every image, not of this one."""

    item: Item
    status: str
    seconds: float = 0.0
    error: str | None = None
    ends_run: bool = False

    def line(self) -> str:
        """As JSON in ASCII. Bytes of a name that are not UTF-8 are lone surrogates, which Python's `os.fsencode` takes back."""
        facts = {"source": self.item.name, "target": str(self.item.target or STDIO), "status": self.status}
        facts |= {"error": self.error} if self.error else {}
        return json.dumps(facts | {"seconds": round(self.seconds, 3)})


def tell(text: str) -> None:
    """Writes one line to stderr, where there is one."""
    if sys.stderr is not None:
        print(f"fcn-segment: {one_line(text)}", file=sys.stderr)


def describe(error: BaseException) -> str:
    """The error in one line, with its type where its words alone may not say enough."""
    text = one_line(str(error))
    if text and isinstance(error, EXPLAINED):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def print_line(line: str) -> None:
    """Writes a line to stdout at once; raises `OSError` where that is closed or full, or has no reader any more."""
    write_stdout(f"{line}\n".encode())


def write_stdout(data: bytes) -> None:
    """Writes bytes to stdout; raises as `print_line`."""
    if sys.stdout is None:
        raise OSError("stdout is closed; give -o a file or a folder")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        discard_stdout()
        raise OSError(error.errno, error.strerror, "stdout") from error


def discard_stdout() -> None:
    """Sends what stdout still holds to nowhere, so that the interpreter does not fail at it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def summarize(outcomes: Sequence[Outcome]) -> int:
    """Tells what was left out and what failed, and gives the exit status."""
    skipped, failed = ([each for each in outcomes if each.status == status] for status in ("skipped", "failed"))
    if skipped:
        tell(f"{len(skipped)} left out, their answers are there")
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
