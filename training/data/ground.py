"""The size on the ground of pixels of a data set: `tiles.geojson` in its folder has it, which `fcn-import` writes of maps."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import Any

from model.preprocessing import GSD, is_gsd
from training.data.problems import DataError
from training.data.strict_text import read_json

TILES = "tiles.geojson"
MOST_RATIO = 1.1  # of the largest to the smallest pixel, along one side, of those that count as equal


def read_gsd(root: Path) -> float | None:
    """Metres of a pixel of a folder's images. None if they are no tiles of scenes, or if the sizes of their pixels differ.

    Raises `DataError` for a file that is no JSON, or whose numbers are none.
    """
    path = root / TILES
    if not path.is_file():
        return None
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    scenes = document.get("scenes") if isinstance(document, dict) else None
    if not isinstance(scenes, list):
        return None
    pixels = [scene.get("pixel_m") if isinstance(scene, dict) else None for scene in scenes]
    if not pixels or None in pixels:  # an earlier import, or a file that a GIS has written again
        return None
    return common_gsd([_lengths(path, pixel) for pixel in pixels])


def common_gsd(pixels: list[tuple[float, float]]) -> float | None:
    """The metres of a pixel, if pixels of these (heights, widths) measure about the same; else None."""
    lengths = [length for pixel in pixels for length in pixel]
    if max(lengths) > MOST_RATIO * min(lengths):
        return None
    return sqrt(max(lengths) * min(lengths))


def _lengths(path: Path, pixel: Any) -> tuple[float, float]:
    if not isinstance(pixel, list) or len(pixel) != 2 or not all(map(is_gsd, pixel)):
        raise DataError(
            f"{path}: pixel_m must be the height and width of a pixel in metres, {GSD[0]:g} to {GSD[1]:.0f}, got "
            f"{str(pixel)[:60]}; import the scenes again"
        )
    return pixel[0], pixel[1]
