"""Small scenes with coordinates, and polygons on them, as a GIS writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyogrio.raw
import shapely
from rasterio import Affine

from tests.support.images import make_photo
from tests.support.imaging import scenes

UTM = "EPSG:32633"
CORNER = (500_000.0, 5_800_000.0)
PIXEL = 0.5  # metres


class ImportMaps(Protocol):
    """Imports scenes in tiles of 64 pixels into the test's folder `data`; gives what it prints on stdout, or else on stderr."""

    def __call__(self, rasters: Path | Sequence[Path], vector: Path, *more: object, status: int = 0) -> str: ...


def write_scene(
    path: Path,
    pixels: npt.NDArray[Any],
    crs: str | None = UTM,
    transform: Affine | None = None,
    **options: Any,
) -> Path:
    """Writes pixels (H, W, bands) as a GeoTIFF of half a metre a pixel."""
    scenes.write_scene(path, pixels, crs=crs, transform=transform or scenes.north_up(PIXEL, CORNER), **options)
    return path


def photo_scene(path: Path, height: int, width: int, transform: Affine | None = None, **options: Any) -> Path:
    """A scene of a smooth, colourful photo."""
    return write_scene(path, make_photo(height, width), transform=transform, **options)


def square(left: float, top: float, width: float, height: float | None = None) -> shapely.Polygon:
    """A rectangle in the ground's coordinates, by its place and size in pixels of `write_scene`."""
    right, bottom = left + width, top + (width if height is None else height)
    x, y = CORNER
    return shapely.box(x + left * PIXEL, y - bottom * PIXEL, x + right * PIXEL, y - top * PIXEL)


def write_features(
    path: Path,
    shapes: Sequence[shapely.Geometry | None],
    values: Sequence[Any],
    crs: str | None = UTM,
    field: str = "class",
    kind: str = "Unknown",
    **options: Any,
) -> Path:
    """Writes features with one field."""
    column = np.array(values, dtype=object) if any(isinstance(value, str) for value in values) else np.array(values)
    geometry = np.array([None if shape is None else shapely.to_wkb(shape) for shape in shapes], dtype=object)
    pyogrio.raw.write(path, geometry, [column], np.array([field], dtype=object), geometry_type=kind, crs=crs, **options)
    return path
