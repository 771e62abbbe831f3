"""Checks files of this machine before GDAL opens them: no pipe that blocks, no coordinate system that names other files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable
from html import unescape
from pathlib import Path

from imaging.georeferenced.errors import SceneError

HEAD_BYTES = 1024  # that GDAL looks at to choose a driver
GRIDS = re.compile(r"PARAMETERFILE|grids\s*=\s*(?!@null)", re.IGNORECASE)
"""What names a file in the words of a coordinate system, or of an operation between two."""
TEXTS = (".aux.xml", ".hdr", ".prj")
"""Endings of files beside a file that say its coordinate system."""


def check_files(path: Path, names: Callable[[Path], dict[str, list[str]]]) -> list[Path]:
    """Checks a file and those beside it that have its name with another ending, and gives these.

    names: lists a folder, as `list_names`. Raises `SceneError` for a pipe or a device, for which GDAL would wait, and for a
    coordinate system that names a file.
    """
    if not path.is_file():
        raise SceneError(f"{path} is {'no regular file' if path.exists() else 'not there'}; give a file on this machine")
    beginning = f"{path.stem}.".lower()
    similar = names(path.parent)[_key(path.name)]
    beside = [path.parent / name for name in similar if name.lower().startswith(beginning) and name != path.name]
    if other := next((each for each in beside if each.exists() and not (each.is_file() or each.is_dir())), None):
        raise SceneError(f"{path} is not read: {other}, which goes with it, is no regular file; remove it")
    for other in beside:
        if other.name.lower().endswith(TEXTS):
            check_system(unescape(other.read_text("utf-8", "replace")), str(other))
    return [each for each in beside if each.is_file()]


def list_names(folder: Path) -> dict[str, list[str]]:
    """The names in a folder, by what is before their first dot in small letters."""
    names: dict[str, list[str]] = defaultdict(list)
    for name in os.listdir(folder):
        names[_key(name)].append(name)
    return names


def _key(name: str) -> str:
    return name.lower().partition(".")[0]


def read_head(path: Path) -> bytes:
    """The first bytes of a regular file."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def check_system(words: str, name: str) -> None:
    """Raises `SceneError` if the words of a coordinate system name a file of shifts, which PROJ would open."""
    if match := GRIDS.search(words):
        text = words[match.start() : match.start() + 80].split("\n")[0]
        raise SceneError(f"{name} names a file in its coordinate system ({text!r}); give it another system")
