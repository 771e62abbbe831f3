"""Finds images and masks by name, however different systems spell the names."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from imaging.decoding import IMAGE_ENDINGS

MASK_ENDINGS = (".png",)
UNREAD_ENDINGS = (".heic", ".heif", ".dng", ".jxl", ".jp2", ".cr2", ".cr3", ".nef", ".arw")  # of photos
# of two files with one name, the PNG may be the mask, so the photo comes first
PHOTO_ENDINGS = (*(ending for ending in IMAGE_ENDINGS if ending not in MASK_ENDINGS), *MASK_ENDINGS)
# Linux allows names that are not UTF-8; Python decodes them with this error handler
NAME_ENCODING = ("utf-8", "surrogateescape")


def is_image(path: Path) -> bool:
    """Whether a path has an image's ending; False for hidden files, and for macOS metadata (`._a.jpg`, `__MACOSX`)."""
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".") and "__MACOSX" not in path.parts


def images_below(folder: Path) -> list[Path]:
    """All images in a folder and its subfolders, sorted."""
    return sorted(path for path in folder.rglob("*") if is_image(path))


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

    def find(self, stem: Path, endings: Sequence[str] = PHOTO_ENDINGS) -> Path | None:
        """The file with this path without its ending, or None; of several, the one whose ending comes first in `endings`."""
        return next(iter(self.find_all(stem, endings)), None)

    def find_all(self, stem: Path, endings: Sequence[str] = PHOTO_ENDINGS) -> list[Path]:
        """The files with this path without its ending, in the order of `endings`."""
        paths = self.images(stem.parent).get(normal_name(stem.name), [])
        matches = [path for path in paths if path.suffix.lower() in endings]
        return sorted(matches, key=lambda path: endings.index(path.suffix.lower()))
