"""Files in folders, objects in stores and images on the web, by their names: paths, URLs of `cli.stores`, or web addresses.

Any thread may call these functions. They raise `OSError`.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from cli.stores import (
    check_size,
    delete_object,
    is_url,
    list_objects,
    object_version,
    read_object,
    split_url,
    write_object,
)
from cli.web import is_web, read_web, web_version
from common.regular_file import open_regular_file
from common.whole_file import whole_file

LONGEST_NAME = 255  # bytes of a file's name; the limit of all common file systems
DIGEST_LENGTH = 16
CHUNK = 1 << 20  # bytes


def is_path(name: str) -> bool:
    """Whether the name is a path of the file system, and not a URL."""
    return not (is_url(name) or is_web(name))


def join(folder: str, name: str) -> str:
    """The name below the folder."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


def read_whole(name: str) -> tuple[bytes, str]:
    """The bytes and the version of a file, an object or a web address."""
    if is_web(name):
        return read_web(name)
    if is_url(name):
        return read_object(name)
    with open_regular_file(name) as (file, status):
        check_size(status.st_size)
        return file.read(status.st_size), _version(status)


def read_stream(file: BinaryIO) -> bytes:
    """The bytes of a pipe or a device up to its end. It may wait for them."""
    data = bytearray()
    while chunk := file.read(CHUNK):
        data += chunk
        check_size(len(data))
    return bytes(data)


def version(name: str) -> str:
    """Changes when the content does: a file's size and time of change, an object's size and entity tag.

    Of a web address it is the entity tag or the time of change; empty if the server says neither.
    """
    if is_web(name):
        return web_version(name)
    return object_version(name) if is_url(name) else _version(os.stat(name))


def write_whole(name: str, data: bytes, partials: Path | None = None) -> str:
    """Writes a file or an object whole or not at all, and creates its folder. Gives its version, as `version` does.

    partials: folder for the file until it is whole; by default the folder of the file.
    """
    if is_url(name):
        return write_object(name, data)
    for folder in filter(None, (Path(name).parent, partials)):
        folder.mkdir(parents=True, exist_ok=True)
    with whole_file(name, partials) as partial:
        partial.write_bytes(data)
    return _version(os.stat(name))


def remove(name: str) -> None:
    """Deletes a file or an object."""
    if is_url(name):
        delete_object(name)
    else:
        os.unlink(name)


def names_below(folder: str) -> list[str]:
    """Names of the files or objects below a folder, relative to it, sorted. Empty if there is no such folder."""
    if is_url(folder):
        start = len(split_url(folder)[1]) + 1 if split_url(folder)[1] else 0
        return sorted(entry.key[start:] for entry in list_objects(folder))
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def fitting_name(name: str, suffix: str) -> str:
    """The name; if it is too long for file systems, its start, a digest of the whole name, and the suffix."""
    data = os.fsencode(name)
    if len(data) <= LONGEST_NAME:
        return name
    digest = sha256(data).hexdigest()[:DIGEST_LENGTH]
    start = data[: LONGEST_NAME - len(f"-{digest}{suffix}")].decode("utf-8", "ignore")
    return f"{start}-{digest}{suffix}"


def real(path: str | Path) -> Path:
    """The path with links resolved. Also works for links in a circle, for which `Path.resolve` raises."""
    return Path(os.path.realpath(path))


def _version(status: os.stat_result) -> str:
    return f"{status.st_size} {status.st_mtime_ns}"
