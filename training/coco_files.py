"""COCO's JSON as tools write it: ids as numbers or text, and file names with the tool's paths, escapes and addresses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from training.files import Folders, without_ending
from training.problems import DataError
from training.text_files import read_text

Key = int | str
NEEDED = {"images": ("id", "file_name"), "annotations": (), "categories": ("id", "name")}
UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


@dataclass(frozen=True)
class Document:
    """The three lists of a file; what is an id in them is a number where it is one."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]


def read_document(path: Path) -> Document:
    """Reads the JSON; raises `DataError` naming what is missing."""
    try:
        document = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    missing = [name for name in NEEDED if not isinstance(document, dict) or not isinstance(document.get(name), list)]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}: is it COCO's format for objects?")
    for part, needed in NEEDED.items():
        for entry in document[part]:
            if lacking := [name for name in needed if not isinstance(entry, dict) or name not in entry]:
                raise DataError(f"{path}: an entry of {part} lacks {', '.join(sorted(lacking))}: {str(entry)[:80]}")
            if not isinstance(entry, dict):
                raise DataError(f"{path}: an entry of {part} is no object: {str(entry)[:80]}")
    return Document(*([_with_keys(entry) for entry in document[part]] for part in NEEDED))


def _with_keys(entry: Mapping[str, Any]) -> dict[str, Any]:
    keys = {name: as_key(entry[name]) for name in ("id", "image_id", "category_id", "width", "height") if name in entry}
    return dict(entry) | keys


def as_key(value: Any) -> Any:
    """A number that is written as text, or as 1.0, as a whole number; anything else as it is."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def file_names(written: str) -> list[str]:
    """What a `file_name` may mean, the likeliest first: as written, of an address, with slashes, unescaped; names alone."""
    address = urlsplit(written)
    # Label Studio serves local files as /data/local-files/?d=folder/a.jpg
    query = parse_qs(address.query).get("d", [])
    paths = [address.path if address.scheme in ("http", "https", "s3", "gs", "file") else written, *query]
    paths += [path.replace("\\", "/") for path in paths]
    paths += [unquote(path) for path in paths]
    names = [re.split(r"[/\\]", path)[-1] for path in paths]
    names += [UPLOAD.sub("", name) for name in reversed(names)]
    return list(dict.fromkeys(path for path in (*paths, *names) if path and not path.endswith("/")))


def base_name(written: str) -> str:
    """The name of the file alone, without folders, escapes and ending."""
    plain = [name for name in file_names(written) if "/" not in name and "\\" not in name and "%" not in name]
    return without_ending(plain[0] if plain else Path(written).name)


class ImageFinder:
    """Finds the files of a document's images in a folder, or beside the document and in `images/`."""

    def __init__(self, annotations: Path, images: Path | None) -> None:
        beside = [annotations.parent, annotations.parent / "images", annotations.parent.parent / "images"]
        self.folders = [images] if images else beside
        self._files = Folders()

    def find(self, written: str) -> Path:
        """The file of a `file_name`, in any Unicode form and case of its ending; raises `DataError`."""
        for name in file_names(written):
            for path in (folder / name for folder in self.folders):
                if path.is_file():
                    return path
                if similar := self._files.find(path.with_name(without_ending(path.name))):
                    return similar
        folders = ", ".join(map(str, self.folders))
        raise DataError(f"{written} is in none of {folders}; say with --images where the images are")
