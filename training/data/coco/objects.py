"""Draws the objects of a COCO document as masks of class ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as run_lengths

from imaging.classes import VOID
from imaging.rle import decode_rle
from training.data.coco.files import Key, as_key, is_key
from training.data.problems import DataError

BACKGROUND = 0
Crowds = Literal["objects", "void"]
Outline = list[list[Any]] | Mapping[str, Any]
"""Polygons of three or more points, x and y alternating; or run lengths."""
# points may lie this many image sides from the origin, since pycocotools uses memory for each pixel of an outline
FARTHEST = 10


@dataclass
class Drawing:
    """The mask (H, W) of one image, and the errors of its objects.

    boxes: number of objects without an outline. empty: number of objects that cover no pixel. named: whether an object has
    another class than the background.
    """

    mask: npt.NDArray[np.uint8]
    errors: list[DataError] = field(default_factory=list)
    boxes: int = 0
    empty: int = 0
    named: bool = False


def draw_mask(
    objects: Sequence[Mapping[str, Any]], size: tuple[int, int], ids: Mapping[Key, int], crowds: Crowds = "objects"
) -> Drawing:
    """Draws the objects of one image with the class ids of their categories, smaller objects over larger ones.

    Objects with errors are left out; the errors are in the drawing.
    """
    drawing = Drawing(np.full(size, BACKGROUND, np.uint8))
    regions = []
    for entry in objects:
        try:
            outline, id_ = _outline(entry), _class_id(entry, ids)
            region = _box(entry, size) if outline is None else _region(entry, outline, size)
        except DataError as error:
            drawing.errors.append(error)
            continue
        area = int(region.sum())
        drawing.boxes += outline is None
        drawing.empty += not area
        drawing.named |= id_ not in (BACKGROUND, VOID)
        void = outline is None or (crowds == "void" and is_crowd(entry))
        regions.append((area, VOID if void else id_, region))
    for _, value, region in sorted(regions, key=lambda item: -item[0]):
        drawing.mask[region] = value
    return drawing


def encode_mask(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The `segmentation` of a mask (H, W): compressed run lengths."""
    encoded = run_lengths.encode(np.asfortranarray(mask, np.uint8))
    return {"counts": encoded["counts"].decode("ascii"), "size": list(mask.shape)}


def is_crowd(entry: Mapping[str, Any]) -> bool:
    """Whether `iscrowd` is 1: a group of objects as one region, or any brush mask of CVAT."""
    return str(entry.get("iscrowd", 0)).strip().lower() in ("1", "1.0", "true")


def name_of(entry: Mapping[str, Any]) -> str:
    """Names an object in error messages."""
    return f"the object {entry.get('id', '(without id)')} of image {entry.get('image_id')}"


def _class_id(entry: Mapping[str, Any], ids: Mapping[Key, int]) -> int:
    category: Any = entry.get("category_id")
    if not is_key(category) or category not in ids:
        raise DataError(f"{name_of(entry)} is of the category {category!r}, which is not listed")
    return ids[category]


def _outline(entry: Mapping[str, Any]) -> Outline | None:
    """An object's polygons or run lengths; None for an object with only a box. Raises `DataError` for other values."""
    segmentation = entry.get("segmentation")
    if not segmentation or isinstance(segmentation, dict):
        return segmentation or None
    if not isinstance(segmentation, list):
        raise DataError(f"{name_of(entry)} needs polygons, or run lengths with counts and size; got {str(segmentation)[:60]}")
    polygons = segmentation if any(isinstance(part, list | dict) for part in segmentation) else [segmentation]
    for part in polygons:
        # three or more lists of two numbers are points, [[x, y], ...], not polygons
        are_points = len(polygons) > 2 and all(isinstance(item, list) and len(item) == 2 for item in polygons)
        if are_points or not isinstance(part, list) or any(isinstance(value, list | dict) for value in part):
            raise DataError(
                f"{name_of(entry)} needs polygons as x and y in turn, [[x1, y1, x2, y2, ...]]; got {str(segmentation)[:60]}"
            )
        if len(part) % 2:
            raise DataError(f"{name_of(entry)} has a polygon of {len(part)} numbers, but x and y need an even number")
    return [part for part in polygons if len(part) >= 6] or None


def _region(entry: Mapping[str, Any], outline: Outline, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels (H, W) of polygons, or of run lengths, compressed or not; raises `DataError` for an unusable outline."""
    if isinstance(outline, list):
        return _fill(entry, outline, size)
    if not {"counts", "size"} <= set(outline):
        raise DataError(f"{name_of(entry)} needs polygons, or run lengths with counts and size; got {str(outline)[:60]}")
    value = outline["size"]
    shape = tuple(map(as_key, value)) if isinstance(value, list) else value
    if shape != size:
        raise DataError(f"{name_of(entry)} is in {shape} pixels, its image in {size}")
    counts = outline["counts"]
    if not isinstance(counts, str | list):
        raise DataError(f"{name_of(entry)} needs counts that are a text or a list; got {str(counts)[:60]}")
    try:
        return decode_rle(counts, size)
    except ValueError as error:
        raise DataError(f"{name_of(entry)}: {error}") from error


def _fill(entry: Mapping[str, Any], polygons: list[list[Any]], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    for points in polygons:
        if not _are_within(points, FARTHEST * max(size)):
            raise DataError(f"{name_of(entry)} has points far outside its image of {size}: {str(points)[:60]}")
    merged = run_lengths.merge(run_lengths.frPyObjects(polygons, *size))
    region: npt.NDArray[np.bool_] = run_lengths.decode(merged).astype(bool)
    return region


def _box(entry: Mapping[str, Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels (H, W) of the box inside the image; empty for an object without a box.

    A box is [x, y, width, height], or the corners of a turned one, [x, y, x, y, x, y, x, y].
    """
    region = np.zeros(size, bool)
    box = entry.get("bbox") or []
    if not isinstance(box, list) or len(box) not in (0, 4, 8) or not _are_within(box, FARTHEST * max(size)):
        raise DataError(
            f"{name_of(entry)} has a box that is not x, y, width and height near its image of {size}: {str(box)[:60]}"
        )
    if len(box) == 8:
        return _fill(entry, [box], size)
    if box:
        left, top, width, height = box
        rows = slice(max(0, int(top)), max(0, ceil(top + height)))
        region[rows, max(0, int(left)) : max(0, ceil(left + width))] = True
    return region


def _are_within(values: Sequence[Any], most: int) -> bool:
    """Whether all values are numbers with an absolute value of at most `most`."""
    return all(isinstance(value, int | float) and abs(value) <= most for value in values)
