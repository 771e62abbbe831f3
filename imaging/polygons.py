"""The regions of a class map as polygons with holes, in image pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import cast

import contourpy
import numpy as np
import numpy.typing as npt
import shapely

FEWEST = 4  # points of a closed ring, the first of them twice
Ring = list[list[float]]
MultiPolygon = list[list[Ring]]
"""Polygons as in GeoJSON: of each, the outer ring, then its holes; rings are closed lists of [x, y]."""


def trace(inside: npt.NDArray[np.bool_], tolerance: float, check: Callable[[], None] = lambda: None) -> list[shapely.Polygon]:
    """The regions of a mask (H, W), holes kept, simplified so that no point moves by more than `tolerance` pixels.

    x runs right and y down from the image's upper left corner; the middle of its first pixel is (0.5, 0.5). Borders run
    between pixels, corners cut by half a pixel: without simplification, a pixel is inside where its middle is. `check` is
    called for each region, and ends the work by raising.
    """
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    values = np.pad(inside[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float64)
    xs, ys = (np.arange(length) + start - 0.5 for length, start in ((values.shape[1], left), (values.shape[0], top)))
    generator = contourpy.contour_generator(xs, ys, values, fill_type=contourpy.FillType.OuterOffset)
    points, offsets = cast("tuple[list[npt.NDArray[np.float64]], list[npt.NDArray[np.uint32]]]", generator.filled(0.5, 2))
    polygons = []
    for corners, bounds in zip(points, offsets, strict=True):
        check()
        outer, *holes = (corners[start:end] for start, end in pairwise(bounds))
        polygons.append(_simplified(shapely.Polygon(outer, holes), tolerance))
    return polygons


def _simplified(polygon: shapely.Polygon, tolerance: float) -> shapely.Polygon:
    """Ring by ring (Douglas and Peucker, 1973); where rings would cross or vanish, with GEOS's care for topology.

    The latter may also drop the point where a ring starts, up to the tolerance away from a line that is as far away
    again: hence with half of it.
    """
    rings = [shapely.LineString(ring).simplify(tolerance, preserve_topology=False) for ring in _rings(polygon)]
    if all(len(ring.coords) >= FEWEST for ring in rings):
        simple = shapely.Polygon(rings[0], rings[1:])
        if simple.is_valid:
            return simple
    return polygon.simplify(tolerance / 2, preserve_topology=True)


def _rings(polygon: shapely.Polygon) -> list[shapely.LinearRing]:
    return [polygon.exterior, *polygon.interiors]


def to_lists(polygons: list[shapely.Polygon]) -> MultiPolygon:
    """The coordinates of a GeoJSON MultiPolygon."""
    return [[_ring(ring) for ring in _rings(polygon)] for polygon in polygons]


def without_holes(polygon: shapely.Polygon, check: Callable[[], None] = lambda: None) -> list[shapely.Polygon]:
    """The polygon in pieces that have no holes, for formats that know outlines alone: cut through the middle of a hole, and
    pieces again, until none has one."""
    found, left = [], [polygon]
    while left:
        check()
        piece = left.pop()
        if not piece.interiors:
            found.append(piece)
            continue
        # the median hole, so that as many are on either side: one after the other would take a cut for each
        middles = sorted(shapely.Polygon(ring).centroid.x for ring in piece.interiors)
        x0, y0, x1, y1 = piece.bounds
        middle = middles[len(middles) // 2]
        halves = [piece.intersection(shapely.box(x0, y0, middle, y1)), piece.intersection(shapely.box(middle, y0, x1, y1))]
        left += [part for half in reversed(halves) for part in reversed(shapely.get_parts(half)) if part.geom_type == "Polygon"]
    return found


def _ring(ring: shapely.LinearRing) -> Ring:
    corners: Ring = shapely.get_coordinates(ring).round(2).tolist()
    return corners
