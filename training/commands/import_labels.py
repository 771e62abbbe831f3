"""`fcn-import`: makes a folder for `fcn-train` of what labelling tools export, or of scenes and polygons of a GIS."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from model.command_line import CommandParser
from training.commands.command import print_lines, run_command
from training.data.label_files import alike_names, find_labels
from training.data.masks import DrawnOn
from training.data.problems import DataError, FrameErrors, raise_all
from training.importing.archives import unpack
from training.importing.classes import Classes, find_classes, write_classes
from training.importing.coco import Document
from training.importing.documents import DocumentMasks, DrawingOptions
from training.importing.exports import is_data_set, read_exports, split_name
from training.importing.objects import Crowds
from training.importing.omissions import Omissions, Policy
from training.importing.output import ImportFolder, parts_folder

if TYPE_CHECKING:  # needs the extra geo
    from training.importing.maps.import_maps import MapOptions

NEEDED = ("vector", "field")
OF_MAPS = (
    "vector", "layer", "field", "extent", "extent_layer", "tile", "block", "bands", "scale", "gsd",
)  # fmt: skip
OF_EXPORTS = ("images", "crowds", "masks_orientation", "image_field")
TILE = 512


def parser() -> argparse.ArgumentParser:
    p = CommandParser(
        "fcn-import", description="Makes a folder of images and masks from the export of a labelling tool, or from maps."
    )
    p.add_argument(
        "export", type=Path, metavar="EXPORT", nargs="?",
        help="JSON of COCO or Label Studio, a folder of labelme, Roboflow or CVAT, or a zip of them",
    )  # fmt: skip
    p.add_argument("--images", type=Path, help="folder of the images (default: the folder of the export, or images/ in it)")
    p.add_argument("--out", type=Path, required=True, help="folder to write images/, masks/ and classes.json to")
    p.add_argument(
        "--split",
        help="train or val: all frames are of this split (default: as in the export; without splits, about one in five is val)",
    )
    p.add_argument(
        "--crowds",
        choices=get_args(Crowds),
        help="whether objects with iscrowd 1 keep their class (objects) or become void (default: objects)",
    )
    p.add_argument(
        "--masks-orientation",
        choices=get_args(DrawnOn),
        help="whether objects were drawn on the photo as EXIF turns it (upright) or as its file stores it (default: upright)",
    )
    p.add_argument(
        "--unknown",
        choices=get_args(Policy),
        default="error",
        help="whether an object that cannot be read ends the import (error) or becomes void (void); default: error",
    )
    p.add_argument(
        "--image-field", metavar="NAME", help="field of Label Studio's tasks that holds the image, such as photo_url"
    )
    p.add_argument(
        "--force", action="store_true",
        help="also replace masks that were changed since fcn-import wrote them; of maps, all tiles of an earlier import",
    )  # fmt: skip
    add_map_arguments(p)
    return p


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
        split=args.split or "", unknown=args.unknown, force=args.force,
    )  # fmt: skip


def check_no_map_arguments(args: argparse.Namespace) -> None:
    """Raises `DataError` if there is no export, or arguments of maps beside one."""
    if others := [name for name in OF_MAPS if getattr(args, name) is not None]:
        raise DataError(f"{_flags(others)} goes with --raster")
    if args.export is None:
        raise DataError("give the EXPORT of a labelling tool, or scenes with --raster and their labels with --vector")


def _flags(names: list[str]) -> str:
    return " and ".join(f"--{name.replace('_', '-')}" for name in names)


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)

    def work() -> None:
        if args.raster:
            from training.importing.maps.import_maps import import_maps  # needs the extra geo

            print_lines(import_maps(args.out, map_options(args)))
            return
        check_no_map_arguments(args)
        print_lines(import_exports(args))

    return run_command("fcn-import", work)


def import_exports(args: argparse.Namespace) -> list[str]:
    """Writes images, masks and `classes.json` of all documents of an export; nothing if one of them has an error.

    Gives lines for the user. Class 0 is the background; the others are the categories in the order of their ids. If the folder
    already has a file of classes, such as from another split, categories become its classes of the same names. Smaller objects
    are drawn over larger ones. Boxes of objects without an outline are void. Raises `DataError` with everything that is missing
    or wrong in the documents, if no pixel has a class, and if the folder has another image of the same name.
    """
    with parts_folder(args.out) as parts:
        if args.export.suffix.lower() != ".zip" or not args.export.is_file():
            return _import(args, args.export, parts)
        folder = parts / "export"
        content = unpack(args.export, folder)
        try:
            lines = _keep(args, content) if is_data_set(content) else _import(args, content, parts)
        except ValueError as error:
            errors = error.each if isinstance(error, DataError) else [error]
            raise FrameErrors([DataError(str(each).replace(str(folder), str(args.export))) for each in errors]) from error
        return [line.replace(str(folder), str(args.export)) for line in lines]


def _keep(args: argparse.Namespace, folder: Path) -> list[str]:
    """Moves an unpacked data set, whose masks trainings read as they are, to the folder to write to; gives lines.

    Raises `ValueError` if that is not empty, for options that have no effect, and for classes that cannot be read.
    """
    if others := [name for name in (*OF_EXPORTS, "split") if getattr(args, name) is not None]:
        raise DataError(f"{_flags(others)} goes with labels in JSON, and {args.export} holds masks")
    if [path for path in args.out.iterdir() if not folder.is_relative_to(path)]:
        raise DataError(f"{args.out} is not empty: give another --out for the masks of {args.export}")
    names = find_labels(None, folder).names
    for path in list(folder.iterdir()):
        shutil.move(path, args.out / path.name)
    return [f"unpacked {args.export} to {args.out}, whose masks fcn-check and fcn-train read as they are: {', '.join(names)}"]


def _import(args: argparse.Namespace, export: Path, parts: Path) -> list[str]:
    """Imports a file or folder. parts: for masks that are not yet written."""
    split = split_name(args.split or "")
    omissions = Omissions(args.unknown)
    documents = read_exports(export, omissions, args.image_field)
    if split and len(documents) > 1:
        raise DataError(f"{export} has {len(documents)} splits of its own: leave out --split, or give one of their files")
    how = DrawingOptions(args.images, parts, args.crowds or "objects", args.masks_orientation or "upright", omissions)
    return _write(args.out, documents, split, how, force=args.force)


def _write(out: Path, documents: list[Document], split: str, how: DrawingOptions, *, force: bool) -> list[str]:
    """Draws all documents, and writes them if none has an error. split: of all documents; empty for their own."""
    errors: list[DataError] = []
    try:
        classes = find_classes(documents, out)
    except DataError as error:  # photos and objects may have further errors
        errors += error.each
        classes = Classes([], [{entry["id"]: 1 for entry in document.categories} for document in documents])
    output = ImportFolder(out)
    drawn: list[DocumentMasks] = []
    for document, ids in zip(documents, classes.ids, strict=True):
        drawn.append(result := DocumentMasks(document, split or document.split, ids, how))
        result.draw()
        errors += [*result.errors, *output.errors(result.split, list(result.masks))]
    raise_all([*how.omissions.errors(), *errors, *how.omissions.object_errors])
    write_classes(out, classes.names)  # before the masks, which mean nothing without it
    lines = []
    for result in drawn:
        corrections = output.write(result.split, result.masks, force=force)
        frames = " ".join(filter(None, [str(len(result.masks) - len(corrections)), result.split, "frames"]))
        lines.append(f"wrote {frames} of {len(classes.names)} classes to {out}: {', '.join(classes.names)}")
        if corrections:
            lines.append(f"{len(corrections)} masks are not as fcn-import wrote them, and are kept; --force replaces them:")
            lines += [f"  {path}" for path in corrections]
    if classes.groups:
        lines.append(f"left out, because they have no objects and only group other categories: {', '.join(classes.groups)}")
    return [*lines, *alike_names(classes.names), *how.omissions.notes()]


if __name__ == "__main__":
    sys.exit(main())
