"""Makes a folder of tiles and masks of scenes, and of polygons drawn on them.

`tiles.geojson` has the ground that each tile shows.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely

from common.regular_file import read_regular_file
from common.whole_file import write_file
from imaging.band_scale import BandScale
from imaging.georeferenced.geojson import feature_collection
from model.preprocessing import GSD
from training.data.files import images_below, normal_name
from training.data.label_files import alike_names
from training.data.layouts import repeated
from training.data.map_files import BANDS, TILES, common_gsd, write_bands
from training.data.problems import DataError, first_names, raise_all
from training.importing.classes import Classes, find_classes, mask_palette, write_classes
from training.importing.coco import Document
from training.importing.exports import split_name
from training.importing.maps.blocks import Block, Division, divide
from training.importing.maps.cutting import Source, Tile, cut, open_source
from training.importing.maps.layers import Layer, read_layer
from training.importing.omissions import Omissions, Policy
from training.importing.output import parts_folder

SIDES = (64, 4096)  # pixels, of a tile
PARTS = ("images", "masks")


@dataclass(frozen=True)
class MapOptions:
    """What is imported, and how.

    raster: scenes. vector, layer: the polygons, and the layer if the file has several; field: the attribute with their class.
    extent, extent_layer: the area that is labelled. tile: its side in pixels. block: tiles along a block's side. bands, scale:
    of the scenes. gsd: metres of a pixel of tiles; None for those of the scenes. split: of all tiles; without it, blocks of
    ground decide. unknown: what becomes of polygons that cannot be read.
    """

    raster: Sequence[Path]
    vector: Path
    field: str
    layer: str | None = None
    extent: Path | None = None
    extent_layer: str | None = None
    tile: int = 512
    block: int | None = None
    bands: tuple[int, ...] | None = None
    scale: BandScale | None = None
    gsd: float | None = None
    split: str = ""
    unknown: Policy = "error"
    force: bool = False


def _different_pixels(sources: Sequence[Source]) -> list[str]:
    """A line on pixels of different lengths on the ground; none if they are about the same."""
    pixels = [source.pixel_m for source in sources]
    if common_gsd(pixels):
        return []
    lengths = [length for pixel in pixels for length in pixel]
    return [
        f"a side of a pixel measures {min(lengths):.3g} to {max(lengths):.3g} m on the ground, and a network knows things at "
        "one scale: --gsd METRES makes all the same, and fcn-segment then knows it from the weights"
    ]


def _blocks(division: Division) -> list[str]:
    """Lines on how tiles are divided."""
    side, blocks = division.tiles_a_side, set(division.blocks)
    width, height = division.ground.side
    unit = "degrees" if division.ground.crs.is_geographic else division.ground.crs.linear_units
    number = division.splits.count(None)
    left_out = f"; {number} tiles of train show ground of val and are left out" if number else ""
    size = f"{side}x{side} tiles, {width:.6g} x {height:.6g} {unit}"
    return [
        f"{len(division.val)} of {len(blocks)} blocks of ground are val; a block is {size}{left_out}",
        "tiles of val beside tiles of train may show halves of the same objects, so val flatters: larger blocks (--block) "
        "lessen it; --split test scores another place",
    ]


def import_maps(out: Path, how: MapOptions) -> list[str]:
    """Writes tiles, masks, `classes.json` and `tiles.geojson`; nothing if something is wrong. Gives lines for the user.

    Class 0 is the background; the others are the values of the field in alphabetical order. If `out` already has a file of
    classes, they become its classes of the same names. Raises `DataError`.
    """
    split = split_name(how.split)
    if not SIDES[0] <= how.tile <= SIDES[1]:
        raise DataError(f"--tile must be {SIDES[0]} to {SIDES[1]} pixels, got {how.tile}")
    if how.block is not None and how.block < 1:
        raise DataError(f"--block must be 1 tile or more, got {how.block}")
    if how.gsd is not None and not 0 < how.gsd <= GSD[1]:
        raise DataError(f"--gsd must be metres of a pixel, above 0 and up to {GSD[1]:.0f}, got {how.gsd:g}")
    if same := repeated(normal_name(path.stem) for path in how.raster):
        raise DataError(f"scenes of one name, {first_names(same)}, would give tiles of one name: rename them")
    earlier = check_folder(out, force=how.force)
    omissions, of_extent = Omissions(how.unknown), Omissions()  # every polygon of the labelled area must be valid
    labels = read_layer(how.vector, how.layer, how.field, omissions)
    extent = read_layer(how.extent, how.extent_layer, None, of_extent) if how.extent else None
    raise_all([*of_extent.errors(), *omissions.errors()])
    classes, ids = _find_classes(labels, out)
    sources = [open_source(path, how.bands, how.scale, how.gsd) for path in how.raster]
    if len({source.names for source in sources}) > 1:
        bands = first_names(f"{source.path}: {', '.join(source.names)}" for source in sources)
        raise DataError(f"the scenes have bands of different names, and images need the same in all: {bands}")
    with parts_folder(out) as parts:
        result = cut(sources, labels, extent, ids, how.tile, parts, mask_palette(out, classes.names))
        omissions.tell("pixels of polygons lie outside of the extent, and are void", result.beyond)
        bare = "scenes have no polygon inside of the extent, so their tiles are background alone"
        omissions.tell(bare, len(result.bare_scenes), result.bare_scenes)
        places, classes_of_tiles = [tile.place for tile in result.tiles], [tile.classes for tile in result.tiles]
        division = None if split else divide(sources[0].place, how.tile, places, classes_of_tiles, how.block)
        splits = division.splits if division else [split] * len(result.tiles)
        for path in earlier:
            path.unlink()
        write_classes(out, classes.names)  # before the masks, which mean nothing without it
        write_bands(out, sources[0].names)
        write_tiles(out, parts, sources, result.tiles, splits, division.blocks if division else [])
    outside = "other pixels of their tiles are background; if not all of them are labelled, give --extent"
    if how.extent:
        outside = f"other pixels inside {how.extent} are background, and those outside are void"
    counts = Counter(split for split in splits if split is not None)
    frames = ", ".join(f"{count} {split}" for split, count in sorted(counts.items()))
    return [
        *(source.describe() for source in sources),
        *(source.bands.remark for source in sources if source.bands.remark),
        f"wrote {frames} tiles of {how.tile}x{how.tile} pixels to {out}",
        f"{len(classes.names)} classes: {', '.join(classes.names)}",
        f"pixels whose centre lies in a polygon of {labels.name} have its class; {outside}",
        f"left out: {result.bare_tiles} tiles without labels, {result.narrow_tiles} at edges that are too narrow",
        *(_blocks(division) if division else ()),
        *_different_pixels(sources),
        f"{out / TILES} says which ground each tile shows; a GIS opens it",
        *alike_names(classes.names),
        *omissions.notes(),
        *filter(None, [result.outside]),
    ]


def _find_classes(labels: Layer, out: Path) -> tuple[Classes, dict[str, int]]:
    """The classes of a layer, and their ids by name: its values, first numbers and then words, in their order."""
    names = sorted({name for name in labels.classes if name is not None}, key=_order)
    if not names:
        raise DataError(f"{labels.name}: no polygon has a class that can be read")
    categories = [{"id": index, "name": name} for index, name in enumerate(names)]  # ids say the order of the classes
    document = Document(Path(labels.name), [], [{"category_id": index} for index in range(len(names))], categories)
    classes = find_classes([document], out)
    return classes, {name: classes.ids[0][index] for index, name in enumerate(names)}


def _order(name: str) -> tuple[bool, float, str]:
    return (False, float(name), name) if re.fullmatch(r"-?\d+(\.\d+)?", name) else (True, 0, name)


def check_folder(out: Path, *, force: bool) -> list[Path]:
    """The files of an earlier import in a folder, which a new one replaces.

    Raises `DataError` if there are images, masks or lists of them without `force`; with it, if an import did not write them.
    """
    files = [path for part in PARTS for path in images_below(out / part)]
    earlier = files + [out / name for name in (TILES, BANDS) if (out / name).exists()]
    if earlier and not force:
        raise DataError(
            f"{out} has {len(earlier)} images, masks and lists of them already, such as {first_names(earlier, 1)}: give "
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
        properties = {
            "name": tile.name, "split": split, "scene": tile.source.path.name, **tile.window._asdict(),
            **({"block": list(blocks[index])} if blocks else {}),
        }  # fmt: skip
        height, width = tile.window.height, tile.window.width
        features += feature_collection([(shapely.box(0, 0, width, height), properties)], tile.place)["features"]
    document = {"type": "FeatureCollection", "features": features, "scenes": [_scene_entry(source) for source in sources]}
    write_file(out / TILES, json.dumps(document, ensure_ascii=False) + "\n", follow=False)


def _scene_entry(source: Source) -> dict[str, Any]:
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
