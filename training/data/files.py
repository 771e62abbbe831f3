"""Finds images and masks by name, however different systems spell the names, and reads the lists that name them.

A list is a text file with a name or a path on each line, in any encoding that editors and shells write.
"""

from __future__ import annotations

import codecs
import os
import posixpath
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from common.regular_file import read_regular_file
from imaging.decoding import IMAGE_ENDINGS, Limits, OpenImage
from imaging.errors import ImageError
from training.data.problems import DataError

MASK_ENDINGS = (".png",)
PHOTO_TYPES = (".heic", ".heif", ".dng", ".jxl", ".jp2", ".cr2", ".cr3", ".nef", ".arw")  # of which few are read
UNREAD_ENDINGS = tuple(ending for ending in PHOTO_TYPES if ending not in IMAGE_ENDINGS)
# of two files with one name, the PNG may be the mask, so the photo comes first
PHOTO_ENDINGS = (*(ending for ending in IMAGE_ENDINGS if ending not in MASK_ENDINGS), *MASK_ENDINGS)
# Linux allows names that are not UTF-8; Python decodes them with this error handler
NAME_ENCODING = ("utf-8", "surrogateescape")
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's mark, which is its beginning
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
BRUSH_MASK = re.compile(r"task-\d+-annotation-\d+-by-")  # Label Studio's PNG export: one file for each label
DRIVE = re.compile(r"[A-Za-z]:/")


def is_image(path: Path) -> bool:
    """Whether a path has an image's ending; False for hidden files, and for macOS metadata (`._a.jpg`, `__MACOSX`)."""
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".") and "__MACOSX" not in path.parts


def images_below(folder: Path) -> list[Path]:
    """All images in a folder and its subfolders, sorted."""
    return sorted(path for path in folder.rglob("*") if is_image(path))


def evenly(number: int, most: int) -> list[int]:
    """The indices of at most `most` of so many items, spread evenly over them."""
    return [index * number // min(most, number) for index in range(min(most, number))]


def unread_photos(folder: Path) -> list[Path]:
    """The photos directly in a folder whose ending says a format that is not read, sorted."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if path.suffix.lower() in UNREAD_ENDINGS and not path.name.startswith("."))


def normal_name(name: str) -> str:
    """The composed Unicode form (NFC) of a name: macOS decomposes accents in names, other systems do not."""
    return unicodedata.normalize("NFC", name)


def without_ending(name: str) -> str:
    """A name without its ending, if that is an image's: `a.jpg` becomes `a`, and `a.b` stays."""
    return name.removesuffix(Path(name).suffix) if Path(name).suffix.lower() in IMAGE_ENDINGS else name


def path_below(folder: Path, path: Path) -> str | None:
    """A path as seen from a folder that holds it, by the names alone or once links are followed; None for other paths."""
    for place, root in (
        (os.path.abspath(path), os.path.abspath(folder)),
        (os.path.join(os.path.realpath(path.parent), path.name), os.path.realpath(folder)),
    ):
        relative = os.path.relpath(place, root).replace(os.sep, "/")
        if relative != "." and relative.split("/")[0] != "..":
            return relative
    return None


class Folders:
    """Finds files by their names without endings, in any Unicode form and with endings in any case; caches folders."""

    def __init__(self) -> None:
        self._images: dict[Path, dict[str, list[Path]]] = {}

    def images(self, folder: Path) -> dict[str, list[Path]]:
        """The images directly in a folder, by sorted names without endings; empty if the folder does not exist."""
        if folder not in self._images:
            by_name: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if is_image(path):
                    by_name.setdefault(normal_name(path.stem), []).append(path)
            self._images[folder] = dict(sorted(by_name.items()))
        return self._images[folder]

    def find(self, stem: Path, endings: Sequence[str] = PHOTO_ENDINGS) -> list[Path]:
        """The files with this path without its ending, in the order of `endings`."""
        paths = self.images(stem.parent).get(normal_name(stem.name), [])
        matches = [path for path in paths if path.suffix.lower() in endings]
        return sorted(matches, key=lambda path: endings.index(path.suffix.lower()))


def read_file(path: Path) -> bytes:
    """A regular file's bytes; raises `DataError` naming one that cannot be read, or that is none."""
    try:
        return read_regular_file(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def open_photo(path: Path, data: bytes) -> OpenImage:
    """A photo, of whose bytes the header is read; raises `DataError` naming a file that is not read."""
    try:
        return OpenImage(data, Limits())
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error


def read_text(path: Path) -> str:
    """A regular file's text, decoded as UTF-8 or as its byte order mark says; raises `DataError` naming one that has none."""
    data = read_file(path)
    encoding = next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in {encoding}: byte {error.start} is wrong; save it as UTF-8") from error


def mask_hint(folders: Folders, mask: Path) -> str:
    """A reason to append to the error that there is no such mask; empty if there is none. mask: the path without its ending."""
    if others := folders.find(mask):
        return f"; {others[0].name} is no PNG: export masks as PNG"
    names = folders.images(mask.parent)
    if longer := [name for name in names if name.startswith((f"{mask.name}_", f"{mask.name}-", f"{mask.name}."))]:
        return f"; there is {names[longer[0]][0].name}; rename it: a mask has the name of its image"
    if any(BRUSH_MASK.match(name) for name in names):
        return "; Label Studio's PNGs hold one label each: export JSON, and make masks of it with fcn-import"
    if (mask.parent.parent / "labelmap.txt").is_file():
        return "; CVAT writes no mask for an image without objects: remove the image from the list, or draw its background"
    return ""


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
    texts = [line.strip().replace("\\", "/") for line in read_text(path).splitlines()]
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
