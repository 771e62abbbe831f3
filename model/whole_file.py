"""Writes files whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".part"
"""The ending of a file that is not whole yet."""


@contextmanager
def whole_file(target: Path, partial: Path | None = None) -> Iterator[Path]:
    """Yields the path to write to. After the block, the file there replaces `target`; after an error, it is removed.

    partial: the path to write to, on the file system of `target`; by default beside it, with the ending `PARTIAL`. Processes
    that write the same file at the same time need paths of their own.
    If the process is killed, `target` stays as it was. Raises `OSError`.
    """
    partial = partial or target.with_name(target.name + PARTIAL)
    try:
        yield partial
        partial.replace(target)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
