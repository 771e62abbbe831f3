"""From COCO's JSON, as CVAT, Label Studio and Roboflow export it, to a folder that `fcn-train` takes.

python -m training.coco_import annotations.json --out DATA
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as run_lengths
from tqdm import tqdm

from imaging.decoding import Limits, read_size
from imaging.errors import ImageError
from model.labels import voc_color
from training.label_files import FILES, read_labels
from training.layouts import DataError, repeated
from training.machine import INTERRUPTED

BACKGROUND = 0
VOID = 255  # crowds, in which objects are not told apart, and boxes of objects without an outline
CLASSES = FILES[0]


@dataclass(frozen=True)
class Imported:
    """How many frames were written, the classes' names, and how many objects had no outline."""

    frames: int
    classes: list[str]
    boxes: int


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("python -m training.coco_import", description="Makes masks of the objects in COCO's JSON.")
    p.add_argument("annotations", type=Path, help="the JSON file")
    p.add_argument("--images", type=Path, help="folder of its images (default: the file's own, or images/ in it)")
    p.add_argument("--out", type=Path, required=True, help="folder to make: images/, masks/ and classes.json")
    p.add_argument("--split", help="train or val: images/train and masks/train; without, one frame in five is for val")
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        found = import_coco(args.annotations, args.images, args.out, args.split or "")
    except (ValueError, OSError) as error:
        print(f"coco_import: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ncoco_import: stopped", file=sys.stderr)
        return INTERRUPTED
    print(f"wrote {found.frames} frames of {len(found.classes)} classes to {args.out}: {', '.join(found.classes)}")
    if found.boxes:
        print(f"{found.boxes} objects have a box and no outline: their boxes are void, neither learnt nor scored")
    return 0


def import_coco(annotations: Path, images: Path | None, out: Path, split: str = "") -> Imported:
    """Writes images, masks and `classes.json`.

    Class 0 is the background, the others are the categories in the order of their ids; where `out` has a `classes.json`, as
    of another split, its classes by their names. Where objects overlap, the smaller lies on top; crowds are void, and so are
    the boxes of objects without an outline. Raises `DataError` naming what is missing or wrong.
    """
    document = _read(annotations)
    labels, ids = _classes(document["categories"], out / CLASSES, annotations)
    names = [Path(entry["file_name"]).stem for entry in document["images"]]
    if twice := repeated(names):
        raise DataError(f"{annotations}: images of one name {twice[:5]} would have one mask; rename them")
    objects: dict[Any, list[Mapping[str, Any]]] = {entry["id"]: [] for entry in document["images"]}
    for entry in document["annotations"]:
        if entry.get("image_id") not in objects:
            raise DataError(f"{_named(entry)} is of the image {entry.get('image_id')!r}, which is not listed")
        objects[entry["image_id"]].append(entry)
    for folder in (out / "images" / split, out / "masks" / split):
        folder.mkdir(parents=True, exist_ok=True)
    for entry in tqdm(document["images"], desc="masks", unit="image", leave=False):
        source, copy = _image(annotations, images, entry["file_name"]), out / "images" / split / Path(entry["file_name"]).name
        mask = draw_mask(objects[entry["id"]], _size(source, entry), ids)
        if source.resolve() != copy.resolve():
            shutil.copyfile(source, copy)
        Image.fromarray(mask).save(out / "masks" / split / f"{source.stem}.png")
    classes = [
        {"id": index, "name": name, "color": "#{:02x}{:02x}{:02x}".format(*voc_color(index))}
        for index, name in enumerate(labels)
    ]
    if not (out / CLASSES).is_file():
        (out / CLASSES).write_text(json.dumps({"classes": classes, "ignore_index": VOID}, indent=1) + "\n")
    boxes = sum(not _outlined(entry) for entry in document["annotations"])
    return Imported(len(names), labels, boxes)


def _classes(categories: list[Mapping[str, Any]], file: Path, annotations: Path) -> tuple[list[str], dict[Any, int]]:
    """The classes' names, and the class of each category's id."""
    listed = {entry["id"]: str(entry["name"]) for entry in sorted(categories, key=lambda entry: entry["id"])}
    labels = read_labels(str(file)).names if file.is_file() else list(dict.fromkeys(["background", *listed.values()]))
    if len(labels) > VOID:
        raise DataError(f"{annotations} has {len(labels)} classes with the background; a mask of 8 bits holds {VOID}")
    if unknown := sorted(set(listed.values()) - set(labels)):
        raise DataError(
            f"{annotations} has the categories {', '.join(unknown)}, and {file}, of what was imported before, only "
            f"{', '.join(labels)}: import first what has all of them, or remove that file and begin anew"
        )
    return labels, {index: labels.index(name) for index, name in listed.items()}


def draw_mask(objects: list[Mapping[str, Any]], size: tuple[int, int], ids: Mapping[Any, int]) -> npt.NDArray[np.uint8]:
    """The class ids (height, width) of one image's objects, the smaller over the larger."""
    mask = np.full(size, BACKGROUND, np.uint8)
    regions = [(_region(entry, size), entry) for entry in objects]
    for region, entry in sorted(regions, key=lambda pair: -int(pair[0].sum())):
        if entry.get("category_id") not in ids:
            raise DataError(f"{_named(entry)} is of the category {entry.get('category_id')!r}, which is not listed")
        mask[region] = VOID if entry.get("iscrowd") or not _outlined(entry) else ids[entry["category_id"]]
    return mask


def _outlined(entry: Mapping[str, Any]) -> bool:
    """Whether an object has polygons of three points or more, or run lengths, and not a box alone."""
    given = entry.get("segmentation")
    return bool(_polygons(given) if isinstance(given, list) else given)


def _polygons(given: list[Any]) -> list[list[float]]:
    return [points for points in given if isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0]


def _region(entry: Mapping[str, Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels of polygons, or of run lengths, compressed or not; without them those of the box."""
    given = entry.get("segmentation")
    if not _outlined(entry):
        return _box(entry, size)
    if isinstance(given, list):
        encoded = run_lengths.merge(run_lengths.frPyObjects(_polygons(given), *size))
    elif not isinstance(given, dict) or not {"counts", "size"} <= set(given):
        raise DataError(f"{_named(entry)} needs polygons, or run lengths with counts and size; got {str(given)[:60]}")
    elif isinstance(given["counts"], list):
        encoded = run_lengths.frPyObjects(given, *size)
    else:
        encoded = given
    found: npt.NDArray[np.bool_] = run_lengths.decode(encoded).astype(bool)
    if found.shape != size:
        raise DataError(f"{_named(entry)} is in {found.shape} pixels, its image in {size}")
    return found


def _box(entry: Mapping[str, Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    region = np.zeros(size, bool)
    if len(box := entry.get("bbox") or []) == 4:
        left, top, width, height = (max(0.0, float(value)) for value in box)
        region[int(top) : ceil(top + height), int(left) : ceil(left + width)] = True
    return region


def _named(entry: Mapping[str, Any]) -> str:
    return f"the object {entry.get('id', '(without id)')} of image {entry.get('image_id')}"


def _read(annotations: Path) -> dict[str, Any]:
    try:
        document = json.loads(annotations.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{annotations} is not JSON: {error}") from error
    missing = [
        name for name in ("images", "annotations", "categories") if not isinstance(document, dict) or name not in document
    ]
    if missing:
        raise DataError(f"{annotations} has no {', '.join(missing)}: is it COCO's format for objects?")
    for part, needed in (("images", {"id", "file_name"}), ("categories", {"id", "name"})):
        for entry in document[part]:
            if lacking := sorted(needed - set(entry)):
                raise DataError(f"{annotations}: an entry of {part} lacks {', '.join(lacking)}: {str(entry)[:80]}")
    return dict(document)


def _image(annotations: Path, images: Path | None, name: str) -> Path:
    folders = [images] if images else [annotations.parent, annotations.parent / "images", annotations.parent.parent / "images"]
    candidates = [folder / part for folder in folders for part in (name, Path(name).name)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise DataError(f"{name} is in none of {', '.join(map(str, folders))}; say with --images where the images are")
    return found


def _size(source: Path, entry: Mapping[str, Any]) -> tuple[int, int]:
    """The upright (height, width), which must be the JSON's."""
    try:
        size = read_size(source.read_bytes(), Limits())
    except ImageError as error:
        raise DataError(f"{source}: {error}") from error
    listed = (entry.get("height"), entry.get("width"))
    if size != listed:
        told = f"{listed} in the JSON, {size} upright"
        raise DataError(f"{source} is {told}; was it turned after it was labelled?")
    return size


if __name__ == "__main__":
    sys.exit(main())
