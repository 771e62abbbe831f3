"""Writes tiles into a data set's folder, and the ground that each shows into `tiles.geojson`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shapely

from imaging.georeferenced.geojson import feature_collection
from model.regular_file import read_regular_file
from model.whole_file import write_file
from training.data.bands import BANDS
from training.data.files import images_below
from training.data.ground import TILES
from training.data.problems import DataError, first_names
from training.importing.maps.blocks import Block
from training.importing.maps.cutting import Source, Tile

PARTS = ("images", "masks")


def check_folder(out: Path, *, force: bool) -> list[Path]:
    """The files of an earlier import in a folder, which a new one replaces.

    Raises `DataError` if there are images, masks or lists of them without `force`; with it, if an import did not write them.
    """
    files = [path for part in PARTS for path in images_below(out / part)]
    existing = files + [out / name for name in (TILES, BANDS) if (out / name).exists()]
    if existing and not force:
        raise DataError(
            f"{out} has {len(existing)} images, masks and lists of them already, such as {first_names(existing, 1)}: give "
            "another --out, or replace an earlier import of maps with --force"
        )
    try:
        features = json.loads(read_regular_file(out / TILES))["features"] if files else []
        names = {str(feature["properties"]["name"]) for feature in features}
    except (OSError, ValueError, KeyError, TypeError):
        names = set()
    if others := [path for path in files if path.stem not in names]:
        raise DataError(f"{out} has files that {TILES} does not list, such as {first_names(others, 1)}: give another --out")
    return files


def write_tiles(
    out: Path,
    folder: Path,
    sources: Sequence[Source],
    tiles: Sequence[Tile],
    splits: Sequence[str | None],
    blocks: Sequence[Block],
) -> None:
    """Moves tiles from a folder into the data set's, and writes `tiles.geojson`.

    splits: of the tiles; None for those that are left out. blocks: of ground that the tiles lie in; empty if there are none.
    """
    features = []
    for index, (tile, split) in enumerate(zip(tiles, splits, strict=True)):
        if split is None:
            continue
        for part in PARTS:
            (out / part / split).mkdir(parents=True, exist_ok=True)
            file = f"{tile.name}{tile.source.ending if part == 'images' else '.png'}"
            shutil.move(folder / part / file, out / part / split / file)
        facts = {
            "name": tile.name, "split": split, "scene": tile.source.path.name, **tile.window._asdict(),
            **({"block": list(blocks[index])} if blocks else {}),
        }  # fmt: skip
        height, width = tile.window.height, tile.window.width
        features += feature_collection([(shapely.box(0, 0, width, height), facts)], tile.place)["features"]
    document = {"type": "FeatureCollection", "features": features, "scenes": [_facts(source) for source in sources]}
    write_file(out / TILES, json.dumps(document, ensure_ascii=False) + "\n", follow=False)


def _facts(source: Source) -> dict[str, Any]:
    """What the file says of a scene.

    transform: from column and row to coordinates, as six numbers a to f. pixel_m: how high and wide a pixel is on the ground.
    All of the pixels that tiles have, which `--gsd` may have scaled.
    """
    height, width = source.place.size
    scales = source.bands.scales
    return {
        "file": str(source.path), "crs": source.system, "transform": list(source.place.transform)[:6], "height": height,
        "width": width, "pixel_m": source.pixel_m, "bands": list(source.bands.numbers),
        "scales": None if scales is None else [[scale.least, scale.most] for scale in scales],
    }  # fmt: skip
