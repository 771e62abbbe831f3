"""Where the pixels of a scene lie, by its coordinate system and transform, and how large they are on the ground.

Lengths are those on the ellipsoid of WGS 84, for any coordinate system of the Earth (feet, degrees, projections that stretch):
the ends of a pixel's step are turned into longitude and latitude, and these into metres from the Earth's centre (EPSG Guidance
Note 7-2, method 9602), which know no pole and no antimeridian. In a local system, such as that of a building site, they are
counted in its unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as change_system

from common.arrays import Floats, Size
from imaging.georeferenced.errors import NoCoordinates, SceneError, SceneParameter

DEGREES = "OGC:CRS84"
"""Longitude and latitude on WGS 84, as GeoJSON has them (RFC 7946, section 4)."""
EQUATOR_M, ECCENTRICITY_2 = 6_378_137.0, 0.006_694_379_990_14  # of WGS 84
AREA_ROWS = 256  # whose areas are computed at once: sums have equal bits, whatever the pieces that rows come in
GRID = 64  # pixels between the points where areas are computed; between them they are interpolated
MOST_POINTS = 9  # along the columns
SAME = 1e-4  # areas along a row count as equal up to this relative difference
WARPS = {"ground control points": "gdalwarp", "rational polynomial coefficients (RPCs)": "gdalwarp -rpc"}
"""What ties pixels to the ground without a transform, and the command that makes a raster with a transform of it."""


class Window(NamedTuple):
    """A rectangle of pixels of a scene."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Place:
    """Where a raster of `size` (height, width) lies.

    crs: its coordinate system; None if it has none. transform: maps (column, row), counted from the upper left corner of the
    first pixel, to the coordinates of that system. tie: what it has instead of a transform, one of `WARPS`; it is not read.
    """

    size: Size
    transform: Affine
    crs: CRS | None
    tie: str = field(default="", repr=False, compare=False)

    @property
    def is_known(self) -> bool:
        """Whether the raster says where it lies: it has a coordinate system, and a transform other than that of no file.

        A transform that gives pixels no area is none.
        """
        return self.crs is not None and self.transform != Affine.identity() and abs(self.transform.determinant) > 0

    @property
    def is_on_earth(self) -> bool:
        """Whether its coordinates have a longitude and latitude, so that its pixels have a size in metres on the ground."""
        return self.is_known and self.crs is not None and bool(self.crs.is_geographic or self.crs.is_projected)

    def require(self, name: str) -> CRS:
        """The coordinate system. Raises `NoCoordinates`, with the scene's name, if the raster does not say where it lies."""
        if self.crs is None or not self.is_known:
            lack = "no coordinate system" if self.crs is None else "no transform"
            advice = "give the file one (gdal_edit.py -a_srs EPSG:NUMBER, with -a_ullr for a transform)"
            if self.tie:
                lack, advice = f"{self.tie} and no transform", f"straighten it ({WARPS[self.tie]} -t_srs EPSG:NUMBER)"
            raise NoCoordinates(
                f"{name} has {lack}, which geojson, gpkg, geotiff, gsd and extent need; {advice}, or ask for what needs none: "
                "tif of a scene, png of an image"
            )
        return self.crs

    def to_map(self, points: npt.ArrayLike) -> Floats:
        """Coordinates (N, 2), x then y, of pixel positions (N, 2), column then row."""
        columns, rows = np.asarray(points, np.float64).T
        a, b, c, d, e, f = self.transform[:6]
        return np.column_stack([a * columns + b * rows + c, d * columns + e * rows + f])

    def to_pixels(self, points: npt.ArrayLike) -> Floats:
        """Pixel positions (N, 2), column then row, of coordinates (N, 2): the inverse of `to_map`."""
        x, y = np.asarray(points, np.float64).T
        a, b, c, d, e, f = self.transform[:6]
        x, y, area = x - c, y - f, a * e - b * d
        return np.column_stack([(e * x - b * y) / area, (a * y - d * x) / area])

    def to_degrees(self, points: npt.ArrayLike, *, strict: bool = False) -> Floats:
        """Longitude and latitude (N, 2) on WGS 84 of pixel positions (N, 2). Not finite where there is none.

        Raises `NoCoordinates` if the system has no relation to the Earth, such as that of a building site, and if no point has
        any; with `strict`, if any point has none, and at once.
        """
        crs = self.require("the scene")
        if not (crs.is_geographic or crs.is_projected):
            raise NoCoordinates(
                f"geojson needs longitude and latitude, and the system {system_name(crs)} of the scene has no relation to the "
                "Earth; ask for gpkg or tif (of /segment: geotiff), which work"
            )
        degrees, error = moved(self.to_map(points), crs, DEGREES, strict=strict)
        if np.isnan(degrees).any() if strict else error is not None and np.isnan(degrees).all():
            words = f"coordinates of {system_name(crs)} cannot become longitude and latitude: {str(error)[:100]}"
            raise NoCoordinates(words) from error
        return degrees

    def scaled(self, size: Size) -> Place:
        """The same ground as a raster of another (height, width)."""
        scale = Affine.scale(self.size[1] / size[1], self.size[0] / size[0])
        return Place(size, self.transform @ scale, self.crs)

    def part(self, window: Window) -> Place:
        """Where a window of the raster lies."""
        transform = self.transform @ Affine.translation(window.left, window.top)
        return Place((window.height, window.width), transform, self.crs)


def system_name(crs: CRS) -> str:
    """A coordinate system in few letters: its EPSG code if it has one, else the name in its WKT."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else crs.to_wkt().partition('"')[2].partition('"')[0][:60]


def moved(points: Floats, crs: CRS, target: CRS | str, *, strict: bool = False) -> tuple[Floats, Exception | None]:
    """Coordinates (N, 2) in another system, not finite where there are none, and the error of such: GDAL refuses all beside.

    strict: whether an error ends it, rather than a search for the points that have some.
    """
    try:
        pairs = np.column_stack(change_system(crs, target, *points.T)) if len(points) else points
        return np.where(np.isfinite(pairs), pairs, np.nan), None
    except Exception as error:  # rasterio does not publish the classes of GDAL's errors
        if strict or len(points) < 2:
            return np.full(points.shape, np.nan), error
        return np.concatenate([moved(part, crs, target)[0] for part in np.array_split(points, 2)]), error


def metres_per_pixel(place: Place, name: str = "the scene") -> tuple[float, float]:
    """How far a step of one row and of one column goes in the middle of the scene, in metres.

    Raises `NoCoordinates` if the scene does not say where it lies, and `SceneError` for a middle that is not on the Earth.
    """
    place.require(name)
    down, right = _steps(place, np.array([[place.size[1] / 2, place.size[0] / 2]]))
    lengths = float(np.linalg.norm(down[0])), float(np.linalg.norm(right[0]))
    if not all(math.isfinite(length) and length > 0 for length in lengths):
        raise SceneError(f"{name}: the coordinates of its middle are not on the Earth, so its pixels have no size in metres")
    return lengths


def scaled_size(place: Place, metres: float, largest_factor: float, name: str = "the scene") -> Size:
    """The (height, width) at which a pixel of the scene measures this many metres; both are at least 1.

    Raises the errors of `metres_per_pixel`, and `SceneParameter` if a side becomes more than `largest_factor` times as long.
    """
    down, right = metres_per_pixel(place, name)
    if max(down, right) > largest_factor * metres:
        raise SceneParameter(
            f"pixels of {metres:.3g} m enlarge {name} more than {largest_factor:g} times: its own measure {right:.3g} x "
            f"{down:.3g} m; give a --gsd of at least {max(right, down) / largest_factor:.3g}"
        )
    return max(1, round(place.size[0] * down / metres)), max(1, round(place.size[1] * right / metres))


def pixel_areas(place: Place, window: Window) -> Floats:
    """Each pixel's area in square metres, 0 off the Earth: float64 (height, width), or (height, 1) if rows have one area."""
    rows = np.linspace(window.top, window.top + window.height, window.height // GRID + 2)
    columns = np.linspace(window.left, window.left + window.width, min(MOST_POINTS, window.width // GRID + 2))
    lattice = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    try:
        down, right = _steps(place, lattice)
    except NoCoordinates:
        metres_per_pixel(place)  # raises an error if the middle of the raster is not on the Earth, either
        return np.zeros((window.height, 1))
    areas = np.linalg.norm(np.cross(down, right), axis=1).reshape(len(rows), len(columns))
    areas[~np.isfinite(areas)] = 0
    middle_rows = np.arange(window.height) + window.top + 0.5
    lines = np.stack([np.interp(middle_rows, rows, column) for column in areas.T], 1)
    if np.allclose(lines, lines[:, :1], rtol=SAME, atol=0):
        return np.ascontiguousarray(lines[:, :1])
    middle_columns = np.arange(window.width) + window.left + 0.5
    return np.stack([np.interp(middle_columns, columns, line) for line in lines])


def _steps(place: Place, points: Floats) -> tuple[Floats, Floats]:
    """For positions (N, 2), column then row: the way of a step of one row, (N, 3) in metres, and of one column."""
    crs = place.require("the scene")
    if not place.is_on_earth:
        a, b, _, d, e, _ = place.transform[:6]
        metres = _metres_of_unit(crs)
        return np.full((len(points), 3), [b * metres, e * metres, 0]), np.full((len(points), 3), [a * metres, d * metres, 0])
    half = np.array([0, 0.5]), np.array([0.5, 0])
    down, right = ((place.to_degrees(points - step), place.to_degrees(points + step)) for step in half)
    return _metres(*down), _metres(*right)


def _metres_of_unit(crs: CRS) -> float:
    """The metres of a local system's unit. Raises `NoCoordinates` for a system without a unit of length."""
    try:
        unit = crs.to_dict(projjson=True)["coordinate_system"]["axis"][0]["unit"]
        return 1.0 if unit == "metre" else float(unit["conversion_factor"])
    except (CRSError, LookupError, TypeError) as error:
        raise NoCoordinates(
            f"the system {system_name(crs)} has no unit of length, so pixels have no size in metres; ask for tif without gsd"
        ) from error


def _metres(begin: Floats, end: Floats) -> Floats:
    """The way from one position in degrees to a near one, in metres (N, 3)."""
    return _from_centre(end) - _from_centre(begin)


def _from_centre(degrees: Floats) -> Floats:
    """Metres (N, 3) from the Earth's centre of positions (N, 2) on the ellipsoid."""
    longitude, latitude = np.radians(degrees).T
    radius = EQUATOR_M / np.sqrt(1 - ECCENTRICITY_2 * np.sin(latitude) ** 2)  # of curvature, east to west
    x, y = radius * np.cos(latitude) * np.cos(longitude), radius * np.cos(latitude) * np.sin(longitude)
    return np.column_stack([x, y, radius * (1 - ECCENTRICITY_2) * np.sin(latitude)])
