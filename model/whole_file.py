"""Writes output files: whole or not at all, through links, and into pipes and devices. All commands write with it.

Any thread and process may write at any time. Of two that write one file at once, the last to end wins.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".part"
"""The ending of a file that is not whole yet."""
PROCESS = secrets.token_hex(4)
"""Part of the names of the files that this process has not written whole yet."""
STALE_S = 86_400.0  # age of a partial file that no process still writes
LONGEST_STEM = 100  # bytes of the target's name in the name of its partial file; file systems allow 143 or 255 in all
MOST_LINKS = 40
NO_NEW_FILE = {errno.EACCES, errno.EPERM, errno.EROFS}  # errors of a folder that takes no new file
NO_RENAME = {errno.EBUSY, errno.EXDEV}  # errors for a target that is mounted


@contextmanager
def whole_file(target: str | os.PathLike[str], folder: Path | None = None) -> Iterator[Path]:
    """Yields the path of an empty file to write to, whose content becomes that of `target` after the block.

    After an error, `target` is as it was. A regular file is replaced by a rename and keeps its permissions; a new one gets
    those that `open` gives. A link stays, and what it leads to is written. The content is copied into what no rename may
    replace: a pipe, a device, an open descriptor such as `/dev/stdout`, and a writable file whose folder takes no new one.

    folder: existing folder for the file until it is whole; by default that of `target`. If the process is killed, the file
    stays there, with `PROCESS` in its name and the ending `PARTIAL`; `remove_partials` removes it. Raises `OSError` with
    `target` as its file name, such as for a folder, a missing folder, and a file that must not be written.
    """
    target, partial = Path(target), None
    try:
        descriptor = open_descriptor(target)
        status = _status(target) if descriptor is None else None
        place = Path(os.path.realpath(target))
        partial, replaces = _new_file(place, status, folder, descriptor is None)
        yield partial
        if descriptor is not None:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()  # what was printed before comes before
            _copy(partial, os.dup(descriptor))
        elif not (replaces and _rename(partial, place, status)):
            _copy(partial, os.open(target, os.O_WRONLY | os.O_TRUNC))
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(partial)):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        if partial:
            with suppress(OSError):
                partial.unlink()


def copy_file(source: Path, target: Path) -> None:
    """Copies a file's content as `whole_file` writes it."""
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)


def check_output(target: str | os.PathLike[str]) -> None:
    """Raises the `OSError` that `whole_file` would raise for the target before its block, and leaves nothing behind.

    For targets at the end of long work. Their folders need not be there, but it must be possible to create them. None is
    created for the check: another process may be about to write into it.
    """
    if (descriptor := open_descriptor(target)) is not None:
        os.write(descriptor, b"")
        return
    status = _status(Path(target))
    if status and not stat.S_ISREG(status.st_mode):
        return
    place = Path(os.path.realpath(target))
    try:
        folder = next(parent for parent in place.parents if parent.exists())
        for part in place.relative_to(folder).parts:
            with suppress(FileNotFoundError):
                os.stat(folder / part)  # such as for a name that is too long
        with suppress(_CheckEnd), whole_file(target if folder == place.parent else folder / PROCESS):
            raise _CheckEnd
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from error


def remove_partials(folder: Path, pattern: str = "*", older_than_s: float = STALE_S) -> None:
    """Removes partial files that killed processes left: those whose names match the pattern before the ending `PARTIAL`."""
    for partial in folder.glob(f"{pattern}{PARTIAL}"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > older_than_s:
                partial.unlink()


def open_descriptor(path: str | os.PathLike[str]) -> int | None:
    """The open descriptor of this process that a path or its links name, as `/dev/stdout` and `/dev/fd/63` do; else None."""
    path = os.fspath(path)
    for _ in range(MOST_LINKS):
        folder, name = os.path.split(path)
        if name.isdecimal() and re.fullmatch(rf"/dev/fd|/proc/{os.getpid()}(/task/\d+)?/fd", os.path.realpath(folder)):
            return int(name)
        try:
            path = os.path.join(folder, os.readlink(path))
        except OSError:  # no link, or one that may not be read
            break
    return None


class _CheckEnd(Exception):
    """Ends the block of `check_output`."""


def _status(target: Path) -> os.stat_result | None:
    """The status of what the target leads to; None if it is not there. Raises `OSError` if it must not be written."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    return status


def _new_file(place: Path, status: os.stat_result | None, folder: Path | None, wants_rename: bool) -> tuple[Path, bool]:
    """A new file, and whether a rename may put it in place; only if `wants_rename`. status: of what is there."""
    name = os.fsencode(place.name)[:LONGEST_STEM].decode("utf-8", "ignore")
    own = f".{name}.{PROCESS}-{secrets.token_hex(4)}{PARTIAL}"
    if wants_rename and (status is None or stat.S_ISREG(status.st_mode)):
        if folder and folder.stat().st_dev != place.parent.stat().st_dev:
            folder = None
        if folder is None:
            remove_partials(place.parent, f".{glob.escape(name)}.*")
        try:
            return _create((folder or place.parent) / own, 0o666), True
        except OSError as error:
            if status is None or error.errno not in NO_NEW_FILE:
                raise
    return _create(Path(tempfile.gettempdir(), own), 0o600), False


def _create(path: Path, mode: int) -> Path:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    return path


def _rename(partial: Path, place: Path, status: os.stat_result | None) -> bool:
    """Puts the file in place, with the permissions of the one that is there; False if the system renames nothing there."""
    if status:
        with suppress(OSError, AttributeError):  # only root gives files away; Windows has no owners
            os.chown(partial, status.st_uid, status.st_gid)
        partial.chmod(stat.S_IMODE(status.st_mode))
    try:
        partial.replace(place)
    except OSError as error:
        if error.errno not in NO_RENAME:
            raise
        return False
    return True


def _copy(partial: Path, descriptor: int) -> None:
    with open(descriptor, "wb") as file, partial.open("rb") as content:
        shutil.copyfileobj(content, file)
