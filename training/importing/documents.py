"""Draws the masks of all images of a COCO document, and gathers what the user should know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common.printable import excerpt, printable
from imaging.classes import VOID
from imaging.conversion import SWAPPING
from training.data.files import normal_name, open_photo, read_file
from training.data.masks import DrawnOn, turn_upright
from training.data.problems import DataError, collecting, first_names
from training.importing.classes import save_mask
from training.importing.coco import LONGEST_NAME, Document, ImageFinder, Key, is_key
from training.importing.geometry import name_of, share_error
from training.importing.objects import BACKGROUND, MOST_OUTSIDE, Crowds, Drawing, OutsideObject, share_outside
from training.importing.omissions import Omissions

OTHER_NAME = "images were found by their bare name or under another one; check that these are the labelled photos"
TURNED = (
    "images are turned by EXIF, and objects are read as drawn on the upright image; if they were drawn on the stored one, give "
    "--masks-orientation stored"
)
BARE = (
    "images have no objects, so their masks are background alone; if nobody has labelled them yet, remove them from the "
    "export's list of images"
)
OUTSIDE = "objects lie to more than a tenth outside of their photos, and that part is left out"
Objects = dict[Any, list[Mapping[str, Any]]]


@dataclass(frozen=True)
class DrawingOptions:
    """How documents are drawn. folder: for the masks until all documents are drawn. drawn_on: what objects were drawn on.
    palette: of the masks.

    names: the documents and file names whose masks have a name, by split and name; filled while documents are drawn.
    """

    images: Path | None
    folder: Path
    crowds: Crowds
    drawn_on: DrawnOn
    omissions: Omissions
    palette: bytes = b""
    names: dict[tuple[str, str], tuple[Path, str]] = field(default_factory=dict)


class DocumentMasks:
    """The masks of a document's images: `masks` has their files, by the files of the images.

    errors: everything that is wrong but the objects.
    """

    def __init__(self, document: Document, split: str, ids: Mapping[Key, int], how: DrawingOptions) -> None:
        """ids: the class ids of the categories' ids."""
        self.split = split
        self.errors = list(document.errors)
        self.masks: dict[Path, Path] = {}
        self._document, self._how = document, how
        self._finder = ImageFinder(document.path, how.images)
        self._drawing = Drawing(ids, how.omissions, document.path, how.crowds)
        self._class_masks = 0  # number of masks that show a class

    def draw(self) -> None:
        """Draws the masks into files of a folder; everything that is wrong is added to the errors."""
        document, omissions = self._document, self._how.omissions
        if error := share_error(document):
            self.errors.append(error)
        objects = self._by_image()
        for entry in tqdm(document.images, desc="masks", unit="image", leave=False, disable=None):
            with collecting(self.errors):
                self._draw_image(entry, objects[entry["id"]])
        if not self._class_masks and not any((self.errors, omissions.errors(), omissions.object_errors)):
            notes = "; ".join([f"{len(document.annotations)} objects", *omissions.notes()])
            images = len(document.images)
            self.errors.append(DataError(f"{document.path}: no pixel of its {images} images is of a class: {notes}"))
        if (error := outside_error(document, self._drawing.outside)) is not None:
            self.errors.insert(0, error)
        else:
            omissions.tell(OUTSIDE, len(self._drawing.outside), outside_names(document, self._drawing.outside))

    def _by_image(self) -> Objects:
        """The objects of each image, by its id; adds an error for each object of no listed image."""
        objects: Objects = {entry["id"]: [] for entry in self._document.images}
        for entry in self._document.annotations:
            if is_key(image_id := entry.get("image_id")) and image_id in objects:
                objects[image_id].append(entry)
            else:
                place = f"{name_of(entry)} is of the image {excerpt(image_id)}"
                self.errors.append(DataError(f"{self._document.path}: {place}, which is not listed"))
        return objects

    def _draw_image(self, entry: Mapping[str, Any], objects: list[Mapping[str, Any]]) -> None:
        """Draws one image's mask; raises `DataError` if the image is missing, taken or of another size."""
        how, drawing, tell = self._how, self._drawing, self._how.omissions.tell
        file_name, path = entry["file_name"], self._document.path
        source, has_name = self._finder.find(file_name)
        other = how.names.setdefault((self.split, normal_name(source.stem)), (path, file_name))
        if other != (path, file_name):
            of_other = f" of {other[0]}" if other[0] != path else ""
            names = f"{_shown(other[1])}{of_other} and {_shown(file_name)}"
            raise DataError(f"{names} are both the image {source}, or of its name, and would have one mask: rename one")
        size, orientation = _size(source, entry, how.drawn_on, has_objects=bool(objects))
        count_before = drawing.foreground_count
        mask = drawing.mask(objects, size)
        class_ids = set(np.unique(mask).tolist()) - {BACKGROUND, VOID}
        self._class_masks += bool(class_ids)
        if not class_ids and drawing.foreground_count > count_before:
            tell("frames have objects, and masks without any class", names=[source.name])
        if not objects:
            tell(BARE, names=[source.name])
        if not has_name:
            tell(OTHER_NAME, names=[f"{_shown(file_name)} ({source.name})"])
        if how.drawn_on == "upright" and orientation != 1 and (orientation not in SWAPPING or size[0] == size[1]):
            tell(TURNED, names=[source.name])
        mask = turn_upright(mask, orientation) if how.drawn_on == "stored" else mask
        self.masks[source] = how.folder / f"{len(how.names)}.png"
        save_mask(self.masks[source], mask, how.palette)


def _shown(name: str) -> str:
    return printable(name, LONGEST_NAME)


def _size(source: Path, entry: Mapping[str, Any], drawn_on: DrawnOn, *, has_objects: bool) -> tuple[tuple[int, int], int]:
    """The (height, width) that objects were drawn on, and the photo's EXIF orientation.

    Raises `DataError` if the JSON has another size, or none of an image with objects, and if the image cannot be read.
    """
    photo = open_photo(source, read_file(source))
    size, orientation = photo.size, photo.turn
    if drawn_on == "stored" and orientation in SWAPPING:
        size = size[::-1]
    json_size: tuple[Any, Any] = (entry.get("height"), entry.get("width"))
    if size != json_size and (has_objects or any(json_size)):
        if orientation in SWAPPING and json_size == size[::-1]:
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
