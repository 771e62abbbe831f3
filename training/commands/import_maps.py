"""The arguments of `fcn-import` for scenes and polygons of a GIS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from training.data.problems import DataError

if TYPE_CHECKING:  # needs the extra geo
    from training.importing.maps.import_maps import MapOptions

NEEDED = ("vector", "field")
OF_MAPS = (
    "vector", "layer", "field", "extent", "extent_layer", "tile", "block", "bands", "scale", "gsd", "all_touched",
)  # fmt: skip
OF_EXPORTS = ("images", "crowds", "masks_orientation", "image_field")
TILE = 512


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--raster` and the arguments that go with it; none has a default, so that it can be told apart."""
    p = parser.add_argument_group("maps", "tiles of scenes, and of polygons that a GIS drew on them; EXPORT is left out")
    p.add_argument("--raster", type=Path, nargs="+", metavar="SCENE", help="rasters with coordinates, such as GeoTIFFs")
    p.add_argument("--vector", type=Path, metavar="FILE", help="polygons of the classes: GeoPackage, GeoJSON, shapefile")
    p.add_argument("--layer", metavar="NAME", help="layer of the polygons, if the file has several")
    p.add_argument("--field", metavar="NAME", help="field of the polygons that holds their class")
    p.add_argument(
        "--extent", type=Path, metavar="FILE",
        help="polygons of the labelled area: outside of it, masks are void (default: tiles with a polygon are labelled)",
    )  # fmt: skip
    p.add_argument("--extent-layer", metavar="NAME", help="layer of the labelled area, if the file has several")
    p.add_argument("--tile", type=int, metavar="PIXELS", help=f"side of a tile (default: {TILE})")
    p.add_argument(
        "--block", type=int, metavar="TILES",
        help="side of the blocks of ground that are train or val as a whole (default: by the number of tiles)",
    )  # fmt: skip
    p.add_argument(
        "--bands", metavar="N,N,N",
        help="bands of a scene that become red, green and blue; or one band; or 4 to 16 that stay as they are (default: its "
        "colours, or the first three)",
    )  # fmt: skip
    p.add_argument(
        "--scale", metavar="MIN,MAX",
        help="values that become 0 and 255 (default: percentiles 2 and 98 of each band; bytes stay)",
    )  # fmt: skip
    p.add_argument(
        "--gsd", type=float, metavar="METRES",
        help="scale the scenes so that a pixel of a tile measures this much on the ground (default: the scenes' own pixels)",
    )  # fmt: skip
    p.add_argument(
        "--all-touched", action="store_const", const=True,
        help="burn pixels that a polygon touches (default: those whose centre lies in it)",
    )  # fmt: skip


def map_options(args: argparse.Namespace) -> MapOptions:
    """The options of an import of maps; raises `DataError` for arguments that are missing or belong to exports."""
    from imaging.band_scale import parse_bands, parse_scale
    from training.importing.maps.import_maps import MapOptions

    if args.export is not None:
        raise DataError(f"--raster takes scenes and --vector their labels; {args.export} is one thing too many")
    if missing := [name for name in NEEDED if getattr(args, name) is None]:
        raise DataError(f"--raster needs {_flags(missing)}: the file of the polygons, and the field with their class")
    if others := [name for name in OF_EXPORTS if getattr(args, name) is not None]:
        raise DataError(f"{_flags(others)} goes with an EXPORT of a labelling tool, not with --raster")
    if args.extent_layer and not args.extent:
        raise DataError("--extent-layer names a layer of --extent, which is missing")
    bands = None if args.bands is None else parse_bands(args.bands)
    scale = None if args.scale is None else parse_scale(args.scale)
    return MapOptions(
        args.raster, args.vector, args.field, args.layer, args.extent, args.extent_layer,
        tile=TILE if args.tile is None else args.tile, block=args.block, bands=bands, scale=scale, gsd=args.gsd,
        all_touched=bool(args.all_touched), split=args.split or "", unknown=args.unknown, force=args.force,
    )  # fmt: skip


def check_no_map_arguments(args: argparse.Namespace) -> None:
    """Raises `DataError` if there is no export, or arguments of maps beside one."""
    if others := [name for name in OF_MAPS if getattr(args, name) is not None]:
        raise DataError(f"{_flags(others)} goes with --raster")
    if args.export is None:
        raise DataError("give the EXPORT of a labelling tool, or scenes with --raster and their labels with --vector")


def _flags(names: list[str]) -> str:
    return " and ".join(f"--{name.replace('_', '-')}" for name in names)
