"""The objects of a COCO document as masks of class ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as run_lengths

from imaging.rle import decode_rle
from training.coco_files import Key
from training.problems import DataError

BACKGROUND = 0
VOID = 255  # boxes of objects without an outline, and crowds where that is asked for
Crowds = Literal["objects", "void"]
FARTHEST = 10  # a point lies within so many sides of the image: pycocotools takes memory for each pixel of an outline


@dataclass
class Drawing:
    """The mask (H, W) of one image, what is wrong with its objects, and how many are empty: without a pixel."""

    mask: npt.NDArray[np.uint8]
    errors: list[DataError] = field(default_factory=list)
    empty: int = 0


def draw_mask(
    objects: Sequence[Mapping[str, Any]], size: tuple[int, int], ids: Mapping[Key, int], crowds: Crowds = "objects"
) -> Drawing:
    """Draws one image's objects, the smaller over the larger, with the class ids of their categories."""
    drawing = Drawing(np.full(size, BACKGROUND, np.uint8))
    regions = []
    for entry in objects:
        try:
            value = _value(entry, ids, crowds)
            region = _region(entry, size)
        except DataError as error:
            drawing.errors.append(error)
            continue
        area = int(region.sum())
        drawing.empty += not area
        regions.append((area, value, region))
    for _, value, region in sorted(regions, key=lambda drawn: -drawn[0]):
        drawing.mask[region] = value
    return drawing


def is_outlined(entry: Mapping[str, Any]) -> bool:
    """Whether an object has polygons of three points or more, or run lengths, and not a box alone."""
    segmentation = entry.get("segmentation")
    return bool(_polygons(segmentation) if isinstance(segmentation, list) else segmentation)


def is_crowd(entry: Mapping[str, Any]) -> bool:
    """Whether `iscrowd` is 1: of several objects that are not told apart, and of each brush mask of CVAT."""
    return str(entry.get("iscrowd", 0)).strip().lower() in ("1", "1.0", "true")


def name_of(entry: Mapping[str, Any]) -> str:
    return f"the object {entry.get('id', '(without id)')} of image {entry.get('image_id')}"


def _value(entry: Mapping[str, Any], ids: Mapping[Key, int], crowds: Crowds) -> int:
    category = entry.get("category_id")
    if not isinstance(category, int | str) or category not in ids:
        raise DataError(f"{name_of(entry)} is of the category {category!r}, which is not listed")
    void = not is_outlined(entry) or (crowds == "void" and is_crowd(entry))
    return VOID if void else ids[category]


def _polygons(segmentation: list[Any]) -> list[list[Any]]:
    """The polygons of three points or more; a list of numbers alone is one."""
    lists = segmentation if any(isinstance(points, list) for points in segmentation) else [segmentation]
    return [points for points in lists if isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0]


def _region(entry: Mapping[str, Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels of polygons, or of run lengths, compressed or not; without them those of the box."""
    segmentation = entry.get("segmentation")
    if not is_outlined(entry):
        return _box(entry, size)
    if isinstance(segmentation, list):
        return _fill(entry, _polygons(segmentation), size)
    if not isinstance(segmentation, dict) or not {"counts", "size"} <= set(segmentation):
        raise DataError(f"{name_of(entry)} needs polygons, or run lengths with counts and size; got {str(segmentation)[:60]}")
    shape = segmentation["size"]
    if not isinstance(shape, list) or tuple(shape) != size:
        got = tuple(shape) if isinstance(shape, list) else shape
        raise DataError(f"{name_of(entry)} is in {got} pixels, its image in {size}")
    counts = segmentation["counts"]
    if not isinstance(counts, str | list):
        raise DataError(f"{name_of(entry)} needs counts that are a text or a list; got {str(counts)[:60]}")
    try:
        return decode_rle(counts, size)
    except ValueError as error:
        raise DataError(f"{name_of(entry)}: {error}") from error


def _fill(entry: Mapping[str, Any], polygons: list[list[Any]], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    farthest = FARTHEST * max(size)
    for points in polygons:
        numbers = (value for value in points if isinstance(value, int | float) and isfinite(value))
        if sum(abs(value) <= farthest for value in numbers) != len(points):
            raise DataError(f"{name_of(entry)} has points that are no pixels of its image of {size}: {str(points)[:60]}")
    merged = run_lengths.merge(run_lengths.frPyObjects(polygons, *size))
    region: npt.NDArray[np.bool_] = run_lengths.decode(merged).astype(bool)
    return region


def _box(entry: Mapping[str, Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    region = np.zeros(size, bool)
    box = entry.get("bbox") or []
    if not isinstance(box, list) or not all(isinstance(value, int | float) and isfinite(value) for value in box):
        raise DataError(f"{name_of(entry)} has a box that is none: {str(box)[:60]}")
    if len(box) == 4:
        left, top, width, height = (max(0.0, float(value)) for value in box)
        region[int(top) : ceil(top + height), int(left) : ceil(left + width)] = True
    return region
