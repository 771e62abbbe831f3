"""Reads where an object of a COCO document lies: its polygons or run lengths, or its box; never a part of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from common.printable import excerpt, printable
from training.data.problems import DataError, first_names
from training.importing.coco import Document
from training.importing.omissions import ANGLES, NO_AREA, Omissions, may_hold_outline, outline_keys
from training.importing.outlines import LONGEST, box_corners

Outline = list[list[float]] | Mapping[str, Any]
"""Polygons of three or more points, x and y in turn; or run lengths."""
CROWD, NO_CROWD = ("1", "1.0", "true"), ("0", "0.0", "false", "none", "")
KNOWN = ("id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd", "attributes", "keypoints", "color")
FARTHEST = 10  # image sides from the origin; points beyond are no pixels of the image
SHARE_SLACK = 0.05  # by which shares of the image may lie outside of 0 to 1
ROUNDING = 0.01  # pixels by which a polygon's corners may differ from those of its box
FEWEST_NUMBERS = 4  # of a key's value that may be an outline


def name_of(entry: Mapping[str, Any]) -> str:
    """Names an object in error messages."""
    id_, image_id = (printable(str(entry.get(key, "(without id)")), LONGEST) for key in ("id", "image_id"))
    return f"the object {id_} of image {image_id}"


def read_outline(entry: Mapping[str, Any], omissions: Omissions) -> Outline | None:
    """An object's polygons or run lengths; None for an object with only a box.

    Polygons of fewer than three points have no area: they are counted. A polygon that is a box with a rotation is turned, as
    `read_box` does. Raises `DataError` for other values.
    """
    segmentation = entry.get("segmentation")
    if segmentation is None:
        return None
    if isinstance(segmentation, dict) and set(segmentation) == {"counts", "size"}:
        return segmentation
    if not isinstance(segmentation, list):
        form = "polygons, or run lengths with counts and size alone"
        raise DataError(f"{name_of(entry)} needs {form}; got {excerpt(segmentation)}")
    polygons = segmentation if any(isinstance(part, list | dict) for part in segmentation) else [segmentation]
    _require_polygons(entry, polygons)
    with_area = [part for part in polygons if len(part) >= 6]
    for part in polygons:
        if 0 < len(part) < 6 and (with_area or not entry.get("bbox")):
            omissions.tell(f"outlines of one or two points {NO_AREA}")
    if _is_box(with_area, entry.get("bbox")):
        if angles := [key for key in _unknown_keys(entry) if key.lower() in ANGLES]:
            raise DataError(f"{name_of(entry)} has a polygon that is its box, and the key {angles[0]!r}, which may turn it")
        if degrees := _rotation(entry):
            return [_turn_box(entry["bbox"], degrees)]
    return with_area or None


def _require_polygons(entry: Mapping[str, Any], polygons: Sequence[Any]) -> None:
    """Raises `DataError` if one of the polygons is no list of x and y in turn."""
    # three or more lists of two numbers are points, [[x, y], ...], not polygons
    are_points = len(polygons) > 2 and all(isinstance(item, list) and len(item) == 2 for item in polygons)
    for part in polygons:
        if are_points or not isinstance(part, list) or any(isinstance(value, list | dict) for value in part):
            form = "polygons as x and y in turn, [[x1, y1, x2, y2, ...]]"
            raise DataError(f"{name_of(entry)} needs {form}; got {excerpt(entry['segmentation'])}")
        if len(part) % 2:
            raise DataError(f"{name_of(entry)} has a polygon of {len(part)} numbers, but x and y need an even number")
        if not all(map(_is_number, part)):
            raise DataError(f"{name_of(entry)} has a polygon that does not hold numbers alone: {excerpt(part)}")


def is_crowd(entry: Mapping[str, Any]) -> bool:
    """Whether `iscrowd` is 1: a group of objects as one region, or any brush mask of CVAT; raises `DataError` unless 0 or 1."""
    text = str(entry.get("iscrowd")).strip().lower()
    if text not in (*CROWD, *NO_CROWD):
        raise DataError(f"{name_of(entry)} has an iscrowd that is neither 0 nor 1: {excerpt(entry['iscrowd'])}")
    return text in CROWD


def read_box(entry: Mapping[str, Any], size: tuple[int, int]) -> list[float]:
    """An object's box [x, y, width, height], or the corners of a turned one; empty without a box.

    size: (height, width) of its image. CVAT turns a box about its centre, by the degrees of `attributes.rotation`, clockwise.
    Raises `DataError` for other values, and for a box far from the image.
    """
    box = entry.get("bbox")
    if box is None or box == []:
        return []
    if not isinstance(box, list) or len(box) not in (4, 8) or not are_near(box, size):
        raise DataError(
            f"{name_of(entry)} has a box that is not x, y, width and height near its image of {size}: {excerpt(box)}"
        )
    degrees = _rotation(entry)
    return _turn_box(box, degrees) if degrees and len(box) == 4 else box


def are_near(values: Sequence[Any], size: tuple[int, int]) -> bool:
    """Whether all values are numbers of at most `FARTHEST` sides of an image (height, width)."""
    return all(_is_number(value) and abs(value) <= FARTHEST * max(size) for value in values)


def unread_place(entry: Mapping[str, Any]) -> str | None:
    """What kind of object an entry without an outline is, if it may lie elsewhere than its box, or anywhere; None for others.

    Such as an object whose outline has a key that is not known.
    """
    if keys := _unknown_keys(entry):
        return f"objects with the key {first_names(sorted(map(repr, keys)))} and without a segmentation"
    is_placed = entry.get("bbox") or any(may_hold_outline(entry.get(key)) for key in ("segmentation", "keypoints"))
    return None if is_placed else "objects without a segmentation and without a box"


def count_further_keys(entry: Mapping[str, Any], omissions: Omissions) -> None:
    """Counts the unknown keys of an object with an outline whose values may be further outlines."""
    for key in _unknown_keys(entry):
        omissions.tell(f"objects with the key {key!r}, which is not read")


def share_error(document: Document) -> DataError | None:
    """The error of a document whose coordinates are shares of the image, as Azure writes them; None if they are pixels.

    Those of an object are shares if they lie between 0 and 1, or by rounding a little outside, and are not all whole; whole
    ones are, if all of the document's lie between 0 and 1.
    """
    places = [(entry, numbers) for entry in document.annotations for numbers in _coordinates(entry)]
    small = [each for each in places if all(-SHARE_SLACK <= value <= 1 + SHARE_SLACK for value in each[1])]
    has_runs = any(isinstance(entry.get("segmentation"), dict) for entry in document.annotations)
    all_small = len(small) == len(places) and not has_runs
    shares = [entry for entry, numbers in small if all_small or any(value % 1 for value in numbers)]
    if not shares:
        return None
    names = first_names(dict.fromkeys(map(name_of, shares)))
    return DataError(
        f"{document.path}: all coordinates of {names} lie between 0 and 1: they are shares of the image, and pixels are "
        "needed; multiply x by its width and y by its height"
    )


def _coordinates(entry: Mapping[str, Any]) -> Iterator[list[float]]:
    """The numbers of an object's polygons, and those of its box if that has an area."""
    segmentation, box = entry.get("segmentation"), entry.get("bbox")
    if isinstance(segmentation, list):
        parts = segmentation if any(isinstance(part, list) for part in segmentation) else [segmentation]
        numbers = [value for part in parts if isinstance(part, list) for value in part if _is_number(value)]
        if numbers:
            yield numbers
    if isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and box[2] > 0 and box[3] > 0:
        yield box


def _rotation(entry: Mapping[str, Any]) -> float:
    """Degrees; raises `DataError` for a rotation that is no number."""
    attributes = entry.get("attributes")
    value = attributes.get("rotation") if isinstance(attributes, dict) else None
    if value is None:
        return 0.0
    if not _is_number(value):
        raise DataError(f"{name_of(entry)} has a rotation that is no number: {excerpt(value)}")
    return float(value) % 360


def _turn_box(box: Sequence[float], degrees: float) -> list[float]:
    left, top, width, height = box
    return box_corners(box, degrees, about=(left + width / 2, top + height / 2))


def _is_box(polygons: Sequence[Sequence[float]], box: Any) -> bool:
    """Whether polygons are the four corners of a box [x, y, width, height]."""
    if len(polygons) != 1 or len(polygons[0]) != 8 or not isinstance(box, list) or len(box) != 4:
        return False
    if not all(map(_is_number, box)):
        return False
    points, corners = np.reshape(polygons[0], (4, 1, 2)), np.reshape(box_corners(box), (1, 4, 2))
    return len(np.unique(points, axis=0)) == 4 and bool(np.isclose(points, corners, rtol=0, atol=ROUNDING).all(2).any(1).all())


def _unknown_keys(entry: Mapping[str, Any]) -> list[str]:
    """The keys that are not known and may say where an object lies, or by how much it is turned."""
    return outline_keys({key: value for key, value in entry.items() if key not in KNOWN}, FEWEST_NUMBERS)


def _is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold: not true or false, and not infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and isfinite(value)
