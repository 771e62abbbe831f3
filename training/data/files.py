"""Images and masks by their names, as the file systems of different machines spell them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
MASK_ENDINGS = (".png",)
NAME_ENCODING = ("utf-8", "surrogateescape")  # names need not be UTF-8 on Linux, and Python writes the other bytes so


def is_image(path: Path) -> bool:
    """Whether a file's name is an image's; not that of macOS's notes on one, such as `._a.jpg` and what lies in `__MACOSX`."""
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".") and "__MACOSX" not in path.parts


def images_below(folder: Path) -> list[Path]:
    """Every image in a folder and the folders in it, sorted."""
    return sorted(path for path in folder.rglob("*") if is_image(path))


def normal_name(name: str) -> str:
    """The composed Unicode form: macOS decomposes the accents of names, other systems don't."""
    return unicodedata.normalize("NFC", name)


def without_ending(name: str) -> str:
    """A name without the ending of an image, where it has one: `a.b` stays."""
    return name.removesuffix(Path(name).suffix) if Path(name).suffix.lower() in IMAGE_ENDINGS else name


class Folders:
    """Finds files by their names without endings; the Unicode form, and the case of the ending, do not matter."""

    def __init__(self) -> None:
        self._images: dict[Path, dict[str, list[Path]]] = {}

    def images(self, folder: Path) -> dict[str, list[Path]]:
        """The images right in a folder by their names, sorted; none where there is no folder."""
        if folder not in self._images:
            named: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if is_image(path):
                    named.setdefault(normal_name(path.stem), []).append(path)
            self._images[folder] = dict(sorted(named.items()))
        return self._images[folder]

    def find(self, stem: Path, endings: Sequence[str] = IMAGE_ENDINGS) -> Path | None:
        """The file of this path without its ending; of several, the one whose ending comes first."""
        return next(iter(self.find_all(stem, endings)), None)

    def find_all(self, stem: Path, endings: Sequence[str] = IMAGE_ENDINGS) -> list[Path]:
        """The files of this path without its ending, in the order of their endings."""
        paths = self.images(stem.parent).get(normal_name(stem.name), [])
        fitting = [path for path in paths if path.suffix.lower() in endings]
        return sorted(fitting, key=lambda path: endings.index(path.suffix.lower()))
