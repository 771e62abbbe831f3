"""From COCO's JSON, as CVAT, Label Studio and Roboflow export it, to a folder that `fcn-train` takes.

python -m training.coco_import annotations.json --out DATA
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping
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
from training.layouts import DataError

BACKGROUND = 0
VOID = 255  # crowds: regions in which objects are not told apart


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
        frames, classes = import_coco(args.annotations, args.images, args.out, args.split or "")
    except (ValueError, OSError) as error:
        print(f"coco_import: {error}", file=sys.stderr)
        return 2
    print(f"wrote {frames} frames of {len(classes)} classes to {args.out}: {', '.join(classes)}")
    return 0


def import_coco(annotations: Path, images: Path | None, out: Path, split: str = "") -> tuple[int, list[str]]:
    """Writes images, masks and `classes.json`; gives the number of frames and the classes' names.

    Class 0 is the background, the others are the categories in the order of their ids. Where objects overlap, the smaller
    lies on top; crowds are void. Raises `DataError` naming what is missing or wrong.
    """
    document = _read(annotations)
    categories = sorted(document["categories"], key=lambda entry: entry["id"])
    ids = {entry["id"]: index for index, entry in enumerate(categories, BACKGROUND + 1)}
    if len(ids) >= VOID:
        raise DataError(f"{annotations} has {len(ids)} categories; a mask of 8 bits holds up to {VOID - 1}")
    objects: dict[int, list[Mapping[str, Any]]] = {}
    for entry in document["annotations"]:
        objects.setdefault(entry["image_id"], []).append(entry)
    names = [Path(entry["file_name"]).stem for entry in document["images"]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{annotations}: images of one name {twice[:5]} would have one mask; rename them")
    for folder in (out / "images" / split, out / "masks" / split):
        folder.mkdir(parents=True, exist_ok=True)
    for entry in tqdm(document["images"], desc="masks", unit="image", leave=False):
        source = _image(annotations, images, entry["file_name"])
        size = _size(source, entry)
        mask = draw_mask(objects.get(entry["id"], []), size, ids)
        shutil.copyfile(source, out / "images" / split / source.name)
        Image.fromarray(mask).save(out / "masks" / split / f"{source.stem}.png")
    labels = ["background", *(str(entry["name"]) for entry in categories)]
    classes = [
        {"id": index, "name": name, "color": "#{:02x}{:02x}{:02x}".format(*voc_color(index))}
        for index, name in enumerate(labels)
    ]
    (out / "classes.json").write_text(json.dumps({"classes": classes, "ignore_index": VOID}, indent=1) + "\n")
    return len(names), labels


def draw_mask(objects: list[Mapping[str, Any]], size: tuple[int, int], ids: Mapping[int, int]) -> npt.NDArray[np.uint8]:
    """The class ids (height, width) of one image's objects, the smaller over the larger."""
    mask = np.full(size, BACKGROUND, np.uint8)
    regions = [(_region(entry, size), entry) for entry in objects if entry.get("segmentation")]
    for region, entry in sorted(regions, key=lambda pair: -int(pair[0].sum())):
        if entry["category_id"] not in ids:
            raise DataError(
                f"an object of image {entry['image_id']} is of the category {entry['category_id']}, which is not listed"
            )
        mask[region] = VOID if entry.get("iscrowd") else ids[entry["category_id"]]
    return mask


def _region(entry: Mapping[str, Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels of polygons, or of run lengths, compressed or not."""
    given = entry["segmentation"]
    if isinstance(given, list):
        encoded = run_lengths.merge(run_lengths.frPyObjects(given, *size))
    elif isinstance(given["counts"], list):
        encoded = run_lengths.frPyObjects(given, *size)
    else:
        encoded = given
    found: npt.NDArray[np.bool_] = run_lengths.decode(encoded).astype(bool)
    if found.shape != size:
        raise DataError(f"an object of image {entry['image_id']} is in {found.shape} pixels, its image in {size}")
    return found


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
    if size != (entry["height"], entry["width"]):
        told = f"{(entry['height'], entry['width'])} in the JSON, {size} upright"
        raise DataError(f"{source} is {told}; was it turned after it was labelled?")
    return size


if __name__ == "__main__":
    sys.exit(main())
