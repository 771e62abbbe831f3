"""Errors of a data set: each names its file, and several are reported together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from common.printable import printable

MOST = 10  # errors that a message shows
MOST_NAMED = 10  # files, classes or frames that a remark names


class DataError(ValueError):
    """A data set that cannot be used as it is. The message is one line, as `printable` shows it."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))

    @property
    def each(self) -> list[DataError]:
        """The single errors: this one, or those of `FrameErrors`."""
        return [self]


class FrameErrors(DataError):
    """Several errors of a data set; the message shows the first ten and the number of others."""

    def __init__(self, errors: Sequence[DataError]) -> None:
        self._errors = list(errors)
        lines = [f"{len(errors)} errors in the data set:", *(f"  {error}" for error in errors[:MOST])]
        further = [f"  and {len(errors) - MOST} more"] if len(errors) > MOST else []
        ValueError.__init__(self, "\n".join([*lines, *further]) if len(errors) > 1 else str(errors[0]))

    @property
    def each(self) -> list[DataError]:
        return self._errors


@contextmanager
def collecting(errors: list[DataError]) -> Iterator[None]:
    """Adds the errors of its block to a list, each by itself; what stands behind the block goes on."""
    try:
        yield
    except DataError as error:
        errors.extend(error.each)


def raise_all(errors: Sequence[DataError]) -> None:
    """Raises a single error as it is and several as `FrameErrors`; does nothing without errors."""
    if errors:
        raise errors[0] if len(errors) == 1 else FrameErrors(errors)


def first_names(names: Iterable[object], most: int = 3) -> str:
    """The first `most` names, and the number of others."""
    texts = [str(name) for name in names]
    further = [f"and {len(texts) - most} more"] if len(texts) > most else []
    return ", ".join([*texts[:most], *further])


def counted(numbers: Mapping[str, int], unit: str = "") -> str:
    """Names, each with its number in brackets: `cat (3), dog (1)`. unit: of the numbers, after a blank."""
    return ", ".join(f"{name} ({number}{unit})" for name, number in numbers.items())


def remark(names: Sequence[object], text: str, advice: str = "", most: int = MOST_NAMED) -> list[str]:
    """A line with the number of these files, classes or frames, what is true of them, and the first names; none without any."""
    return [f"{len(names)} {text}: {first_names(names, most)}{advice}"] if names else []
