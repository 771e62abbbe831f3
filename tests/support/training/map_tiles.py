"""The tiles that an import of scenes wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from common.arrays import Pixels


def pictures(folder: Path) -> dict[str, Pixels]:
    """The pictures in a folder's splits, by name."""
    return {path.stem: np.asarray(Image.open(path)) for path in folder.glob("*/*.png")}


def whole(out: Path, part: str = "masks") -> Pixels:
    """The masks or images of one scene put together at the places that `tiles.geojson` has; 254 where there is none."""
    tiles, document = pictures(out / part), json.loads((out / "tiles.geojson").read_text())
    ((height, width),) = ((scene["height"], scene["width"]) for scene in document["scenes"])
    result = np.full((height, width, *next(iter(tiles.values())).shape[2:]), 254, np.uint8)
    for facts in (feature["properties"] for feature in document["features"]):
        rows = slice(facts["top"], facts["top"] + facts["height"])
        result[rows, facts["left"] : facts["left"] + facts["width"]] = tiles[facts["name"]]
    return result
