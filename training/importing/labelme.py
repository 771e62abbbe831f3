"""Reads a folder of labelme's JSON files, one for each image, as a document of COCO's form; X-AnyLabeling writes them too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imaging.decoding import read_size
from imaging.errors import ImageError
from training.data.files import images_below, without_ending
from training.data.problems import DataError
from training.data.strict_text import require_json
from training.importing.coco import Document
from training.importing.labelme_shapes import LONGEST, LabelmeShape
from training.importing.omissions import Omissions, may_hold_outline, void_object
from training.importing.outlines import LIMITS, Size, check_size, decode_base64
from training.importing.shapes import ShapeReader

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
        try:
            content = require_json(path)
            if not is_labelme(content):
                return False
            self._add(path, content)
        except DataError as error:
            self.document.errors += error.each
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
        for key in [key for key in content if key not in FILE_KEYS]:
            if _may_hold_shapes(content[key]):
                self._omissions.add_unknown(f"files with the key {key[:LONGEST]!r}", path, "beside its shapes")
                self.document.annotations.append(void_object({"id": key[:LONGEST], "image_id": image["id"]}, size, []))
        self.add_shapes(image["id"], size, [LabelmeShape(entry, str(at)) for at, entry in enumerate(shapes)], path)


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
