"""What `fcn-import` writes of maps beside a data set's images: their bands in `bands.json`, their ground in `tiles.geojson`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

from common.whole_file import write_file
from model.preprocessing import GSD, MOST_BANDS, RGB, is_gsd
from training.data.problems import DataError
from training.data.strict_text import require_json

BANDS, TILES = "bands.json", "tiles.geojson"
MOST_RATIO = 1.1  # of the largest to the smallest pixel, along one side, of those that count as equal


def read_bands(root: Path) -> tuple[str, ...]:
    """The names of the bands of a folder's images; `RGB` without a file. Raises `DataError` for a file that says no bands."""
    path = root / BANDS
    if not path.is_file():
        return RGB
    document = require_json(path)
    names = document.get("bands") if isinstance(document, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not 3 <= len(names) <= MOST_BANDS:
        raise DataError(f'{path} must be {{"bands": [...]}} with 3 to {MOST_BANDS} names, got {str(document)[:80]}')
    return tuple(names)


def write_bands(root: Path, bands: Sequence[str]) -> None:
    """Writes the file, or removes it for images of red, green and blue."""
    if tuple(bands) == RGB:
        (root / BANDS).unlink(missing_ok=True)
        return
    write_file(root / BANDS, json.dumps({"bands": list(bands)}) + "\n", follow=False)


def read_gsd(root: Path) -> float | None:
    """Metres of a pixel of a folder's images. None if they are no tiles of scenes, or if the sizes of their pixels differ.

    Raises `DataError` for a file that is no JSON, or whose numbers are none.
    """
    scenes = _members(root, "scenes")
    pixels = [scene.get("pixel_m") if isinstance(scene, dict) else None for scene in scenes]
    if not pixels or None in pixels:  # an earlier import, or a file that a GIS has written again
        return None
    return common_gsd([_lengths(root / TILES, pixel) for pixel in pixels])


def read_blocks(root: Path) -> dict[str, str]:
    """The block of ground of each tile, by the image's name; its own name if its import has not divided blocks.

    Raises `DataError` for a file that is no JSON.
    """
    properties = [tile.get("properties") if isinstance(tile, dict) else None for tile in _members(root, "features")]
    return {str(each.get("name")): str(each.get("block") or each.get("name")) for each in properties if isinstance(each, dict)}


def _members(root: Path, name: str) -> list[Any]:
    """A list of the file's document; empty if there is no file, or no such list in it."""
    path = root / TILES
    if not path.is_file():
        return []
    document = require_json(path)
    members = document.get(name) if isinstance(document, dict) else None
    return members if isinstance(members, list) else []


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
