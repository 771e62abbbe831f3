"""Reads the lists of frames of a data set: text files with a name or a path on each line."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from training.data.files import normal_name, path_below, without_ending
from training.data.problems import DataError
from training.data.text_files import read_text

DRIVE = re.compile(r"[A-Za-z]:/")


def list_file(folder: Path, split: str) -> Path | None:
    """The list of a split, its name in any case, as CVAT writes `Train.txt`; None if there is none."""
    lists = sorted(path for path in folder.glob("*.txt") if path.stem.lower() == split.lower() and path.is_file())
    return next((path for path in lists if path.stem == split), next(iter(lists), None))


def lines(folder: Path, split: str) -> list[str]:
    """The non-empty lines of a split's list, as normalised paths; raises `DataError` if the list is missing or unreadable."""
    path = list_file(folder, split)
    if path is None:
        lists = ", ".join(sorted(p.stem for p in folder.glob("*.txt"))) or "none"
        raise DataError(f"{folder / f'{split}.txt'} is not there; lists in {folder}: {lists}")
    try:
        text = read_text(path)
    except ValueError as error:
        raise DataError(str(error)) from error
    texts = [line.strip().replace("\\", "/") for line in text.splitlines()]
    return [posixpath.normpath(normal_name(line)) for line in texts if line]


def frame_name(images: Path, line: str) -> str:
    """The name of a frame below the folder of images, without its ending.

    line: a path below that folder, with or without its name, as in `images/a.jpg`; or an absolute path, or one with `..`, into
    it. Raises `DataError` for a path that leads elsewhere: the mask would be sought at the same place, which is the photo.
    """
    if not _is_absolute(line) and not line.startswith("../"):
        relative = line if (images / images.name).is_dir() else line.removeprefix(f"{images.name}/")
        return without_ending(relative)
    for path in [Path(line)] if _is_absolute(line) else [images / line, images.parent / line]:
        if inside := path_below(images, path):
            return without_ending(inside)
    raise DataError(f"{line} is listed and leads out of {images}: write paths below that folder, such as a.jpg")


def _is_absolute(line: str) -> bool:
    return line.startswith("/") or DRIVE.match(line) is not None
