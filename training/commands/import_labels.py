"""`fcn-import`: makes a folder for `fcn-train` of what CVAT, Label Studio, labelme, Roboflow and other tools export."""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from PIL import Image
from tqdm import tqdm

from imaging.classes import VOID
from imaging.decoding import Limits, read_size
from imaging.errors import ImageError
from model.command_line import CommandParser
from training.commands.command import run_command
from training.data.coco.classes import find_classes, find_groups, write_classes
from training.data.coco.files import ImageFinder, Key, base_name, is_key
from training.data.coco.objects import BACKGROUND, Crowds, draw_mask, is_crowd, name_of
from training.data.exports import Export, read_exports
from training.data.files import Folders, normal_name
from training.data.label_files import FILES
from training.data.layouts import repeated
from training.data.omissions import Omissions, Policy
from training.data.orientation import DrawnOn, read_orientation, swaps_sides, turn_upright
from training.data.problems import DataError, first_names, raise_all

CLASSES = FILES[0]


@dataclass
class Imported:
    """The classes and the number of frames that an import wrote, and facts for the user.

    labelled: number of frames whose masks show a class. boxes: number of objects without an outline. crowds: number of objects
    with `iscrowd` 1. empty: number of objects that cover no pixel. blank: frames with objects whose masks show no class.
    turned: photos that EXIF turns, where their size does not show it. groups: categories that only group others. notes: of the
    export's reader.
    """

    classes: list[str]
    split: str = ""
    frames: int = 0
    labelled: int = 0
    boxes: int = 0
    crowds: int = 0
    empty: int = 0
    blank: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self, out: Path, crowds: Crowds) -> list[str]:
        """The lines to print after the import."""
        frames = f"{self.frames} {self.split} frames" if self.split else f"{self.frames} frames"
        lines = [f"wrote {frames} of {len(self.classes)} classes to {out}: {', '.join(self.classes)}", *self.notes]
        if self.groups:
            lines.append(f"left out, because they have no objects and only group other categories: {', '.join(self.groups)}")
        if self.boxes:
            lines.append(
                f"{self.boxes} objects have a box and no outline: their boxes are void, which is neither learnt nor scored"
            )
        if self.crowds and crowds == "objects":
            lines.append(
                f"{self.crowds} objects are marked as crowds (iscrowd 1), as CVAT marks every brush mask; they keep their "
                "class, or become void with --crowds void"
            )
        elif self.crowds:
            lines.append(
                f"{self.crowds} objects are marked as crowds (iscrowd 1) and become void, which is neither learnt nor scored"
            )
        if self.empty:
            lines.append(f"{self.empty} objects cover no pixel of their image")
        if self.blank:
            lines.append(f"{len(self.blank)} frames have objects, and masks without any class: {first_names(self.blank)}")
        if self.turned:
            lines.append(
                f"{len(self.turned)} images are turned by EXIF, such as {first_names(self.turned)}: objects are read as drawn "
                "on the upright image; if they were drawn on the stored one, --masks-orientation stored"
            )
        return lines


def parser() -> argparse.ArgumentParser:
    p = CommandParser("fcn-import", description="Makes a folder of images and masks from the export of a labelling tool.")
    p.add_argument(
        "export", type=Path, metavar="EXPORT", help="JSON of COCO or Label Studio, or a folder of labelme, Roboflow or CVAT"
    )
    p.add_argument("--images", type=Path, help="folder of the images (default: the folder of the export, or images/ in it)")
    p.add_argument("--out", type=Path, required=True, help="folder to write images/, masks/ and classes.json to")
    p.add_argument(
        "--split",
        help="train or val: all frames are of this split (default: as in the export; without splits, about one in five is val)",
    )
    p.add_argument(
        "--crowds",
        choices=get_args(Crowds),
        default="objects",
        help="whether objects with iscrowd 1 keep their class (objects) or become void (default: objects)",
    )
    p.add_argument(
        "--masks-orientation",
        choices=get_args(DrawnOn),
        default="upright",
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
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)

    def work() -> None:
        imports = import_exports(
            args.export, args.images, args.out, args.split or "", args.crowds, args.masks_orientation,
            unknown=args.unknown, image_field=args.image_field,
        )  # fmt: skip
        for imported in imports:
            print("\n".join(imported.lines(args.out, args.crowds)))

    return run_command("fcn-import", work)


def import_exports(
    path: Path,
    images: Path | None,
    out: Path,
    split: str = "",
    crowds: Crowds = "objects",
    drawn_on: DrawnOn = "upright",
    *,
    unknown: Policy = "error",
    image_field: str | None = None,
) -> list[Imported]:
    """Writes images, masks and `classes.json` of each document of an export; nothing of a document that has an error.

    split: the split of the only document; without it, each has the split that the export says. unknown: what becomes of objects
    that cannot be read. image_field: the field of Label Studio's tasks that holds the image.

    Class 0 is the background; the others are the categories in the order of their ids. If `out` already has a file of classes,
    such as from another split, categories become its classes of the same names. Smaller objects are drawn over larger ones.
    Boxes of objects without an outline are void. Raises `DataError` with everything that is missing or wrong in a document, if
    no pixel has a class, and if `out` has another image of the same name.
    """
    if split != Path(split).name:
        raise DataError(f"--split must be a name without folders, such as train, got {split!r}")
    omissions = Omissions(unknown)
    exports = read_exports(path, omissions, image_field)
    if split and len(exports) > 1:
        raise DataError(f"{path} has {len(exports)} splits of its own: leave out --split, or give one of their files")
    is_new = not out.exists()
    try:
        imports = [_import(export, images, out, split or export.split, crowds, drawn_on, omissions) for export in exports]
    except DataError:
        if is_new and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise
    imports[-1].notes += omissions.notes()
    return imports


def _import(
    export: Export, images: Path | None, out: Path, split: str, crowds: Crowds, drawn_on: DrawnOn, omissions: Omissions
) -> Imported:
    """Writes the files of one document."""
    path, document = export.path, export.document
    classes_file = next((out / name for name in FILES if (out / name).is_file()), None)
    groups = find_groups(document)
    labels, ids = find_classes([entry for entry in document.categories if entry["id"] not in groups], classes_file, path)
    if duplicates := repeated(normal_name(base_name(entry["file_name"])) for entry in document.images):
        raise DataError(f"{path}: images of one name {duplicates[:5]} would have one mask; rename them")
    imported = Imported(labels, split, len(document.images), groups=list(groups.values()), notes=export.notes)
    imported.crowds = sum(is_crowd(entry) for entry in document.annotations)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".import-") as folder:
        masks = _draw(export, ImageFinder(path, images), ids, Path(folder), imported, crowds, drawn_on, omissions)
        if not imported.labelled:
            counts = (
                f"{len(document.annotations)} objects, {imported.boxes} of them boxes alone, {imported.empty} without a pixel"
            )
            raise DataError(f"{path}: no pixel of its {len(document.images)} images is of a class: {counts}")
        _refuse_overwriting(out / "images" / split, list(masks))
        for part in ("images", "masks"):
            (out / part / split).mkdir(parents=True, exist_ok=True)
        for source, mask in masks.items():
            copy = out / "images" / split / source.name
            if source.resolve() != copy.resolve():
                shutil.copyfile(source, copy)
            shutil.move(mask, out / "masks" / split / f"{source.stem}.png")
    if not classes_file:
        write_classes(out / CLASSES, labels)
    return imported


def _refuse_overwriting(folder: Path, sources: list[Path]) -> None:
    """Raises `DataError` if the folder has another image of a source's name, because its mask would be overwritten."""
    files = Folders().images(folder)
    raise_all(
        [
            DataError(
                f"{existing} is another image than {source}, and both would have one mask; rename one, or give another --out"
            )
            for source in sources
            for existing in files.get(normal_name(source.stem), [])
            if existing.name != source.name or not filecmp.cmp(source, existing, shallow=False)
        ]
    )


def _draw(
    export: Export,
    finder: ImageFinder,
    ids: Mapping[Key, int],
    folder: Path,
    imported: Imported,
    crowds: Crowds,
    drawn_on: DrawnOn,
    omissions: Omissions,
) -> dict[Path, Path]:
    """Writes each image's mask into the folder; gives the masks' paths by the images' paths.

    Updates the counts of `imported`. Raises `DataError` with all errors.
    """
    document = export.document
    objects: dict[Any, list[Mapping[str, Any]]] = {entry["id"]: [] for entry in document.images}
    errors = list(export.errors)
    for entry in document.annotations:
        if is_key(image_id := entry.get("image_id")) and image_id in objects:
            objects[image_id].append(entry)
        else:
            errors.append(DataError(f"{name_of(entry)} is of the image {entry.get('image_id')!r}, which is not listed"))
    masks: dict[Path, Path] = {}
    file_names: dict[str, str] = {}  # of the images, by the masks' names
    for entry in tqdm(document.images, desc="masks", unit="image", leave=False):
        try:
            source = finder.find(entry["file_name"])
            if (other := file_names.setdefault(normal_name(source.stem), entry["file_name"])) != entry["file_name"]:
                raise DataError(f"{other} and {entry['file_name']} are both the image {source}, and would have one mask")
            size, orientation = _size(source, entry, drawn_on, has_objects=bool(objects[entry["id"]]))
        except DataError as error:
            errors.append(error)
            continue
        drawing = draw_mask(objects[entry["id"]], size, ids, crowds)
        errors += drawing.errors
        imported.boxes += drawing.boxes
        imported.empty += drawing.empty
        class_ids = set(np.unique(drawing.mask).tolist()) - {BACKGROUND, VOID}
        imported.labelled += bool(class_ids)
        if not class_ids and drawing.named:
            imported.blank.append(source.name)
        if drawn_on == "upright" and orientation != 1 and (not swaps_sides(orientation) or size[0] == size[1]):
            imported.turned.append(source.name)
        mask = turn_upright(drawing.mask, orientation) if drawn_on == "stored" else drawing.mask
        masks[source] = folder / f"{len(masks)}.png"
        Image.fromarray(mask).save(masks[source])
    raise_all([*omissions.errors(), *errors])
    return masks


def _size(source: Path, entry: Mapping[str, Any], drawn_on: DrawnOn, *, has_objects: bool) -> tuple[tuple[int, int], int]:
    """The (height, width) that objects were drawn on, and the photo's EXIF orientation.

    Raises `DataError` if the JSON has another size, or none of an image with objects, and if the image cannot be read.
    """
    try:
        data = source.read_bytes()
        size = read_size(data, Limits())
    except (ImageError, OSError) as error:
        raise DataError(f"{source}: {getattr(error, 'strerror', None) or error}") from error
    orientation = read_orientation(data)
    if drawn_on == "stored" and swaps_sides(orientation):
        size = size[::-1]
    json_size = (entry.get("height"), entry.get("width"))
    if size != json_size and (has_objects or any(json_size)):
        if swaps_sides(orientation) and json_size == size[::-1]:
            hint = "EXIF turns it: --masks-orientation says whether objects were drawn on the upright or the stored photo"
        elif not any(json_size):
            hint = "write the height and width of the photo that objects were drawn on into the JSON"
        else:
            hint = "was it turned after it was labelled?"
        raise DataError(f"{source} is {json_size} in the JSON, {size} {drawn_on}; {hint}")
    return size, orientation


if __name__ == "__main__":
    sys.exit(main())
