"""Reads a folder of labelme's JSON files, one for each image, as a document of COCO's form; X-AnyLabeling writes them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import dist
from pathlib import Path
from typing import Any

from common.arrays import Size
from imaging.decoding import read_size
from imaging.errors import ImageError
from training.data.files import images_below, without_ending
from training.data.label_files import class_name
from training.data.problems import DataError, collecting
from training.data.strict_text import require_json
from training.importing import outlines
from training.importing.coco import Document
from training.importing.omissions import Omissions, may_hold_outline, outline_keys, void_object
from training.importing.outlines import LONGEST, Extent, Point, read_point
from training.importing.shapes import ShapeReader

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
UNLABELLED = "images have no JSON file and are left out; if they show background alone, save them in labelme"


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON file is labelme's."""
    return isinstance(content, dict) and ("shapes" in content or "imagePath" in content)


def read_labelme(folder: Path, omissions: Omissions) -> Document | None:
    """The images, objects and categories of the files in a folder and its subfolders; None if no file is labelme's.

    One that is no JSON counts as labelme's. Polygons and circles become polygons, masks run lengths, rectangles boxes, which
    may be turned. A category's id is its name.
    """
    reader = LabelmeReader(folder, omissions)
    paths = [path for path in sorted(folder.rglob("[!.]*")) if path.suffix.lower() == ".json" and "__MACOSX" not in path.parts]
    others = [path for path in paths if not reader.read(path)]
    if len(others) == len(paths):
        return None
    document = reader.finish()
    stems = {path.with_suffix("") for path in paths}
    stems |= {folder / without_ending(entry["file_name"]) for entry in document.images}
    images = [image for image in images_below(folder) if image.with_suffix("") not in stems]
    omissions.tell(UNLABELLED, len(images), images)
    omissions.tell("JSON files are not labelme's and are left out", len(others), others)
    return document


class LabelmeReader(ShapeReader):
    """Collects the images and objects of labelme's files."""

    noun = "shape"

    def read(self, path: Path) -> bool:
        """Adds a file's image and objects, or its errors; gives whether it is labelme's, or no JSON."""
        with collecting(self.document.errors):
            content = require_json(path)
            if not is_labelme(content):
                return False
            self._add(path, content)
        return True

    def _add(self, path: Path, content: Mapping[str, Any]) -> None:
        name, shapes = content.get("imagePath"), content.get("shapes")
        if not isinstance(name, str) or not isinstance(shapes, list):
            raise DataError(f"{path} needs a text as imagePath and a list of shapes, got {str((name, shapes))[:LONGEST]}")
        file = path.relative_to(self.document.path)
        image: dict[str, Any] = {"id": str(file), "file_name": (file.parent / name.replace("\\", "/")).as_posix()}
        self.document.images.append(image)
        try:
            image["height"], image["width"] = size = _size(content)
        except ValueError as error:
            raise DataError(f"{path} {error}") from error
        for key, value in content.items():
            has_objects = isinstance(value, list) and any(isinstance(part, dict) for part in value)
            if key not in FILE_KEYS and has_objects and may_hold_outline(value):
                self._omissions.add_unknown(f"files with the key {key[:LONGEST]!r}", path, "beside its shapes")
                self.document.annotations.append(void_object({"id": key[:LONGEST], "image_id": image["id"]}, size, []))
        self.add_shapes(image["id"], size, [LabelmeShape(entry, str(at)) for at, entry in enumerate(shapes)], path)


def _size(content: Mapping[str, Any]) -> Size:
    """The image's (height, width): old versions of labelme give only the image itself. Raises `ValueError`."""
    height, width, data = (content.get(key) for key in ("imageHeight", "imageWidth", "imageData"))
    if height is None and width is None and isinstance(data, str):
        try:
            height, width = read_size(outlines.decode_base64(data), outlines.LIMITS)
        except ImageError as error:
            raise ValueError(f"has imageData that is no image: {error}") from error
    try:
        return outlines.check_size(height, width)
    except ValueError as error:
        raise ValueError(f"needs imageHeight and imageWidth: {error}") from error


@dataclass(frozen=True)
class LabelmeShape:
    """A shape of a file. name: its number in it."""

    entry: Any
    name: str

    @property
    def kind(self) -> str:
        """Its type; labelme reads a shape without a type as a polygon."""
        kind = self.entry.get("shape_type")
        return "polygon" if kind is None else str(kind)

    def unknown(self) -> str | None:
        """Its type, or a key that may hold its outline; None if all is known. Raises `ValueError` if it is no object."""
        if not isinstance(self.entry, dict):
            raise ValueError(f"must be an object, got {str(self.entry)[:LONGEST]}")
        if self.kind not in (*POINTS, *WITHOUT_AREA):
            return f"shapes of the type {self.kind[:LONGEST]!r}"
        others = self.other_keys()
        keys = outline_keys(others) or [key for key in OWN_KEYS if key in others]
        return f"shapes of the type {self.kind} with the key {keys[0][:LONGEST]!r}" if keys else None

    def has_no_area(self) -> bool:
        """Whether it is a point or a line."""
        return self.kind in WITHOUT_AREA

    def labels(self) -> list[str]:
        """Its label; none if it is missing or empty. Raises `ValueError` if it is no name."""
        label = self.entry.get("label", "")
        if label is not None and not isinstance(label, str):
            raise ValueError(f"its label must be a text, got {str(label)[:LONGEST]}")
        return [class_name(label)] if label and label.strip() else []

    def place(self, size: Size) -> Mapping[str, Any] | Sequence[Point]:
        """Where a shape lies that is not known: its outline, or its points; no points if that is not known."""
        try:
            if self.unknown() is None:
                return self.outline(size)
            return self._points() if self.kind not in POINTS else []
        except ValueError:
            return []

    def outline(self, size: Size) -> dict[str, Any]:
        """Its `segmentation`, or its `bbox`; raises `ValueError` for points that are none."""
        kind, points = self.kind, self._points()
        counts = POINTS[kind]
        if counts is None and len(points) < 3:
            raise ValueError(f"a {kind} needs three points or more, got {len(points)}")
        if counts is not None and len(points) not in counts:
            raise ValueError(f"a {kind} needs {' or '.join(map(str, counts))} points, got {len(points)}")
        if kind in ("polygon", "quadrilateral"):
            return {"segmentation": [[value for point in points for value in point]]}
        if kind == "circle":
            radius = dist(*points)
            return {"segmentation": [outlines.ellipse_corners(points[0], (radius, radius))]}
        if kind == "mask":
            (x0, y0), (x1, y1) = points
            # labelme cuts the fractions off, and counts the pixel of the second point in; other programs do not count it
            left, top, right, bottom = int(min(x0, x1)), int(min(y0, y1)), int(max(x0, x1)), int(max(y0, y1))
            part = outlines.decode_nonzero(self.entry.get("mask"), (bottom - top + 1, right - left + 1), tolerance=1)
            extent = Extent(left, top, right - left + 1, bottom - top + 1)
            return {"segmentation": outlines.encode_mask(part, size, corner=(top, left)), "extent": extent}
        return {"bbox": outlines.box_of_corners(points)}

    def other_keys(self) -> dict[str, Any]:
        """The keys that are not known for its type, and what they hold."""
        own = [key for key, kind in OWN_KEYS.items() if self.kind == kind or not self.entry.get(key)]
        return {key: value for key, value in self.entry.items() if key not in SHAPE_KEYS and key not in own}

    def _points(self) -> list[Point]:
        points = self.entry.get("points")
        if not isinstance(points, list):
            raise ValueError(f"needs points as [[x, y], ...], got {str(points)[:LONGEST]}")
        return [read_point(point) for point in points]
