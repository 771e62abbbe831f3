"""`fcn-import`: makes a folder for `fcn-train` of what labelling tools export, or of scenes and polygons of a GIS."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

from common.command_line import CommandParser, argument_type, flag
from imaging.band_scale import parse_bands, parse_scale
from training.commands.command import add_option, options_present, print_lines, run_command
from training.data.label_files import alike_names, find_labels
from training.data.masks import DrawnOn
from training.data.problems import DataError, FrameErrors, collecting, raise_all
from training.importing.archives import unpack
from training.importing.classes import Classes, find_classes, mask_palette, write_classes
from training.importing.coco import Document
from training.importing.documents import DocumentMasks, DrawingOptions
from training.importing.exports import is_data_set, read_exports, split_name
from training.importing.objects import Crowds
from training.importing.omissions import Omissions, Policy
from training.importing.output import ImportFolder, parts_folder

NEEDED = ("vector", "field")
OF_MAPS = (*NEEDED, "layer", "extent", "extent_layer", "tile", "block", "bands", "scale", "gsd")
OF_EXPORTS = ("images", "crowds", "masks_orientation", "image_field")


def parser() -> argparse.ArgumentParser:
    p = CommandParser(
        "fcn-import", description="Makes a folder of images and masks from the export of a labelling tool, or from maps."
    )
    export = "JSON of COCO or Label Studio, a folder of labelme, Roboflow, CVAT or YOLO, or a zip of them"
    p.add_argument("export", type=Path, metavar="EXPORT", nargs="?", help=export)
    add_option(p, "--images", Path, "folder of the images (default: the folder of the export, or images/ in it)")
    add_option(p, "--out", Path, "folder to write images/, masks/ and classes.json to", required=True)
    split = "train or val: all frames are of this split (default: as in the export; without splits, about one in five is val)"
    add_option(p, "--split", "", split)
    crowds = "whether objects with iscrowd 1 keep their class (objects) or become void (default: objects)"
    add_option(p, "--crowds", str, crowds, choices=get_args(Crowds))
    drawn_on = "whether objects were drawn on the photo as EXIF turns it (upright) or as its file stores it (default: upright)"
    add_option(p, "--masks-orientation", str, drawn_on, choices=get_args(DrawnOn))
    unknown = "whether an object that cannot be read ends the import (error) or becomes void (void); default: error"
    add_option(p, "--unknown", "error", unknown, choices=get_args(Policy))
    add_option(p, "--image-field", str, "field of Label Studio's tasks that holds the image, such as photo_url", metavar="NAME")
    force = "also replace masks that were changed since fcn-import wrote them; of maps, all tiles of an earlier import"
    p.add_argument("--force", action="store_true", help=force)

    maps = p.add_argument_group("maps", "tiles of scenes, and of polygons that a GIS drew on them; EXPORT is left out")
    add_option(maps, "--raster", Path, "rasters with coordinates, such as GeoTIFFs", nargs="+", metavar="SCENE")
    add_option(maps, "--vector", Path, "polygons of the classes: GeoPackage, GeoJSON, shapefile", metavar="FILE")
    add_option(maps, "--layer", str, "layer of the polygons, if the file has several", metavar="NAME")
    add_option(maps, "--field", str, "field of the polygons that holds their class", metavar="NAME")
    extent = "polygons of the labelled area: outside of it, masks are void (default: tiles with a polygon are labelled)"
    add_option(maps, "--extent", Path, extent, metavar="FILE")
    add_option(maps, "--extent-layer", str, "layer of the labelled area, if the file has several", metavar="NAME")
    add_option(maps, "--tile", int, "side of a tile (default: 512)", metavar="PIXELS")
    block = "side of the blocks of ground that are train or val as a whole (default: by the number of tiles)"
    add_option(maps, "--block", int, block, metavar="TILES")
    bands = (
        "bands of a scene that become red, green and blue; or one band; or 4 to 16 that stay as they are (default: its "
        "colours, or the first three)"
    )
    maps.add_argument("--bands", type=argument_type(parse_bands), metavar="N,N,N", help=bands)
    scale = "values that become 0 and 255 (default: percentiles 2 and 98 of each band; bytes stay)"
    maps.add_argument("--scale", type=argument_type(parse_scale), metavar="MIN,MAX", help=scale)
    gsd = "scale the scenes so that a pixel of a tile measures this much on the ground (default: the scenes' own pixels)"
    add_option(maps, "--gsd", float, gsd, metavar="METRES")
    return p


def _import_maps(args: argparse.Namespace) -> list[str]:
    """Imports maps; raises `DataError` for arguments that are missing or belong to exports."""
    from imaging.georeferenced.errors import SceneError, VectorError  # these need the extra geo
    from training.importing.maps.import_maps import MapOptions, import_maps

    if args.export is not None:
        raise DataError(f"--raster takes scenes and --vector their labels; {args.export} is one thing too many")
    if missing := " and ".join(flag(name) for name in NEEDED if getattr(args, name) is None):
        raise DataError(f"--raster needs {missing}: the file of the polygons, and the field with their class")
    if others := options_present(args, OF_EXPORTS):
        raise DataError(f"{others} goes with an EXPORT of a labelling tool, not with --raster")
    if args.extent_layer and not args.extent:
        raise DataError("--extent-layer names a layer of --extent, which is missing")
    values = {each.name: getattr(args, each.name) for each in fields(MapOptions)}
    options = MapOptions(**{name: value for name, value in values.items() if value is not None})
    try:
        return import_maps(args.out, options)
    except (SceneError, VectorError) as error:
        raise DataError(str(error)) from error


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command("fcn-import", lambda: print_lines(_import_maps(args) if args.raster else import_exports(args)))


def import_exports(args: argparse.Namespace) -> list[str]:
    """Writes images, masks and `classes.json` of all documents of an export; nothing if one of them has an error.

    Gives lines for the user. Class 0 is the background; the others are the categories in the order of their ids. If the folder
    already has a file of classes, such as from another split, categories become its classes of the same names. Smaller objects
    are drawn over larger ones. Boxes of objects without an outline are void. Raises `DataError` with everything that is missing
    or wrong in the documents, if no pixel has a class, and if the folder has another image of the same name.
    """
    if others := options_present(args, OF_MAPS):
        raise DataError(f"{others} goes with --raster")
    if args.export is None:
        raise DataError("give the EXPORT of a labelling tool, or scenes with --raster and their labels with --vector")
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
    if others := options_present(args, (*OF_EXPORTS, "split")):
        raise DataError(f"{others} goes with labels in JSON, and {args.export} holds masks")
    if [path for path in args.out.iterdir() if not folder.is_relative_to(path)]:
        raise DataError(f"{args.out} is not empty: give another --out for the masks of {args.export}")
    names = find_labels(None, folder).names
    for path in list(folder.iterdir()):
        shutil.move(path, args.out / path.name)
    return [f"unpacked {args.export} to {args.out}, whose masks fcn-check and fcn-train read as they are: {', '.join(names)}"]


def _import(args: argparse.Namespace, export: Path, parts: Path) -> list[str]:
    """Imports a file or folder. parts: for masks that are not yet written."""
    split = split_name(args.split)
    omissions = Omissions(args.unknown)
    documents = read_exports(export, omissions, args.image_field)
    if split and len(documents) > 1:
        raise DataError(f"{export} has {len(documents)} splits of its own: leave out --split, or give one of their files")
    how = DrawingOptions(args.images, parts, args.crowds or "objects", args.masks_orientation or "upright", omissions)
    return _write(args.out, documents, split, how, force=args.force)


def _write(out: Path, documents: list[Document], split: str, how: DrawingOptions, *, force: bool) -> list[str]:
    """Draws all documents, and writes them if none has an error. split: of all documents; empty for their own."""
    errors: list[DataError] = []
    classes = Classes([], [{entry["id"]: 1 for entry in document.categories} for document in documents])
    with collecting(errors):  # photos and objects may have further ones
        classes = find_classes(documents, out)
    output, how = ImportFolder(out), replace(how, palette=mask_palette(out, classes.names))
    results: list[DocumentMasks] = []
    for document, ids in zip(documents, classes.ids, strict=True):
        results.append(result := DocumentMasks(document, split or document.split, ids, how))
        result.draw()
        errors += [*result.errors, *output.errors(result.split, list(result.masks))]
    raise_all([*how.omissions.errors(), *errors, *how.omissions.object_errors])
    write_classes(out, classes.names)  # before the masks, which mean nothing without it
    lines = []
    for result in results:
        corrections = output.write(result.split, result.masks, force=force)
        frames = " ".join(filter(None, [str(len(result.masks) - len(corrections)), result.split, "frames"]))
        lines.append(f"wrote {frames} of {len(classes.names)} classes to {out}: {', '.join(classes.names)}")
        if corrections:
            lines.append(f"{len(corrections)} masks are not as fcn-import wrote them, and are kept; --force replaces them:")
            lines += [f"  {path}" for path in corrections]
    if classes.groups:
        lines.append(f"left out, because they have no objects and only group other categories: {', '.join(classes.groups)}")
    return [*lines, *alike_names(classes.names), *how.omissions.notes()]
