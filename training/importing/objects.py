"""Draws the objects of a COCO document as masks of class ids. Fills polygons as pycocotools does, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pycocotools import mask as run_lengths

from common.arrays import Floats, Ids, Integers
from common.printable import excerpt
from imaging.classes import VOID
from training.data.problems import DataError
from training.importing import geometry
from training.importing.coco import Key, as_key, is_key
from training.importing.geometry import Outline, name_of
from training.importing.omissions import NO_AREA, Omissions
from training.importing.outlines import Extent, pixel_corners
from training.importing.run_lengths import paint_runs, read_counts

BACKGROUND = 0
Crowds = Literal["objects", "void"]
CROWDS: dict[Crowds, str] = {
    "objects": "objects are marked as crowds (iscrowd 1), as CVAT marks every brush mask; they keep their class, or become "
    "void with --crowds void",
    "void": "objects are marked as crowds (iscrowd 1), and become void, which is neither learnt nor scored",
}
BOX = "objects have a box and no outline: their boxes are void, which is neither learnt nor scored"
LONGEST_OUTLINE = 3_000_000  # pixels, for each of which pycocotools keeps five points of 16 bytes in memory
PARTS = 16  # polygons of one merge; if each polygon were merged into all before it, the time would grow with their square
MOST_OUTSIDE = 0.1  # share of the box around an object, and of a photo's sides, that may lie outside
SLACK = 1.0  # pixels around a photo that count as inside
Region = tuple[Integers, int]
"""The run lengths of an object in the whole image, and the value of its pixels in the mask."""
OutsideObject = tuple[Mapping[str, Any], Floats]
"""An entry of a document, and two corners of the box around the object: float64 (2, 2), the least and the greatest (x, y), in
shares of the photo's width and height."""


@dataclass
class Drawing:
    """Draws the objects of a document as masks.

    ids: the class id of each category's id. omissions: counts the objects that are not drawn, and those with a remark. file:
    the document, for messages. crowds: what objects with `iscrowd` 1 become. foreground_count: the number of objects with an
    outline or a box whose class is neither background nor void. outside: the objects of which more than `MOST_OUTSIDE` lies
    outside of the photo.
    """

    ids: Mapping[Key, int]
    omissions: Omissions
    file: object
    crowds: Crowds = "objects"
    foreground_count: int = 0
    outside: list[OutsideObject] = field(default_factory=list)

    def mask(self, objects: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Ids:
        """The mask of the objects of one image: class ids, uint8 (height, width), smaller objects over larger ones.

        An object with an error is void in its box, or without a box in all pixels that no other object covers.
        """
        mask = np.full(size, BACKGROUND, np.uint8)
        regions: list[Region] = []
        for entry in objects:
            try:
                region = self._region(entry, size)
            except DataError as error:
                self.omissions.add_error("objects with errors", self.file, str(error))
                region = _unread_region(entry, size)
            if region:
                regions.append(region)
        for lengths, value in sorted(regions, key=lambda region: -_area(region[0])):
            paint_runs(mask, lengths, value)
        return mask

    def _region(self, entry: Mapping[str, Any], size: tuple[int, int]) -> Region | None:
        """The pixels of an object and their value; None for an object without an area.

        Raises `DataError` for an object that cannot be drawn.
        """
        outline = geometry.read_outline(entry, self.omissions)
        category: Any = entry.get("category_id")
        if not is_key(category) or category not in self.ids:
            raise DataError(f"{name_of(entry)} is of the category {excerpt(category)}, which is not listed")
        id_, crowd = self.ids[category], geometry.is_crowd(entry)
        self.omissions.tell(CROWDS[self.crowds], crowd)
        if outline is None and (kind := geometry.unread_place(entry)):
            self.omissions.add_unknown(kind, self.file, name_of(entry))
            return _unread_region(entry, size)
        box = [] if outline else geometry.read_box(entry, size)
        if not outline and not box:
            if entry.get("keypoints"):
                self.omissions.tell(f"objects with keypoints alone {NO_AREA}")
            return None
        if outline:
            geometry.count_further_keys(entry, self.omissions)
        self.omissions.tell(BOX, bool(box))
        outline = outline or [pixel_corners(box)]
        extent = entry.get("extent")  # of the whole mask, if its reader has cut the mask
        polygons = [pixel_corners(extent)] if isinstance(extent, Extent) else outline
        if isinstance(polygons, list) and (corners := box_outside(polygons, size)) is not None:
            self.outside.append((entry, corners))
        if isinstance(outline, list) and not all(geometry.are_near(points, size) for points in outline):
            raise DataError(f"{name_of(entry)} has points far outside its image of {size}: {excerpt(outline)}")
        lengths = _runs(entry, outline, size)
        self.foreground_count += id_ not in (BACKGROUND, VOID)
        self.omissions.tell("objects cover no pixel of their image", not _area(lengths))
        return lengths, VOID if box or (self.crowds == "void" and crowd) else id_


def _area(lengths: Integers) -> int:
    """The pixels of run lengths, of which every second one is of the object."""
    return int(lengths[1::2].sum())


def box_outside(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Floats | None:
    """The corners of the box around polygons, as in `OutsideObject`; None if at most `MOST_OUTSIDE` of it is outside.

    polygons: x and y in turn, in pixels. size: (height, width) of the image.
    """
    points = np.concatenate([np.array(polygon, np.float64).reshape(-1, 2) for polygon in polygons])
    sides = np.array(size[::-1], np.float64)
    corners = np.stack([points.min(0), points.max(0)])
    if (corners[0] >= -SLACK).all() and (corners[1] <= sides + SLACK).all():
        return None
    corners /= sides
    return corners if share_outside(corners) > MOST_OUTSIDE else None


def share_outside(corners: Floats) -> float:
    """The share of a box's area that lies outside of the photo. corners: as in `OutsideObject`."""
    area = float(np.diff(corners, axis=0).prod())
    return 1 - float(np.diff(corners.clip(0, 1), axis=0).prod()) / area if area else 1.0


def _unread_region(entry: Mapping[str, Any], size: tuple[int, int]) -> Region:
    """Void in the box of an object whose outline cannot be read, or in the whole image if the box cannot be read either."""
    try:
        if box := geometry.read_box(entry, size):
            return _runs(entry, [pixel_corners(box)], size), VOID
    except DataError:
        pass
    return np.array([0, size[0] * size[1]]), VOID


def _runs(entry: Mapping[str, Any], outline: Outline, size: tuple[int, int]) -> Integers:
    """The run lengths of an outline: of polygons, or of COCO's run lengths, compressed or not.

    Raises `DataError` for an outline that cannot be drawn.
    """
    if not isinstance(outline, list):
        value, counts = outline["size"], outline["counts"]
        shape = tuple(map(as_key, value)) if isinstance(value, list) else value
        if shape != size:
            raise DataError(f"{name_of(entry)} is in {excerpt(shape)} pixels, its image in {size}")
        if not isinstance(counts, str | list):
            raise DataError(f"{name_of(entry)} needs counts that are a text or a list; got {excerpt(counts)}")
    try:
        return fill(outline, size) if isinstance(outline, list) else read_counts(outline["counts"], size)
    except ValueError as error:
        raise DataError(f"{name_of(entry)}: {error}") from error


def fill(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Integers:
    """The run lengths of the pixels inside any of the polygons, as `read_counts` gives them.

    polygons: x and y in turn, of three or more points each. size: (height, width). Raises `ValueError` for an outline of more
    than `LONGEST_OUTLINE` pixels.
    """
    parts = []
    for polygon in polygons:
        points = np.array(polygon, np.float64).reshape(-1, 2)
        length = int(np.abs(np.roll(points, -1, axis=0) - points).max(axis=1).sum())
        if length > LONGEST_OUTLINE:
            raise ValueError(
                f"a polygon of {len(points)} points has an outline of {length:,} pixels, of which at most {LONGEST_OUTLINE:,} "
                "can be drawn"
            )
        parts += run_lengths.frPyObjects([list(polygon)], *size)
    while len(parts) > 1:
        parts = [run_lengths.merge(parts[start : start + PARTS]) for start in range(0, len(parts), PARTS)]
    return read_counts(parts[0]["counts"].decode(), size)
