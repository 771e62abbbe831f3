"""Writes output files: whole or not at all, through links, and into pipes and devices. All commands write with it.

Any thread and process may write at any time. Of two that write one file at once, the last to end wins. Of a partial file, its
writer holds the lock (`flock`), so that the next run removes those that a killed process has left, and no others.
"""

from __future__ import annotations

import errno
import glob
import os
import platform
import re
import secrets
import shutil
import stat
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

Name = str | os.PathLike[str]
OTHER = "what this command did not write"
PARTIAL = ".part"
"""The ending of a file that is not whole yet."""
PROCESS = secrets.token_hex(4)
"""Part of the names of the files that this process has not written whole yet."""
MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
"""Part of the same names: some file systems keep a lock on one machine alone."""
STALE_S = 86_400.0  # age of a partial file that no process still writes, where no lock tells
LONGEST_STEM = 100  # bytes of the target's name in the name of its partial file; file systems allow 143 or 255 in all
MOST_LINKS = 40
HEAD_BYTES = 1 << 14
NO_NEW_FILE = {errno.EACCES, errno.EPERM, errno.EROFS}  # errors of a folder that takes no new file
NO_RENAME = {errno.EBUSY, errno.EXDEV}  # errors for a target that is mounted


@contextmanager
def whole_file(target: Name, folder: Path | None = None, *, follow: bool = True, ending: str = "") -> Iterator[Path]:
    """Yields the path of an empty file to write to, whose content becomes that of `target` after the block.

    After an error, `target` is as it was. A regular file is replaced by a rename and keeps its permissions; a new one gets
    those that `open` gives. A link stays, and what it leads to is written. The content is copied into what no rename may
    replace: a pipe, a device, an open descriptor such as `/dev/stdout`, and a writable file whose folder takes no new one.

    folder: existing folder for the file until it is whole, from which others remove partial files; by default that of `target`,
    which is listed for them. follow: False for a name that the command chose and no user: a link of that name is replaced, and
    what it leads to stays. ending: of the yielded path, which is then not there yet, for libraries that want one. Then files
    that begin with the yielded path go with it. If the process is killed, they stay, with `MACHINE` and `PROCESS` in their
    names, and `PARTIAL`; `remove_partials` removes them.

    Raises `OSError` with `target` as its file name, such as for a folder, a missing folder, a file that must not be written,
    and a link that a stranger placed.
    """
    target, partial = Path(target), None
    try:
        descriptor = open_descriptor(target) if follow else None
        status = _status(target, follow) if descriptor is None else None
        place = Path(os.path.realpath(target)) if follow else target
        partial, lock, replaces = _new_file(place, status, folder, descriptor is None)
        content = Path(f"{partial}{ending}")
        yield content
        if descriptor is not None:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()  # what was printed before comes before
            _copy(content, os.dup(descriptor))
        elif not (replaces and _rename(content, place, status)):
            _copy(content, os.open(target, os.O_WRONLY | os.O_TRUNC))
    except OSError as error:
        if error.errno is not None and error.filename in (None, f"{partial}{ending}"):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        if partial:
            _remove(partial, has_more=bool(ending))
            if lock is not None:
                os.close(lock)


def write_file(target: Name, content: bytes | str, folder: Path | None = None, *, follow: bool = True) -> None:
    """Writes a file as `whole_file` does. A text is written in UTF-8, and what has no place there as escapes."""
    with whole_file(target, folder, follow=follow) as partial:
        partial.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))


def copy_file(source: Path, target: Path) -> None:
    """Copies a file's content as `whole_file` writes it to a name that the command chose."""
    with whole_file(target, follow=False) as partial:
        shutil.copyfile(source, partial)


def check_output(target: Name, other: Callable[[Path], str] | None = None) -> None:
    """Raises the `OSError` that `whole_file` would raise for the target before its block, and leaves nothing behind.

    For targets at the end of long work. Their folders need not be there, but it must be possible to create them. None is
    created for the check: another process may be about to write into it.

    other: says what a file holds that the command did not write, in words; empty if there is nothing. Then the file is not to
    be replaced, and an `OSError` says so. None if any file may be. An empty file, a pipe and a device hold nothing.
    """
    if (descriptor := open_descriptor(target)) is not None:
        os.write(descriptor, b"")
        return
    status = _status(Path(target), follow=True)
    if status and not stat.S_ISREG(status.st_mode):
        return
    if other and status and status.st_size and (words := other(Path(target))):
        raise OSError(f"{target} holds {words}, and is kept; move it away, or give another name")
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


def begins_with(pattern: bytes) -> Callable[[Path], str]:
    """For `check_output`: knows a command's own files by a regular expression that their beginnings match."""

    def other(path: Path) -> str:
        with path.open("rb") as file:
            return "" if re.match(pattern, file.read(HEAD_BYTES)) else OTHER

    return other


def refuse_link(path: Path) -> None:
    """Raises `OSError` for a link at a name that the command chose for a file or folder that it goes on with."""
    if path.is_symlink():
        raise OSError(f"{path} is a link, and the command keeps files of its own there; remove it, or give another output")


def remove_partials(folder: Path, pattern: str = "*", older_than_s: float = STALE_S) -> None:
    """Removes partial files that killed processes left, of those whose names match the pattern before the ending `PARTIAL`.

    It knows them by their lock, if it is of this machine, or else by their age.
    """
    for partial in folder.glob(f"{pattern}{PARTIAL}"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > older_than_s:
                _remove(partial)
            elif sys.platform != "win32" and f".{MACHINE}." in partial.name:
                with partial.open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while a process writes it
                    _remove(partial)


def open_descriptor(path: Name) -> int | None:
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


def _status(target: Path, follow: bool) -> os.stat_result | None:
    """The status of what the target leads to; None if it is not there. Raises `OSError` if it must not be written."""
    if follow:
        refuse_planted_link(target)
    elif target.is_symlink():
        return None
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    return status


def refuse_planted_link(target: Path) -> None:
    """Raises `PermissionError` for a link of another user in a folder where all may place some, or for a link that leads there.

    As Linux's `protected_symlinks` does for folders such as `/tmp`, here also without their sticky bit.
    """
    for _ in range(MOST_LINKS):
        if not target.is_symlink():
            return
        owner = target.lstat().st_uid  # 0 on systems without owners
        if owner and owner != os.geteuid() and target.parent.stat().st_mode & stat.S_IWOTH:
            raise PermissionError(errno.EACCES, "a link of another user, in a folder that all may write to", str(target))
        target = target.parent / os.readlink(target)


def _new_file(place: Path, status: os.stat_result | None, folder: Path | None, rename: bool) -> tuple[Path, int | None, bool]:
    """A new file, the descriptor with its lock, and whether a rename may put it in place; only if `rename`.

    status: of what is there.
    """
    name = os.fsencode(place.name)[:LONGEST_STEM].decode("utf-8", "ignore")
    own = f".{name}.{MACHINE}.{PROCESS}-{secrets.token_hex(4)}{PARTIAL}"
    if rename and (status is None or stat.S_ISREG(status.st_mode)):
        if folder and folder.stat().st_dev != place.parent.stat().st_dev:
            folder = None
        if folder is None:
            remove_partials(place.parent, f".{glob.escape(name)}.*")
        try:
            return *_create((folder or place.parent) / own, 0o666), True
        except OSError as error:
            if status is None or error.errno not in NO_NEW_FILE:
                raise
    return *_create(Path(tempfile.gettempdir(), own), 0o600), False


def _create(path: Path, mode: int) -> tuple[Path, int | None]:
    """Creates a file, and gives it with the descriptor that holds its lock, if the system has locks."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    if sys.platform == "win32":  # renames no file that is open
        os.close(descriptor)
        return path, None
    with suppress(OSError):  # not every file system has locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return path, descriptor


def _remove(partial: Path, *, has_more: bool = True) -> None:
    """Removes a partial file, after those whose names begin with its own, such as `-journal` of SQLite and `.tmp` of GDAL.

    has_more: whether there may be such.
    """
    with suppress(OSError):
        names = os.listdir(partial.parent) if has_more else [partial.name]
        for name in sorted((each for each in names if each.startswith(partial.name)), reverse=True):
            (partial.parent / name).unlink()


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
