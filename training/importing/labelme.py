"""Reads a folder of labelme's JSON files, one for each image, as a document of COCO's form; X-AnyLabeling writes them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import dist
from pathlib import Path
from typing import Any

from imaging.decoding import read_size
from imaging.errors import ImageError
from training.data.files import images_below, without_ending
from training.data.label_files import class_name
from training.data.problems import DataError, first_names
from training.data.strict_text import require_json
from training.importing.coco import Document
from training.importing.omissions import Omissions, may_hold_outline, outline_keys, void_object
from training.importing.outlines import (
    LIMITS,
    Extent,
    Point,
    Size,
    box_of_corners,
    check_size,
    decode_base64,
    decode_nonzero,
    ellipse_corners,
    encode_mask,
)

POINTS = {
    "polygon": None, "quadrilateral": (4,), "circle": (2,), "mask": (2,), "rectangle": (2, 4), "oriented_rectangle": (4,),
    "rotation": (4,),
}  # fmt: skip
"""The types of shapes with an area, and the numbers of points that they may have. X-AnyLabeling's are among them."""
WITHOUT_AREA = ("point", "points", "line", "linestrip")
# of the types that need them: `mask` is null for others, and the points of a rotation are turned already
OWN_KEYS = {"mask": "mask", "direction": "rotation"}
SHAPE_KEYS = (
    "label", "points", "shape_type", "group_id", "flags", "description", "text", "score", "difficult", "attributes",
    "kie_linking", "line_color", "fill_color",
)  # fmt: skip
FILE_KEYS = (
    "version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth", "lineColor", "fillColor",
    "chat_history",
)  # fmt: skip
LARGEST = 1e6  # pixels; larger coordinates are none
LONGEST = 60  # letters of a text of the file that a message shows


def labelme_files(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders that labelme has written, sorted by path.

    A file that is no JSON counts as one, so that reading it says what is wrong.
    """
    return [path for path in json_files(folder) if _is_labelme(path)]


def json_files(folder: Path) -> list[Path]:
    """The JSON files in a folder and its subfolders, sorted by path, without hidden ones."""
    paths = sorted(path for path in folder.rglob("[!.]*") if path.suffix.lower() == ".json")
    return [path for path in paths if "__MACOSX" not in path.parts]


def _is_labelme(path: Path) -> bool:
    try:
        document = require_json(path)
    except DataError:
        return True
    return isinstance(document, dict) and ("shapes" in document or "imagePath" in document)


def read_labelme(folder: Path, files: Sequence[Path], omissions: Omissions) -> tuple[Document, list[str], list[DataError]]:
    """The images, objects and categories of a folder's files, notes for the user, and the errors of all files.

    Polygons and circles become polygons, masks run lengths, rectangles boxes, which may be turned. A category's id is its name.
    """
    document = Document([], [], [])
    errors: list[DataError] = []
    names: set[str] = set()
    for path in files:
        try:
            names |= _add(document, folder, path, omissions)
        except DataError as error:
            errors += error.each
    names |= {str(entry["category_id"]) for entry in document.annotations}
    document.categories.extend({"id": name, "name": name} for name in sorted(names))
    notes = []
    stems = {path.with_suffix("") for path in files} | {
        folder / without_ending(entry["file_name"]) for entry in document.images
    }
    if images := [path for path in images_below(folder) if path.with_suffix("") not in stems]:
        notes.append(
            f"{len(images)} images have no JSON file and are left out: {first_names(images)}; if they show background "
            "alone, save them in labelme"
        )
    if others := [path for path in json_files(folder) if path not in files]:
        notes.append(f"{len(others)} JSON files are not labelme's and are left out: {first_names(others)}")
    return document, notes, errors


def _add(document: Document, folder: Path, path: Path, omissions: Omissions) -> set[str]:
    """Adds a file's image and objects to the document; gives the names of the file's classes."""
    content = require_json(path)
    name, shapes = content.get("imagePath"), content.get("shapes")
    if not isinstance(name, str) or not isinstance(shapes, list):
        raise DataError(f"{path} needs a text as imagePath and a list of shapes, got {str((name, shapes))[:LONGEST]}")
    inside = path.parent.relative_to(folder).as_posix()
    file_name = name.replace("\\", "/")
    image: dict[str, Any] = {
        "id": str(path.relative_to(folder)), "file_name": file_name if inside == "." else f"{inside}/{file_name}"
    }  # fmt: skip
    document.images.append(image)
    names: set[str] = set()
    try:
        image["height"], image["width"] = size = _size(content)
    except ValueError as error:
        raise DataError(f"{path} {error}") from error
    for key in [key for key in content if key not in FILE_KEYS]:
        if _may_hold_shapes(content[key]):
            omissions.add_unknown(f"files with the key {key[:LONGEST]!r}", path, "beside its shapes")
            document.annotations.append(void_object({"id": key[:LONGEST], "image_id": image["id"]}, size, []))
    for index, shape in enumerate(shapes):
        try:
            entry = _draw(shape, path, f"shape {index}", size, names, omissions)
        except ValueError as error:
            omissions.add_error("shapes with errors", path, f"shape {index}: {error}")
            entry = void_object({}, size, _place(shape, size))
        if entry:
            document.annotations.append({"id": f"shape {index}", "image_id": image["id"]} | entry)
    return names


def _draw(shape: Any, path: Path, place: str, size: Size, names: set[str], omissions: Omissions) -> dict[str, Any] | None:
    """A shape's category and outline, or what makes it void; None for a shape without area. Raises `ValueError`.

    Adds the name of its class to `names`.
    """
    if not isinstance(shape, dict):
        raise ValueError(f"must be an object, got {str(shape)[:LONGEST]}")
    what = _unknown(shape)
    if what is None and _kind(shape) in WITHOUT_AREA:
        omissions.add_without_area(f"shapes of the type {_kind(shape)}")
        return None
    if label := _label(shape):
        names.add(label)
    if what or not label:
        omissions.add_unknown(what or "shapes without a label", path, place)
        return void_object({}, size, _place(shape, size))
    for key in _other_keys(shape):
        omissions.add_key(f"shapes have the key {key[:LONGEST]!r}")
    return {"category_id": label} | _outline(shape, size)


def _size(content: Mapping[str, Any]) -> Size:
    """The image's (height, width): old versions of labelme give only the image itself. Raises `ValueError`."""
    height, width, data = (content.get(key) for key in ("imageHeight", "imageWidth", "imageData"))
    if height is None and width is None and isinstance(data, str):
        try:
            height, width = read_size(decode_base64(data), LIMITS)
        except ImageError as error:
            raise ValueError(f"has imageData that is no image: {error}") from error
    try:
        return check_size(height, width)
    except ValueError as error:
        raise ValueError(f"needs imageHeight and imageWidth: {error}") from error


def _may_hold_shapes(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(part, dict) for part in value) and may_hold_outline(value)


def _kind(shape: Mapping[str, Any]) -> str:
    """The type of a shape; labelme reads one without a type as a polygon."""
    kind = shape.get("shape_type")
    return "polygon" if kind is None else str(kind)


def _label(shape: Mapping[str, Any]) -> str | None:
    """The label of a shape; None if it has none. Raises `ValueError` if it is no name."""
    label = shape.get("label", "")
    if label is not None and not isinstance(label, str):
        raise ValueError(f"its label must be a text, got {str(label)[:LONGEST]}")
    return class_name(label) if label and label.strip() else None


def _unknown(shape: Mapping[str, Any]) -> str | None:
    """What a shape has that is not known: its type, or a key that may hold its outline; None if all is known."""
    kind = _kind(shape)
    if kind not in (*POINTS, *WITHOUT_AREA):
        return f"shapes of the type {kind[:LONGEST]!r}"
    others = _other_keys(shape)
    keys = outline_keys(others) or [key for key in OWN_KEYS if key in others]
    return f"shapes of the type {kind} with the key {keys[0][:LONGEST]!r}" if keys else None


def _other_keys(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a shape that are not known for its type, and what they hold."""
    own = [key for key, kind in OWN_KEYS.items() if _kind(shape) == kind or not shape.get(key)]
    return {key: value for key, value in shape.items() if key not in SHAPE_KEYS and key not in own}


def _place(shape: Any, size: Size) -> Mapping[str, Any] | Sequence[Point]:
    """Where a shape lies that is not known: its outline, or its points; no points if that is not known."""
    if not isinstance(shape, dict):
        return []
    try:
        if _unknown(shape) is None:
            return _outline(shape, size)
        return _points(shape) if _kind(shape) not in POINTS else []
    except ValueError:
        return []


def _points(shape: Mapping[str, Any]) -> list[Point]:
    points = shape.get("points")
    if not isinstance(points, list) or not all(map(_is_point, points)):
        raise ValueError(f"needs points as [[x, y], ...], got {str(points)[:LONGEST]}")
    return [(x, y) for x, y in points]


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(_is_coordinate(value) for value in point)


def _is_coordinate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _outline(shape: Mapping[str, Any], size: Size) -> dict[str, Any]:
    """A shape's `segmentation`, or its `bbox`; raises `ValueError` for points that are none."""
    kind, points = _kind(shape), _points(shape)
    counts = POINTS[kind]
    if counts is None and len(points) < 3:
        raise ValueError(f"a {kind} needs three points or more, got {len(points)}")
    if counts is not None and len(points) not in counts:
        raise ValueError(f"a {kind} needs {' or '.join(map(str, counts))} points, got {len(points)}")
    if kind in ("polygon", "quadrilateral"):
        return {"segmentation": [[value for point in points for value in point]]}
    if kind == "circle":
        radius = dist(*points)
        return {"segmentation": [ellipse_corners(points[0], (radius, radius))]}
    if kind == "mask":
        (x0, y0), (x1, y1) = points
        # labelme cuts the fractions off, and counts the pixel of the second point in; other programs do not count it
        left, top, right, bottom = int(min(x0, x1)), int(min(y0, y1)), int(max(x0, x1)), int(max(y0, y1))
        part = decode_nonzero(shape.get("mask"), (bottom - top + 1, right - left + 1), tolerance=1)
        extent = Extent(left, top, right - left + 1, bottom - top + 1)
        return {"segmentation": encode_mask(part, size, corner=(top, left)), "extent": extent}
    return {"bbox": box_of_corners(points)}
