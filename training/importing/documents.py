"""Draws the masks of all images of a COCO document, and gathers what the user should know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from imaging.classes import VOID
from imaging.decoding import Limits, read_size
from imaging.errors import ImageError
from model.printable import printable
from model.regular_file import read_regular_file
from training.data.files import normal_name
from training.data.masks import DrawnOn, read_orientation, swaps_sides, turn_upright
from training.data.problems import DataError, first_names
from training.importing.coco import LONGEST_NAME, Document, ImageFinder, Key, is_key
from training.importing.geometry import excerpt, name_of, share_error
from training.importing.objects import (
    BACKGROUND,
    MOST_OUTSIDE,
    Crowds,
    Drawing,
    OutsideObject,
    share_outside,
)
from training.importing.omissions import Omissions

OTHER_NAME = "images were found by their bare name or under another one; check that these are the labelled photos"
TURNED = (
    "images are turned by EXIF, and objects are read as drawn on the upright image; if they were drawn on the stored one, give "
    "--masks-orientation stored"
)
OUTSIDE = "objects lie to more than a tenth outside of their photos, and that part is left out"
Objects = dict[Any, list[Mapping[str, Any]]]


@dataclass(frozen=True)
class DrawingOptions:
    """How documents are drawn. folder: for the masks until all documents are drawn. drawn_on: what objects were drawn on.

    names: the documents and file names whose masks have a name, by split and name; filled while documents are drawn.
    """

    images: Path | None
    folder: Path
    crowds: Crowds
    drawn_on: DrawnOn
    omissions: Omissions
    names: dict[tuple[str, str], tuple[Path, str]] = field(default_factory=dict)


@dataclass
class DocumentMasks:
    """The masks of a document's images.

    errors: everything that is wrong but the objects. masks: their files, by the files of the images. class_masks: number of
    masks that show a class.
    """

    document: Document
    split: str
    errors: list[DataError]
    masks: dict[Path, Path] = field(default_factory=dict)
    class_masks: int = 0


def draw_document(document: Document, split: str, ids: Mapping[Key, int], how: DrawingOptions) -> DocumentMasks:
    """Draws the masks of a document's images into files of a folder; everything that is wrong is in the result's errors.

    ids: the class ids of the categories' ids.
    """
    result = DocumentMasks(document, split, list(document.errors))
    if error := share_error(document):
        result.errors.append(error)
    objects = _by_image(document, result.errors)
    finder, drawing = ImageFinder(document.path, how.images), Drawing(ids, how.omissions, document.path, how.crowds)
    for entry in tqdm(document.images, desc="masks", unit="image", leave=False, disable=None):
        try:
            _draw_image(result, entry, objects[entry["id"]], finder, drawing, how)
        except DataError as error:
            result.errors.append(error)
    if not result.class_masks and not any((result.errors, how.omissions.errors(), how.omissions.object_errors)):
        facts = "; ".join([f"{len(document.annotations)} objects", *how.omissions.notes()])
        result.errors.append(
            DataError(f"{document.path}: no pixel of its {len(document.images)} images is of a class: {facts}")
        )
    if (misplaced := outside_error(document, drawing.outside)) is not None:
        result.errors.insert(0, misplaced)
    else:
        how.omissions.tell(OUTSIDE, len(drawing.outside), outside_names(document, drawing.outside))
    return result


def _by_image(document: Document, errors: list[DataError]) -> Objects:
    """The objects of each image, by its id; adds an error for each object of no listed image."""
    objects: Objects = {entry["id"]: [] for entry in document.images}
    for entry in document.annotations:
        if is_key(image_id := entry.get("image_id")) and image_id in objects:
            objects[image_id].append(entry)
        else:
            errors.append(
                DataError(f"{document.path}: {name_of(entry)} is of the image {excerpt(image_id)}, which is not listed")
            )
    return objects


def _draw_image(
    result: DocumentMasks,
    entry: Mapping[str, Any],
    objects: list[Mapping[str, Any]],
    finder: ImageFinder,
    drawing: Drawing,
    how: DrawingOptions,
) -> None:
    """Draws one image's mask and adds it to `result`; raises `DataError` if the image is missing, taken or of another size."""
    file_name, path = entry["file_name"], result.document.path
    source, has_name = finder.find(file_name)
    other = how.names.setdefault((result.split, normal_name(source.stem)), (path, file_name))
    if other != (path, file_name):
        of_other = f" of {other[0]}" if other[0] != path else ""
        names = f"{_shown(other[1])}{of_other} and {_shown(file_name)}"
        raise DataError(f"{names} are both the image {source}, or of its name, and would have one mask: rename one")
    size, orientation = _size(source, entry, how.drawn_on, has_objects=bool(objects))
    of_classes = drawing.of_classes
    mask = drawing.mask(objects, size)
    class_ids = set(np.unique(mask).tolist()) - {BACKGROUND, VOID}
    result.class_masks += bool(class_ids)
    if not class_ids and drawing.of_classes > of_classes:
        how.omissions.tell("frames have objects, and masks without any class", names=[source.name])
    if not objects:
        how.omissions.tell("images have no objects, so their masks are background alone", names=[source.name])
    if not has_name:
        how.omissions.tell(OTHER_NAME, names=[f"{_shown(file_name)} ({source.name})"])
    if how.drawn_on == "upright" and orientation != 1 and (not swaps_sides(orientation) or size[0] == size[1]):
        how.omissions.tell(TURNED, names=[source.name])
    mask = turn_upright(mask, orientation) if how.drawn_on == "stored" else mask
    result.masks[source] = how.folder / f"{len(how.names)}.png"
    Image.fromarray(mask).save(result.masks[source])


def _shown(name: str) -> str:
    return printable(name, LONGEST_NAME)


def _size(source: Path, entry: Mapping[str, Any], drawn_on: DrawnOn, *, has_objects: bool) -> tuple[tuple[int, int], int]:
    """The (height, width) that objects were drawn on, and the photo's EXIF orientation.

    Raises `DataError` if the JSON has another size, or none of an image with objects, and if the image cannot be read.
    """
    try:
        data = read_regular_file(source)
        size = read_size(data, Limits())
    except (ImageError, OSError) as error:
        raise DataError(f"{source}: {getattr(error, 'strerror', None) or error}") from error
    orientation = read_orientation(data)
    if drawn_on == "stored" and swaps_sides(orientation):
        size = size[::-1]
    json_size: tuple[Any, Any] = (entry.get("height"), entry.get("width"))
    if size != json_size and (has_objects or any(json_size)):
        if swaps_sides(orientation) and json_size == size[::-1]:
            hint = "EXIF turns it: --masks-orientation says whether objects were drawn on the upright or the stored photo"
        else:
            hint = "give the photo that was labelled, or write the height and width of this one, and scale or turn the labels"
        raise DataError(f"{source} is {json_size} in the JSON, {size} {drawn_on}; {hint}")
    return size, orientation


def outside_names(document: Document, objects: Sequence[OutsideObject]) -> list[str]:
    """Objects by file, id and class, with the shares of them that lie outside."""
    files = {entry["id"]: entry["file_name"] for entry in document.images}
    classes = {entry["id"]: entry["name"] for entry in document.categories}
    return [
        f"{files[entry['image_id']]}: {name_of(entry)}, {classes[entry['category_id']]}, {share_outside(corners):.0%}"
        for entry, corners in objects
    ]


def outside_error(document: Document, objects: Sequence[OutsideObject]) -> DataError | None:
    """The error of a document most of whose objects are these, which lie outside of their photos; None for others.

    It names the factors that would fit. Objects that reach less than a tenth of a side beyond their photos are small or
    careless, and no error. One in a hundred may reach farther than the factors say.
    """
    if 2 * len(objects) <= len(document.annotations):
        return None
    corners = np.array([each for _, each in objects])
    left, top = np.quantile(corners[:, 0], 0.01, axis=0, method="lower")
    right, bottom = np.quantile(corners[:, 1], 0.99, axis=0, method="higher")
    if max(-left, -top, right - 1, bottom - 1) <= MOST_OUTSIDE:
        return None
    counts = f"{len(objects)} of {len(document.annotations)} objects lie to more than a tenth outside of their photos"
    reach = f"from {left:.2g} to {right:.2g} times the width and from {top:.2g} to {bottom:.2g} times the height"
    if min(left, top) >= -MOST_OUTSIDE:
        reach += f", so photos {max(1.0, right):.2g} times as wide and {max(1.0, bottom):.2g} times as high would fit"
    return DataError(
        f"{document.path}: {counts}, such as {first_names(outside_names(document, objects))}: they reach {reach}; give the "
        "photos that were labelled, or scale, move or turn the labels"
    )
