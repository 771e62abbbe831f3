"""Reads COCO's JSON as tools write it.

Ids are numbers or texts. File names may contain the tool's folders, URL escapes and addresses.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from common.printable import printable
from imaging.decoding import IMAGE_ENDINGS
from training.data.files import Folders, is_image, path_below, without_ending
from training.data.problems import DataError, first_names, raise_all

LONGEST_NAME = 1000  # letters of a file name that a message shows
MOST_KEYS, SHOWN = 5, 80  # keys of an object, and letters of a value, that a message shows
Key = int | float | str
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}  # as trainings name them
NUMBERS = ("id", "image_id", "category_id", "width", "height")  # ids may be texts, too
NEEDED = {"images": ("id", "file_name"), "annotations": (), "categories": ("id", "name")}
WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?")  # a whole number, written as text
UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio's prefix of the names of uploaded files
UPLOADS = re.compile(r"^/data/upload/\d+/(?=[^/]+$)")  # its address of a project's uploads, which lie in one folder


@dataclass
class Document:
    """A document of an export: the three lists of a COCO file, without repeated images and categories.

    Ids and sizes that are whole numbers written as text or as 1.0 are ints. path: its file, or its folder if each image has a
    file of its own. split: the split that the tool put it into, empty without one. errors: of a file that cannot be read, and
    of objects and images that are not in the lists. They must end the import, and are kept until the photos have been looked
    for: all errors are told at once.
    """

    path: Path
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: list[dict[str, Any]] = field(default_factory=list)
    split: str = ""
    errors: list[DataError] = field(default_factory=list)


def make_document(path: Path, document: Any) -> Document:
    """The parts of a COCO file's content.

    Raises `DataError` if one is missing, and with all entries that are wrong, or share an id with another image or category.
    """
    missing = [name for name in NEEDED if not isinstance(document, dict) or not isinstance(document.get(name), list)]
    if missing:
        keys = first_names(document, MOST_KEYS)[:SHOWN] if isinstance(document, dict) else str(document)[:SHOWN]
        raise DataError(f"{path} has no {', '.join(missing)}, but {keys}: is it COCO's format for objects?")
    errors: list[DataError] = []
    parts: dict[str, list[dict[str, Any]]] = {}
    for part, required_keys in NEEDED.items():
        problems = [(entry, _problem(part, entry, required_keys)) for entry in document[part]]
        errors += [DataError(f"{path}: {problem} {str(entry)[:SHOWN]}") for entry, problem in problems if problem]
        sound = [entry for entry, problem in problems if not problem]
        parts[part] = [entry | {name: as_key(entry[name]) for name in NUMBERS if name in entry} for entry in sound]
    images, categories = (_distinct(path, part, parts[part], errors) for part in ("images", "categories"))
    raise_all(errors)
    return Document(path, images, parts["annotations"], categories)


def _problem(part: str, entry: Any, required_keys: tuple[str, ...]) -> str | None:
    """What is wrong with an entry of a part, in words that the entry ends; None for a sound one."""
    if missing := [name for name in required_keys if not isinstance(entry, dict) or name not in entry]:
        return f"an entry of {part} lacks {', '.join(sorted(missing))}:"
    if not isinstance(entry, dict):
        return f"an entry of {part} is no object:"
    if "id" in required_keys and not is_key(entry["id"]):
        return f"an entry of {part} has an id that is neither a number nor a text:"
    if "file_name" in required_keys and not isinstance(entry["file_name"], str):
        return "the file_name of an image must be a text, got"
    return None


def _distinct(path: Path, part: str, entries: list[dict[str, Any]], errors: list[DataError]) -> list[dict[str, Any]]:
    """The entries without repetitions; adds an error for each that shares an id with a different one."""
    by_id: dict[Key, dict[str, Any]] = {}
    for entry in entries:
        first = by_id.setdefault(entry["id"], entry)
        if different := [name for name in NEEDED[part] if first[name] != entry[name]]:
            values = " and ".join(printable(repr(item[different[0]]), LONGEST_NAME) for item in (first, entry))
            errors.append(DataError(f"{path}: two {part} have the id {entry['id']!r}, {values}: give each an id of its own"))
    return list(by_id.values())


def is_key(value: Any) -> bool:
    """Whether a value can be an id: a text, or a number other than NaN."""
    return isinstance(value, str) or (isinstance(value, int | float) and value == value)


def as_key(value: Any) -> Any:
    """Converts a whole number written as text or as 1.0 to int; returns any other value unchanged."""
    if isinstance(value, str) and WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def candidates(text: str) -> dict[str, bool]:
    """The paths that a `file_name` may mean, the likeliest first, and whether each is the one that it says.

    These are the text itself and the path of an address, both with slashes and unescaped. Then come bare file names, with and
    without Label Studio's prefix.
    """
    try:
        address = urlsplit(text)
    except ValueError:  # no address
        address = SplitResult("", "", text, "", "")
    # Label Studio serves local files as /data/local-files/?d=folder/a.jpg
    query = parse_qs(address.query).get("d", [])
    paths = [address.path if address.scheme in ("http", "https", "s3", "gs", "file") else text, *query]
    paths += [text.partition("?")[0]]  # an address without its scheme may still have a query
    paths += [UPLOADS.sub("", path) for path in paths]
    paths += [path.replace("\\", "/") for path in paths]
    paths += [unquote(path) for path in paths]
    names = [re.split(r"[/\\]", path)[-1] for path in paths]
    names += [UPLOAD.sub("", name) for name in reversed(names)]
    result = dict.fromkeys(names, False) | dict.fromkeys(paths, True)
    return {path: result[path] for path in dict.fromkeys([*paths, *names]) if path and not path.endswith("/")}


class ImageFinder:
    """Finds the files of a document's images.

    It searches the folder `images`, or without one the document's folder (or the folder in its place) and `images/` in and
    beside it. For a document named `instances_NAME.json`, as CVAT writes it, it also searches `images/NAME`, where CVAT puts
    the images of a subset. It finds nothing outside of these folders. Links may lead out of the folder `images` alone, which
    the user has named.
    """

    def __init__(self, annotations: Path, images: Path | None) -> None:
        folder = annotations if annotations.is_dir() else annotations.parent
        folders = [folder, folder / "images", folder.parent / "images"]
        subset = annotations.stem.removeprefix("instances_")
        folders += [folder / subset for folder in folders[1:]] if subset != annotations.stem else []
        self.folders = [images] if images else folders
        self._names_folders = True  # in the next message; the first one is enough
        real = Path(os.path.realpath(folder))
        self._link_targets = None if images else (real, real.parent / "images")
        self._files = Folders()

    def find(self, text: str) -> tuple[Path, bool]:
        """The file of a `file_name`, in any Unicode form and with its ending in any case.

        Also says whether the file has this path and ending: its folders may be lost, or Label Studio's prefix. Raises
        `DataError` if there is no such file, for one outside of the folders, and for one whose name training would not take for
        an image.
        """
        leads_out = False
        for name, is_own in candidates(text).items():
            for path in (Path(os.path.normpath(folder / name)) for folder in self.folders):
                if not any(path_below(folder, path) for folder in self.folders):
                    leads_out = True
                elif os.path.isfile(path):
                    return self._require_photo(path), is_own
                elif similar := self._files.find(stem := path.with_name(without_ending(path.name))):
                    has_ending = stem == path or similar[0].suffix.lower() == path.suffix.lower()
                    return self._require_photo(similar[0]), is_own and has_ending
        folders = ", ".join(map(str, self.folders)) if self._names_folders else "these folders"
        self._names_folders = False
        folders += ", and leads out of them" if leads_out else ""
        raise DataError(f"{printable(text, LONGEST_NAME)} is in none of {folders}; say with --images where the images are")

    def _require_photo(self, path: Path) -> Path:
        """The path; raises `DataError` for a name that training would not take for an image's, or a link out of the export."""
        if not is_image(path):
            endings = ", ".join(IMAGE_ENDINGS)
            raise DataError(f"{path} is no image for a training, because its name does not end in one of {endings}; rename it")
        target = Path(os.path.realpath(path))
        if self._link_targets and not any(target.is_relative_to(folder) for folder in self._link_targets):
            raise DataError(
                f"{path} is a link out of the export's folder, to {target}: give the folder of its images as --images"
            )
        return path
