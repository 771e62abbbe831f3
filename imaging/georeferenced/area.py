"""The area of a scene that is wanted: polygons of a vector file, or a box in coordinates."""

from __future__ import annotations

import hashlib
import math
import os
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.crs import CRS
from rasterio.errors import CRSError

from common.arrays import Floats, Geometries, Mask, Size
from common.printable import excerpt
from imaging.georeferenced import BOX, BOX_WORDS
from imaging.georeferenced.errors import SceneParameter, VectorError
from imaging.georeferenced.place import Place, Window, system_name
from imaging.georeferenced.scene import steps
from imaging.georeferenced.vectors import NOTHING, Burner, bounds, polygons_in_pixels, read_features, surroundings

LAYER = "|layername="  # between a file and a layer's name, as QGIS writes them
ADVICE = "in QGIS, Processing > Fix geometries repairs it"
AT_ONCE = 1 << 24  # pixels that are looked at
POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


class Area:
    """Polygons in the pixels of a scene of `size` (height, width): x is the column, y the row.

    rows: the first row of pixels that may lie in it, and the one after the last. digest: of its polygons.
    """

    def __init__(self, polygons: Geometries, size: Size) -> None:
        self._tree, self._burner = shapely.STRtree(polygons), Burner(polygons, [0] * len(polygons), [False] * len(polygons))
        _, top, _, bottom = shapely.total_bounds(polygons)
        self.rows = max(0, int(top)), min(size[0], int(np.ceil(bottom)))
        self.digest = hashlib.sha256(b"".join(shapely.to_wkb(polygons))).hexdigest()

    def mask(self, window: Window) -> Mask:
        """Which pixels of a window have their centre in the area, bool (height, width)."""
        return np.asarray(self._burner.burn(window) != NOTHING)

    def has_pixels(self, width: int) -> bool:
        """Whether any pixel of the scene, which has this width, has its centre in the area."""
        bands = steps(*self.rows, max(1, AT_ONCE // width))
        return any(self.mask(Window(top, 0, bottom - top, width)).any() for top, bottom in bands)

    def meets(self, top: float, bottom: float, lefts: Floats, rights: Floats) -> Mask:
        """Which of the rectangles between these edges meet the area, bool (N,)."""
        result = np.zeros(len(lefts), np.bool_)
        result[self._tree.query(shapely.box(lefts, top, rights, bottom), predicate="intersects")[0]] = True
        return result


def read_area(text: str, place: Place, name: str) -> Area:
    """Reads an area of the scene that is called `name`.

    text: `LEFT,BOTTOM,RIGHT,TOP,SYSTEM`, or the path of a vector file with polygons.
    Raises `NoCoordinates`, and `SceneParameter` for what is no area, and for one that the scene does not show.
    """
    own = place.require(name)
    try:
        polygons, crs = _box(match) if (match := BOX.fullmatch(text)) else _polygons(text)
        parts = shapely.get_parts(shapely.intersection(polygons, surroundings(place, crs)))
        shapes = shapely.make_valid(polygons_in_pixels(parts[shapely.area(parts) > 0], crs, place)[1])
    except VectorError as error:
        raise SceneParameter(f"the extent: {error}") from error
    shapes = shapely.get_parts(shapely.intersection(shapes, shapely.box(0, 0, place.size[1], place.size[0])))
    where = f"in {system_name(crs)} the extent is {_words(shapely.total_bounds(polygons))}, and"
    if not len(shapes := shapes[shapely.area(shapes) > 0]):  # a part that touches the scene from outside is a line or a point
        raise SceneParameter(f"the extent misses {name}: {where} {name} is {_words(bounds(place, crs))}")
    area, (a, b, _, d, e, _) = Area(shapes, place.size), place.transform[:6]
    if not area.has_pixels(place.size[1]):
        raise SceneParameter(
            f"the extent holds no pixel's centre of {name}: {where} a pixel measures {math.hypot(a, d):.6g} x "
            f"{math.hypot(b, e):.6g} in {system_name(own)}; give a larger area"
        )
    return area


def _box(match: re.Match[str]) -> tuple[Geometries, CRS]:
    """The rectangle that a text says. Raises `VectorError`."""
    *numbers, system = match.groups()
    left, bottom, right, top = map(float, numbers)
    if not (left < right and bottom < top):
        raise VectorError(f"of LEFT,BOTTOM,RIGHT,TOP, LEFT must be below RIGHT and BOTTOM below TOP, got {match[0]}")
    try:
        return np.array([shapely.box(left, bottom, right, top)]), CRS.from_user_input(system)
    except CRSError as error:
        raise VectorError(f"{system} is no coordinate system that is known; give such as EPSG:4326") from error


def _polygons(text: str) -> tuple[Geometries, CRS]:
    """The polygons of a vector file. Raises `VectorError` for one without any, and for a feature that is no valid polygon."""
    file, _, layer = text.partition(LAYER)
    if "," in text and not os.path.exists(file):
        raise VectorError(f"must be a file or {BOX_WORDS}, got {excerpt(text)}")
    features = read_features(Path(file), layer or None)
    shapes, numbers = features.geometries, np.array(features.numbers)  # of geometries that are not read, GDAL makes none
    is_wrong = ~(np.isin(shapely.get_type_id(shapes), POLYGONS) & shapely.is_valid(shapes))
    for shape, number in zip(shapes[is_wrong], numbers[is_wrong], strict=True):
        what = "it is missing or damaged" if shape is None else f"a {shape.geom_type}: {shapely.is_valid_reason(shape)[:80]}"
        raise VectorError(f"{file}: feature {number} is no valid polygon ({what}); {ADVICE}")
    if not len(shapes := shapes[~shapely.is_empty(shapes)]):
        raise VectorError(f"{file} has no polygons; draw the area in it")
    return shapes, features.crs


def _words(edges: npt.ArrayLike) -> str:
    left, bottom, right, top = np.asarray(edges)
    return f"x {left:.9g} to {right:.9g}, y {bottom:.9g} to {top:.9g}"
