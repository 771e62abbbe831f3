"""COCO's JSON as tools write it: ids as numbers or text, and file names with the tool's paths, escapes and addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from training.data.files import IMAGE_ENDINGS, Folders, is_image, without_ending
from training.data.problems import DataError
from training.data.text_files import read_text

Key = int | float | str
NEEDED = {"images": ("id", "file_name"), "annotations": (), "categories": ("id", "name")}
WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")  # a whole number as text
UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


@dataclass(frozen=True)
class Document:
    """The three lists of a file, without entries that repeat; what is an id in them is a number where it is one."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]


def read_document(path: Path) -> Document:
    """Reads the JSON; raises `DataError` naming what is missing, and ids that stand for two images or categories."""
    try:
        document = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    missing = [name for name in NEEDED if not isinstance(document, dict) or not isinstance(document.get(name), list)]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}: is it COCO's format for objects?")
    images, annotations, categories = (_entries(path, part, document[part], needed) for part, needed in NEEDED.items())
    for entry in images:
        if not isinstance(entry["file_name"], str):
            raise DataError(f"{path}: the file_name of an image must be a text, got {str(entry)[:80]}")
    images, categories = (_distinct(path, *part) for part in (("images", images), ("categories", categories)))
    return Document(images, annotations, categories)


def _entries(path: Path, part: str, entries: list[Any], needed: tuple[str, ...]) -> list[dict[str, Any]]:
    for entry in entries:
        if lacking := [name for name in needed if not isinstance(entry, dict) or name not in entry]:
            raise DataError(f"{path}: an entry of {part} lacks {', '.join(sorted(lacking))}: {str(entry)[:80]}")
        if not isinstance(entry, dict):
            raise DataError(f"{path}: an entry of {part} is no object: {str(entry)[:80]}")
        if "id" in needed and not is_key(entry["id"]):
            raise DataError(f"{path}: an entry of {part} has an id that is no number and no text: {str(entry)[:80]}")
    return [_with_keys(entry) for entry in entries]


def _distinct(path: Path, part: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries by their ids; the same entry twice is one. Raises `DataError` where an id stands for two."""
    by_id: dict[Key, dict[str, Any]] = {}
    for entry in entries:
        first = by_id.setdefault(entry["id"], entry)
        if different := [name for name in NEEDED[part] if first[name] != entry[name]]:
            names = " and ".join(repr(each[different[0]]) for each in (first, entry))
            raise DataError(f"{path}: two {part} have the id {entry['id']!r}, {names}: give each an id of its own")
    return list(by_id.values())


def _with_keys(entry: Mapping[str, Any]) -> dict[str, Any]:
    keys = {name: as_key(entry[name]) for name in ("id", "image_id", "category_id", "width", "height") if name in entry}
    return dict(entry) | keys


def is_key(value: Any) -> bool:
    """Whether a value can be an id: a number, or a text."""
    return isinstance(value, str) or (isinstance(value, int | float) and value == value)


def as_key(value: Any) -> Any:
    """A number that is written as text, or as 1.0, as a whole number; anything else as it is."""
    if isinstance(value, str) and WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def file_names(written: str) -> list[str]:
    """What a `file_name` may mean, the likeliest first: as written, of an address, with slashes, unescaped; names alone."""
    address = _split(written)
    # Label Studio serves local files as /data/local-files/?d=folder/a.jpg
    query = parse_qs(address.query).get("d", [])
    paths = [address.path if address.scheme in ("http", "https", "s3", "gs", "file") else written, *query]
    paths += [written.partition("?")[0]]  # of an address without its scheme
    paths += [path.replace("\\", "/") for path in paths]
    paths += [unquote(path) for path in paths]
    names = [re.split(r"[/\\]", path)[-1] for path in paths]
    names += [UPLOAD.sub("", name) for name in reversed(names)]
    return list(dict.fromkeys(path for path in (*paths, *names) if path and not path.endswith("/")))


def _split(written: str) -> SplitResult:
    """The parts of an address; a name that urllib takes for a wrong one is a path."""
    try:
        return urlsplit(written)
    except ValueError:
        return SplitResult("", "", written, "", "")


def base_name(written: str) -> str:
    """The name of the file alone, without folders, escapes and ending."""
    plain = [name for name in file_names(written) if "/" not in name and "\\" not in name and "%" not in name]
    return without_ending(plain[0] if plain else Path(written).name)


class ImageFinder:
    """Finds the files of a document's images in a folder, or beside the document and in `images/`.

    Of CVAT's `instances_NAME.json` also in `images/NAME`, where it puts the images of a subset.
    """

    def __init__(self, annotations: Path, images: Path | None) -> None:
        beside = [annotations.parent, annotations.parent / "images", annotations.parent.parent / "images"]
        subset = annotations.stem.removeprefix("instances_")
        beside += [folder / subset for folder in beside[1:]] if subset != annotations.stem else []
        self.folders = [images] if images else beside
        self._files = Folders()

    def find(self, written: str) -> Path:
        """The file of a `file_name`, in any Unicode form and case of its ending.

        Raises `DataError` where there is none, and for a name by which trainings know no image.
        """
        for name in file_names(written):
            for path in (folder / name for folder in self.folders):
                if _is_file(path):
                    return _usable(path)
                if similar := self._files.find(path.with_name(without_ending(path.name))):
                    return similar
        folders = ", ".join(map(str, self.folders))
        raise DataError(f"{written} is in none of {folders}; say with --images where the images are")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the file system
        return False


def _usable(path: Path) -> Path:
    if not is_image(path):
        raise DataError(f"{path} would be no image in a training, where names end in {', '.join(IMAGE_ENDINGS)}; rename it")
    return path
