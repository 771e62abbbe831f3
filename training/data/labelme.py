"""Reads a folder of labelme's JSON files, one for each image, as a document of COCO's form."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import cos, hypot, pi, sin
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.data.coco.files import Document
from training.data.coco.objects import encode_mask
from training.data.files import images_below, without_ending
from training.data.omissions import Omissions
from training.data.problems import DataError, first_names, raise_all
from training.data.text_files import read_text

CORNERS = 64  # of the polygon that a circle becomes
SHAPES = ("polygon", "mask", "circle", "rectangle")


def labelme_files(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders that labelme has written, sorted by path.

    A file that is no JSON counts as one, so that reading it says what is wrong.
    """
    return [path for path in sorted(folder.rglob("[!.]*.json")) if "__MACOSX" not in path.parts and _is_labelme(path)]


def _is_labelme(path: Path) -> bool:
    try:
        document = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError):
        return True
    return isinstance(document, dict) and isinstance(document.get("shapes"), list)


def read_labelme(folder: Path, files: Sequence[Path], omissions: Omissions) -> tuple[Document, list[str], list[DataError]]:
    """The images, objects and categories of a folder's files, notes for the user, and all errors of all files.

    Polygons and circles become polygons, masks run lengths, rectangles boxes; other shapes are left out, with a note. A
    category's id is its name. Raises `DataError` with all errors of all files.
    """
    document = Document([], [], [])
    errors: list[DataError] = []
    others: Counter[str] = Counter()
    for path in files:
        try:
            _add(document, folder, path, others)
        except DataError as error:
            errors += error.each
    names = sorted({str(entry["category_id"]) for entry in document.annotations})
    document.categories.extend({"id": name, "name": name} for name in names)
    notes = [f"{count} shapes of the type {name} are left out, since they have no area" for name, count in others.items()]
    labelled = {path.with_suffix("") for path in files} | {
        folder / without_ending(entry["file_name"]) for entry in document.images
    }
    if unlabelled := [path for path in images_below(folder) if path.with_suffix("") not in labelled]:
        notes.append(
            f"{len(unlabelled)} images have no JSON file and are left out: {first_names(unlabelled)}; if they show background "
            "alone, save them in labelme"
        )
    return document, notes, errors


def _add(document: Document, folder: Path, path: Path, others: Counter[str]) -> None:
    """Adds a file's image and objects to the document, and counts shapes of other types."""
    try:
        content = json.loads(read_text(path))
        name, size = content["imagePath"], (content["imageHeight"], content["imageWidth"])
        shapes = content["shapes"]
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    except KeyError as error:
        raise DataError(f"{path} has no {error.args[0]}: is it labelme's?") from error
    if not isinstance(name, str) or not all(isinstance(side, int) and side > 0 for side in size):
        raise DataError(f"{path} needs imagePath, imageHeight and imageWidth of its image, got {name!r} and {size}")
    inside = path.parent.relative_to(folder).as_posix()
    id_ = str(path.relative_to(folder))
    written = name.replace("\\", "/")
    document.images.append(
        {"id": id_, "file_name": written if inside == "." else f"{inside}/{written}", "height": size[0], "width": size[1]}
    )
    errors: list[DataError] = []
    for index, shape in enumerate(shapes):
        try:
            kind, label = (shape.get(key) for key in ("shape_type", "label")) if isinstance(shape, dict) else (None, None)
            if not isinstance(label, str):
                raise DataError(f"{path}: shape {index} must have a label, got {str(shape)[:60]}")
            if kind not in SHAPES:
                others[str(kind)] += 1
                continue
            outline = _outline(shape, str(kind), size)
            document.annotations.append({"id": f"{label} (shape {index})", "image_id": id_, "category_id": label, **outline})
        except (DataError, ValueError) as error:
            errors.append(DataError(f"{path}: shape {index} ({label}): {error}"))
    raise_all(errors)


def _outline(shape: Mapping[str, Any], kind: str, size: tuple[int, int]) -> dict[str, Any]:
    """A shape's `segmentation`, or its `bbox`; raises `ValueError` for points that are none."""
    points = shape.get("points")
    pairs = isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(isinstance(value, int | float) for value in point)
        for point in points
    )
    if not isinstance(points, list) or not pairs:
        raise ValueError(f"needs points as [[x, y], ...], got {str(points)[:60]}")
    if kind == "polygon":
        if len(points) < 3:
            raise ValueError(f"a polygon needs three points or more, got {len(points)}")
        return {"segmentation": [[value for point in points for value in point]]}
    if len(points) != 2:
        raise ValueError(f"a {kind} needs two points, got {len(points)}")
    (x0, y0), (x1, y1) = points
    if kind == "circle":
        radius = hypot(x1 - x0, y1 - y0)
        angles = [2 * pi * index / CORNERS for index in range(CORNERS)]
        return {"segmentation": [[value for a in angles for value in (x0 + radius * cos(a), y0 + radius * sin(a))]]}
    if kind == "mask":
        return {"segmentation": _mask_runs(shape.get("mask"), (round(min(x0, x1)), round(min(y0, y1))), size)}
    return {"bbox": [min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)]}


def _mask_runs(encoded: object, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """Run lengths of a mask that lies at a corner (x, y) of its image; what lies outside the image is left out."""
    if not isinstance(encoded, str):
        raise ValueError(f"a mask needs a PNG in base64, got {str(encoded)[:60]}")
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
            part = np.asarray(image.convert("L")) > 0
    except (OSError, binascii.Error, Image.DecompressionBombError) as error:
        raise ValueError(f"its mask is no PNG in base64: {error}") from error
    left, top = corner
    whole = np.zeros(size, bool)
    target = whole[max(0, top) : max(0, top + part.shape[0]), max(0, left) : max(0, left + part.shape[1])]
    target[:] = part[max(0, -top) :, max(0, -left) :][: target.shape[0], : target.shape[1]]
    return encode_mask(whole)
