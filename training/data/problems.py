"""Errors of a data set: each names its file, and all are told at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST = 10  # errors that are written out


class DataError(ValueError):
    """A data set that is not as expected."""


class FrameErrors(DataError):
    """What is wrong with frames of a data set: the first ten, and how many more there are."""

    def __init__(self, errors: Sequence[DataError]) -> None:
        self.errors = list(errors)
        lines = [f"{len(errors)} errors in the data set:", *(f"  {error}" for error in errors[:MOST])]
        further = [f"  and {len(errors) - MOST} more"] if len(errors) > MOST else []
        super().__init__("\n".join([*lines, *further]) if len(errors) > 1 else str(errors[0]))


def raise_all(errors: Sequence[DataError]) -> None:
    """Raises a single error as it is, several as `FrameErrors`; nothing where there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise FrameErrors(errors)


def first_names(names: Iterable[object], most: int = 3) -> str:
    """The first names, and how many more there are."""
    listed = [str(name) for name in names]
    further = [f"and {len(listed) - most} more"] if len(listed) > most else []
    return ", ".join([*listed[:most], *further])
