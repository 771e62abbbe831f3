"""Reads YOLO's folders of segmentation (`data.yaml`, `images` and `labels` with shares of the sides) as COCO's documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from common.printable import printable
from training.data.files import images_below, open_photo, path_below, read_file, read_text
from training.data.problems import DataError, collecting
from training.data.strict_text import parse_yaml
from training.importing.coco import SPLITS, Document
from training.importing.omissions import Omissions

CORNERS = 3  # of a polygon, at least
UNLABELLED = "images have no file of labels and are left out; if they show background alone, give them an empty one"
TURNED = "images have objects of four corners alone; if these are turned boxes (OBB), their masks hold background"


def yolo_file(path: Path) -> Path | None:
    """A file, or the first of a folder, that says its classes and splits as YOLO's `data.yaml` does; None if there is none."""
    paths = sorted(path.glob("[!.]*")) if path.is_dir() else [path]
    paths = [each for each in paths if each.suffix.lower() in (".yaml", ".yml") and each.is_file()]
    return next((each for each in paths if _splits(_content(each, strict=False))), None)


def read_yolo(path: Path, omissions: Omissions) -> list[Document]:
    """A document for each split of a `data.yaml`. Raises `DataError` for boxes alone, and for a file of another kind."""
    content = _content(path)
    names = content.get("names")
    pairs = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
    categories = [{"id": int(key), "name": name} for key, name in pairs if str(key).isdecimal()]
    if not categories or not _splits(content):
        raise DataError(f"{path} needs the names of the classes, and the folder of train, val or test")
    if "kpt_shape" in content:
        raise DataError(f"{path} is of key points (kpt_shape), which say of no pixel what it is: export polygons")
    documents = [
        _read_split(path, content, key, {each["id"] for each in categories}, omissions) for key in _splits(content)
    ]  # fmt: skip
    objects = [each for document in documents for each in document.annotations]
    if objects and all("bbox" in each for each in objects):
        raise DataError(f"{path}: its {len(objects)} objects are boxes alone, which do not say which pixels an object has: "
                        "export YOLO's segmentation, with polygons")  # fmt: skip
    if objects and all(len(each.get("segmentation", [[]])[0]) == 8 for each in objects):
        omissions.tell(TURNED, sum(len(document.images) for document in documents))
    for document in documents:
        document.categories = categories
    return documents


def _content(path: Path, *, strict: bool = True) -> Mapping[str, Any]:
    try:
        content = parse_yaml(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        if not strict:
            return {}
        raise DataError(f"{path}: {error}") from error
    return content if isinstance(content, dict) else {}


def _splits(content: Mapping[str, Any]) -> list[str]:
    return [key for key in SPLITS if content.get(key) and content.get("names")]


def _read_split(path: Path, content: Mapping[str, Any], key: str, ids: set[int], omissions: Omissions) -> Document:
    document = Document(path.parent, split=SPLITS[key])
    for image in _images(path, content, key):
        name = Path(path_below(path.parent, image) or image.name)
        parts = list(name.parts)
        if "images" in parts:
            parts[-1 - parts[::-1].index("images")] = "labels"
        labels = path.parent.joinpath(*parts).with_suffix(".txt")
        if not labels.is_file():
            omissions.tell(UNLABELLED, names=[name])
            continue
        with collecting(document.errors):
            height, width = open_photo(image, read_file(image)).size
            entry = {"id": str(name), "file_name": name.as_posix(), "height": height, "width": width}
            document.images.append(entry)
            for number, line in enumerate(filter(str.strip, read_text(labels).splitlines()), 1):
                with collecting(document.errors):
                    document.annotations.append(_read_object(f"{labels}, line {number}", line, entry, ids))
    return document


def _images(path: Path, content: Mapping[str, Any], key: str) -> list[Path]:
    """The images of a split: of a folder, a list of paths, or several of them, all below the file's folder."""
    images: list[Path] = []
    folders = [path.parent / str(content.get("path") or ""), path.parent]
    for value in content[key] if isinstance(content[key], list) else [content[key]]:
        place = _below(path, folders, str(value))
        if place.is_dir():
            images += images_below(place)
        else:
            lines = filter(None, map(str.strip, read_text(place).splitlines()))
            images += [_below(path, [place.parent, *folders], line) for line in lines]
    return list(dict.fromkeys(images))


def _below(path: Path, folders: Sequence[Path], name: str) -> Path:
    """The file or folder of a name in a `data.yaml`, which Roboflow writes as from another folder. Raises `DataError`."""
    places = [folder / each for each in (name, name.removeprefix("../")) for folder in folders]
    if place := next((each for each in places if path_below(path.parent, each) and each.exists()), None):
        return place
    raise DataError(f"{path} names {printable(name, 200)!r}, which is not below its folder; put the images there")


def _read_object(place: str, line: str, image: Mapping[str, Any], ids: set[int]) -> dict[str, Any]:
    """An object of a line: its class, and the corners of a polygon or a box as shares of width and height."""
    try:
        number, *values = map(float, line.split())
        if not all(map(isfinite, values)):
            raise ValueError("a number that is none")
    except ValueError as error:
        raise DataError(f"{place}: numbers with blanks between them are needed, got {printable(line, 80)!r}") from error
    if number not in ids:
        raise DataError(f"{place}: no class has the number {number:g}")
    entry = {"id": place.rpartition("/")[2], "image_id": image["id"], "category_id": int(number)}
    sides = (image["width"], image["height"])
    pixels = [value * sides[at % 2] for at, value in enumerate(values)]
    if len(values) == 4:
        x, y, width, height = pixels
        return entry | {"bbox": [x - width / 2, y - height / 2, width, height]}
    if len(values) % 2 or len(values) < 2 * CORNERS:
        raise DataError(f"{place}: a class and x and y of {CORNERS} corners or more are needed, got {len(values) + 1} numbers")
    return entry | {"segmentation": [pixels]}
