"""The size of a scene's pixels on the ground, in metres, for any coordinate system: feet, degrees, projections that stretch.

Lengths are those on the ellipsoid of WGS 84: a step of a pixel is turned into a step of longitude and latitude, and that into
metres with the ellipsoid's radii of curvature (Snyder 1987, "Map Projections: A Working Manual", equations 4-18 and 4-20).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from imaging.georeferenced.errors import SceneError
from imaging.georeferenced.place import Floats, Place, Size, Window

EQUATOR_M, ECCENTRICITY_2 = 6_378_137.0, 0.006_694_379_990_14  # of WGS 84
GRID = 64  # pixels between the points where areas are computed; between them they are interpolated
MOST_POINTS = 9  # along the columns
SAME = 1e-4  # areas along a row count as equal up to this relative difference


def metres_per_pixel(place: Place, name: str = "the scene") -> tuple[float, float]:
    """How far a step of one row and of one column goes in the middle of the scene, in metres.

    Raises `NoCoordinates` if the scene does not say where it lies, and `SceneError` for a middle that is not on the Earth.
    """
    place.require(name)
    down, right = _steps(place, np.array([[place.size[1] / 2, place.size[0] / 2]]))
    lengths = float(np.hypot(*down[0])), float(np.hypot(*right[0]))
    if not all(math.isfinite(length) and length > 0 for length in lengths):
        raise SceneError(f"{name}: the coordinates of its middle are not on the Earth, so its pixels have no size in metres")
    return lengths


def scaled_size(place: Place, metres: float, largest_factor: float, name: str = "the scene") -> Size:
    """The (height, width) at which a pixel of the scene measures this many metres; both are at least 1.

    Raises the errors of `metres_per_pixel`, and `SceneError` if a side becomes more than `largest_factor` times as long.
    """
    down, right = metres_per_pixel(place, name)
    if max(down, right) > largest_factor * metres:
        raise SceneError(
            f"pixels of {metres:.3g} m enlarge {name} more than {largest_factor:g} times: its own measure {right:.3g} x "
            f"{down:.3g} m; give a --gsd of at least {max(right, down) / largest_factor:.3g}"
        )
    return max(1, round(place.size[0] * down / metres)), max(1, round(place.size[1] * right / metres))


def pixel_areas(place: Place, window: Window) -> Floats:
    """The area of each pixel of a window in square metres, float64 (height, width), or (height, 1) if rows have one area."""
    rows = np.linspace(window.top, window.top + window.height, window.height // GRID + 2)
    columns = np.linspace(window.left, window.left + window.width, min(MOST_POINTS, window.width // GRID + 2))
    lattice = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    down, right = _steps(place, lattice)
    areas = np.abs(down[:, 0] * right[:, 1] - down[:, 1] * right[:, 0]).reshape(len(rows), len(columns))
    areas[~np.isfinite(areas)] = 0
    middle_rows = np.arange(window.height) + window.top + 0.5
    lines = np.stack([np.interp(middle_rows, rows, column) for column in areas.T], 1)
    if np.allclose(lines, lines[:, :1], rtol=SAME, atol=0):
        return np.ascontiguousarray(lines[:, :1])
    middle_columns = np.arange(window.width) + window.left + 0.5
    return np.stack([np.interp(middle_columns, columns, line) for line in lines])


def _steps(place: Place, points: Floats) -> tuple[Floats, Floats]:
    """For positions (N, 2), column then row: how many metres east and north a step of one row goes, (N, 2), and one column."""
    half = np.array([0, 0.5]), np.array([0.5, 0])
    down, right = ((place.to_degrees(points - step), place.to_degrees(points + step)) for step in half)
    return _metres(*down), _metres(*right)


def _metres(begin: Floats, end: Floats) -> Floats:
    """The way from one position in degrees to a near one, in metres east and north (N, 2)."""
    turn: npt.NDArray[np.float64] = (end[:, 0] - begin[:, 0] + 180) % 360 - 180
    latitude = np.radians((begin[:, 1] + end[:, 1]) / 2)
    root = np.sqrt(1 - ECCENTRICITY_2 * np.sin(latitude) ** 2)
    east = np.radians(turn) * EQUATOR_M / root * np.cos(latitude)
    north = np.radians(end[:, 1] - begin[:, 1]) * EQUATOR_M * (1 - ECCENTRICITY_2) / root**3
    return np.column_stack([east, north])
