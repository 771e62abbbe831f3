"""From COCO's JSON, as CVAT, Label Studio and Roboflow export it, to a folder that `fcn-train` takes.

python -m training.coco_import annotations.json --out DATA
"""

from __future__ import annotations

import argparse
import json
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

from imaging.coco import is_background
from imaging.decoding import Limits, read_size
from imaging.errors import ImageError
from model.command_line import CommandParser
from model.labels import voc_color
from training.coco_files import Document, ImageFinder, Key, base_name, read_document
from training.coco_objects import BACKGROUND, VOID, Crowds, draw_mask, is_crowd, is_outlined, name_of
from training.files import normal_name
from training.label_files import FILES, read_labels
from training.layouts import repeated
from training.machine import INTERRUPTED
from training.orientation import DrawnOn, read_orientation, swaps_sides, turn_upright
from training.problems import DataError, first_names, raise_all

CLASSES = FILES[0]


@dataclass
class Imported:
    """What an import wrote, and what is to be told of it.

    labelled: frames whose masks show a class. boxes: objects without an outline. crowds: objects with `iscrowd` 1. empty:
    objects without a pixel. blank: frames with objects whose masks show no class. turned: photos that EXIF turns without its
    being seen in their size.
    """

    classes: list[str]
    frames: int = 0
    labelled: int = 0
    boxes: int = 0
    crowds: int = 0
    empty: int = 0
    blank: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)

    def lines(self, out: Path, crowds: Crowds) -> list[str]:
        """What to print."""
        lines = [f"wrote {self.frames} frames of {len(self.classes)} classes to {out}: {', '.join(self.classes)}"]
        if self.boxes:
            lines.append(f"{self.boxes} objects have a box and no outline: their boxes are void, neither learnt nor scored")
        if self.crowds and crowds == "objects":
            lines.append(
                f"{self.crowds} objects are marked as crowds (iscrowd 1), as CVAT marks every brush mask: they are of their "
                "class; --crowds void makes them void"
            )
        elif self.crowds:
            lines.append(f"{self.crowds} objects are marked as crowds (iscrowd 1): void, neither learnt nor scored")
        if self.empty:
            lines.append(f"{self.empty} objects cover no pixel of their image")
        if self.blank:
            lines.append(f"{len(self.blank)} frames have objects, and masks without any class: {first_names(self.blank)}")
        if self.turned:
            lines.append(
                f"{len(self.turned)} images are turned by EXIF, such as {first_names(self.turned)}: objects are taken as drawn "
                "on the upright image; if they were drawn on the stored one, --masks-orientation stored"
            )
        return lines


def parser() -> argparse.ArgumentParser:
    p = CommandParser("python -m training.coco_import", description="Makes masks of the objects in COCO's JSON.")
    p.add_argument("annotations", type=Path, help="the JSON file")
    p.add_argument("--images", type=Path, help="folder of its images (default: the file's own, or images/ in it)")
    p.add_argument("--out", type=Path, required=True, help="folder to make: images/, masks/ and classes.json")
    p.add_argument("--split", help="train or val: images/train and masks/train; without, one frame in five is for val")
    p.add_argument(
        "--crowds", choices=get_args(Crowds), default="objects", help="what iscrowd 1 makes of an object (default: objects)"
    )
    p.add_argument(
        "--masks-orientation",
        choices=get_args(DrawnOn),
        default="upright",
        help="what objects were drawn on: photos upright, as EXIF turns them, or as their files store them (default: upright)",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        imported = import_coco(args.annotations, args.images, args.out, args.split or "", args.crowds, args.masks_orientation)
    except (ValueError, OSError) as error:
        print(f"coco_import: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ncoco_import: stopped", file=sys.stderr)
        return INTERRUPTED
    print("\n".join(imported.lines(args.out, args.crowds)))
    return 0


def import_coco(
    annotations: Path,
    images: Path | None,
    out: Path,
    split: str = "",
    crowds: Crowds = "objects",
    drawn_on: DrawnOn = "upright",
) -> Imported:
    """Writes images, masks and `classes.json`, all of them or none.

    Class 0 is the background, the others are the categories in the order of their ids; where `out` has a `classes.json`, as
    of another split, its classes by their names. Where objects overlap, the smaller lies on top; boxes of objects without an
    outline are void. Raises `DataError` with all that is missing or wrong, and where no pixel is of a class.
    """
    document = read_document(annotations)
    labels, ids = _classes(document.categories, out / CLASSES, annotations)
    if twice := repeated(normal_name(base_name(str(entry["file_name"]))) for entry in document.images):
        raise DataError(f"{annotations}: images of one name {twice[:5]} would have one mask; rename them")
    imported = Imported(labels, len(document.images))
    imported.boxes = sum(not is_outlined(entry) for entry in document.annotations)
    imported.crowds = sum(is_crowd(entry) for entry in document.annotations)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".import-") as folder:
        drawn = _draw(document, ImageFinder(annotations, images), ids, Path(folder), imported, crowds, drawn_on)
        if not imported.labelled:
            counts = (
                f"{len(document.annotations)} objects, {imported.boxes} of them boxes alone, {imported.empty} without a pixel"
            )
            raise DataError(f"{annotations}: no pixel of its {len(document.images)} images is of a class: {counts}")
        for part in ("images", "masks"):
            (out / part / split).mkdir(parents=True, exist_ok=True)
        for source, mask in drawn.items():
            copy = out / "images" / split / source.name
            if source.resolve() != copy.resolve():
                shutil.copyfile(source, copy)
            shutil.move(mask, out / "masks" / split / f"{source.stem}.png")
    if not (out / CLASSES).is_file():
        _write_classes(out / CLASSES, labels)
    return imported


def _draw(
    document: Document,
    finder: ImageFinder,
    ids: Mapping[Key, int],
    folder: Path,
    imported: Imported,
    crowds: Crowds,
    drawn_on: DrawnOn,
) -> dict[Path, Path]:
    """Writes each image's mask into the folder; gives the masks by their images. Raises `DataError` with all that is wrong."""
    objects: dict[Any, list[Mapping[str, Any]]] = {entry["id"]: [] for entry in document.images}
    errors: list[DataError] = []
    for entry in document.annotations:
        if entry.get("image_id") in objects:
            objects[entry["image_id"]].append(entry)
        else:
            errors.append(DataError(f"{name_of(entry)} is of the image {entry.get('image_id')!r}, which is not listed"))
    drawn: dict[Path, Path] = {}
    for entry in tqdm(document.images, desc="masks", unit="image", leave=False):
        try:
            source = finder.find(str(entry["file_name"]))
            size, orientation = _size(source, entry, drawn_on)
        except DataError as error:
            errors.append(error)
            continue
        drawing = draw_mask(objects[entry["id"]], size, ids, crowds)
        errors += drawing.errors
        imported.empty += drawing.empty
        shown = set(np.unique(drawing.mask).tolist()) - {BACKGROUND, VOID}
        imported.labelled += bool(shown)
        if not shown and any(ids.get(item.get("category_id", "")) != BACKGROUND for item in objects[entry["id"]]):
            imported.blank.append(source.name)
        if drawn_on == "upright" and orientation != 1 and (not swaps_sides(orientation) or size[0] == size[1]):
            imported.turned.append(source.name)
        mask = turn_upright(drawing.mask, orientation) if drawn_on == "stored" else drawing.mask
        drawn[source] = folder / f"{len(drawn)}.png"
        Image.fromarray(mask).save(drawn[source])
    raise_all(errors)
    return drawn


def _classes(categories: list[dict[str, Any]], file: Path, annotations: Path) -> tuple[list[str], dict[Key, int]]:
    """The classes' names, and the class of each category's id."""
    listed = {entry["id"]: str(entry["name"]) for entry in sorted(categories, key=_order)}
    objects = [name for name in listed.values() if not is_background(name)]
    labels = read_labels(str(file)).names if file.is_file() else list(dict.fromkeys(["background", *objects]))
    if len(labels) > VOID:
        raise DataError(f"{annotations} has {len(labels)} classes with the background; a mask of 8 bits holds {VOID}")
    if unknown := sorted(set(objects) - set(labels)):
        raise DataError(
            f"{annotations} has the categories {', '.join(unknown)}, and {file}, of what was imported before, only "
            f"{', '.join(labels)}: import first what has all of them, or remove that file and begin anew"
        )
    return labels, {key: BACKGROUND if is_background(name) else labels.index(name) for key, name in listed.items()}


def _order(category: Mapping[str, Any]) -> tuple[bool, Any]:
    """By the id: numbers first, then texts."""
    return isinstance(category["id"], str), category["id"]


def _write_classes(path: Path, labels: list[str]) -> None:
    colors = ("#{:02x}{:02x}{:02x}".format(*voc_color(index)) for index in range(len(labels)))
    classes = [
        {"id": index, "name": name, "color": color} for index, (name, color) in enumerate(zip(labels, colors, strict=True))
    ]
    path.write_text(json.dumps({"classes": classes, "ignore_index": VOID}, indent=1) + "\n", encoding="utf-8")


def _size(source: Path, entry: Mapping[str, Any], drawn_on: DrawnOn) -> tuple[tuple[int, int], int]:
    """The (height, width) that objects were drawn on, which must be the JSON's, and the photo's EXIF orientation."""
    data = source.read_bytes()
    try:
        size = read_size(data, Limits())
    except ImageError as error:
        raise DataError(f"{source}: {error}") from error
    orientation = read_orientation(data)
    if drawn_on == "stored" and swaps_sides(orientation):
        size = size[::-1]
    listed = (entry.get("height"), entry.get("width"))
    if size != listed:
        turned = swaps_sides(orientation) and listed == size[::-1]
        hint = (
            "EXIF turns it, --masks-orientation says on which of both objects were drawn"
            if turned
            else ("was it turned after it was labelled?")
        )
        raise DataError(f"{source} is {listed} in the JSON, {size} {drawn_on}; {hint}")
    return size, orientation


if __name__ == "__main__":
    sys.exit(main())
