"""Burns polygons into masks of a raster's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.features import rasterize

from imaging.georeferenced.place import Window
from imaging.georeferenced.vectors import Geometries

NOTHING = -1  # value of pixels outside of all polygons, while they are burned


@dataclass(frozen=True)
class BurnMasks:
    """The mask of a window, uint8 (H, W), 0 outside of all polygons.

    is_covered: the pixels in a polygon. overlap: those in polygons of different values. Both are bool (H, W).
    """

    mask: npt.NDArray[np.uint8]
    is_covered: npt.NDArray[np.bool_]
    overlap: npt.NDArray[np.bool_]


class Burner:
    """Burns polygons into windows of one raster.

    A pixel belongs to a polygon that holds its centre; with `all_touched`, to any that touches it. Smaller polygons lie over
    larger ones.
    """

    def __init__(self, polygons: Geometries, values: Sequence[int], on_top: Sequence[bool], *, all_touched: bool) -> None:
        """polygons: in the raster's pixels. values: of their pixels, 0 to 255. on_top: those that lie over all others."""
        self._polygons, self._values, self._all_touched = polygons, list(values), all_touched
        areas = shapely.area(polygons)
        rank = sorted(range(len(values)), key=lambda at: (on_top[at], -areas[at], at))
        self._order = {at: place for place, at in enumerate(rank)}
        self._tree = shapely.STRtree(polygons)

    def burn(self, window: Window) -> BurnMasks:
        """Burns the polygons into a window."""
        size, place = (window.height, window.width), Affine.translation(window.left, window.top)
        area = shapely.box(window.left, window.top, window.left + window.width, window.top + window.height)
        order = sorted((int(at) for at in self._tree.query(area, predicate="intersects")), key=self._order.__getitem__)
        values = np.full(size, NOTHING, np.int16)
        if order:
            shapes = [(self._polygons[at], self._values[at]) for at in order]
            rasterize(shapes, out=values, transform=place, all_touched=self._all_touched)
        counts = np.zeros(size, np.uint8)
        distinct = {self._values[at] for at in order}
        for value in sorted(distinct) if len(distinct) > 1 else ():
            shapes = [(self._polygons[at], 1) for at in order if self._values[at] == value]
            counts += rasterize(shapes, size, transform=place, all_touched=self._all_touched, dtype="uint8")
        is_covered = values != NOTHING
        return BurnMasks(np.where(is_covered, values, 0).astype(np.uint8), is_covered, counts > 1)
