"""Splits of labelled images: reads images as pixels and masks as class ids."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imaging.decoding import Limits, decode
from imaging.errors import ImageError
from model.labels import LabelSet, camvid_labels
from training.data import camvid
from training.data.class_mapping import ClassMapping, identity
from training.data.files import NAME_ENCODING
from training.data.inspection import Report, Seen, inspect
from training.data.layouts import Frame, list_frames
from training.data.masks import Colors, Meaning, interpret, label_colors, open_mask
from training.data.orientation import DrawnOn, read_orientation, swaps_sides, turn_upright
from training.data.problems import DataError, FrameErrors, raise_all


@dataclass(frozen=True)
class Split:
    """The frames of one split, and how their masks are read.

    mapping: from the masks' own classes (`source_labels`) to the split's (`labels`). colors: the class id of each mask colour.
    meaning, drawn_on: how all masks of the data set are read. notes: remarks on the files, printed before they are used.
    """

    name: str
    frames: tuple[Frame, ...]
    mapping: ClassMapping
    source_labels: LabelSet
    colors: Colors = field(default_factory=dict)
    meaning: Meaning = "ids"
    drawn_on: DrawnOn = "upright"
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> LabelSet:
        return self.mapping.labels

    @property
    def digest(self) -> str:
        """Sha256 of the frame names in order: equal for two runs with the same list."""
        return hashlib.sha256("\n".join(frame.name for frame in self.frames).encode(*NAME_ENCODING)).hexdigest()

    @property
    def contents(self) -> str:
        """Sha256 of the names, images and masks, and of how masks are read: equal for two runs with the same data."""
        digest = hashlib.sha256()
        for frame in self.frames:
            for part in (frame.name.encode(*NAME_ENCODING), frame.image.read_bytes(), frame.mask.read_bytes()):
                digest.update(hashlib.sha256(part).digest())
        if (self.meaning, self.drawn_on) != ("ids", "upright"):
            digest.update(f"{self.meaning} {self.drawn_on}".encode())
        return digest.hexdigest()

    def file(self, index: int) -> bytes:
        """The image file's bytes."""
        return self.frames[index].image.read_bytes()

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image as uint8 RGB (H, W, 3); raises `DataError` naming a file that cannot be decoded."""
        return self.decode(index, self.file(index))

    def decode(self, index: int, data: bytes, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
        """Decodes the bytes of a frame's image file to uint8 RGB (H, W, 3), as the service does.

        size: (height, width) to scale to, if any. Raises `DataError` naming the file.
        """
        try:
            return decode(data, Limits(), size)
        except ImageError as error:
            raise DataError(f"{self.frames[index].image}: {error}") from error

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The mask as uint8 ids (H, W) of the upright image, after the mapping; raises `MaskError` naming a wrong file."""
        mask = open_mask(self.frames[index].mask)
        ids = self.mapping(interpret(mask, self.source_labels, self.colors, self.meaning))
        return ids if self.drawn_on == "upright" else turn_upright(ids, read_orientation(self.file(index)))

    def require_one_size(self, index: int, mask: npt.NDArray[np.uint8], size: tuple[int, ...]) -> None:
        """Raises `DataError`, naming the file, if a frame's mask does not have its image's size (height, width)."""
        if mask.shape == size:
            return
        is_turned = mask.shape == size[::-1] and swaps_sides(read_orientation(self.file(index)))
        hint = "; EXIF turns the image, --masks-orientation says on which of both masks were drawn" if is_turned else ""
        raise DataError(f"{self.frames[index].mask}: the mask is {mask.shape}, its image {size}; both need one size{hint}")

    def inspect(self, *, pixels: bool = True) -> Report:
        """Reads every frame once; without `pixels`, only the headers of images."""
        return inspect(self, pixels=pixels)

    def check(self) -> Seen:
        """Reads every frame once, to find errors before a training starts.

        Raises `DataError` naming every wrong file, and if no pixel has a label.
        """
        report = self.inspect()
        raise_all(report.errors)
        return report.seen

    def check_learnable(self) -> Seen:
        """Like `check`, and also raises `DataError` if the masks show fewer than two classes."""
        report = self.inspect()
        raise_all(report.errors)
        report.require_two_classes()
        return report.seen


def get_split(
    root: Path,
    split: str,
    labels: LabelSet,
    mapping: ClassMapping | None = None,
    meaning: Meaning = "ids",
    drawn_on: DrawnOn = "upright",
) -> Split:
    """The split (`train`, `val`, ...) of the data set in this folder, in any known layout.

    Raises `DataError` for an unknown layout and an empty split. If listed files are missing, raises `FrameErrors` with all
    missing files and all errors of the other frames.
    """
    listing = list_frames(root, split)
    published = labels == camvid_labels() and (root / camvid.COLORS).is_file()
    colors = camvid.published_colors(root) if published else label_colors(labels)
    frames, notes = tuple(listing.frames), tuple(listing.notes)
    result = Split(
        name=split,
        frames=frames,
        mapping=mapping or identity(labels),
        source_labels=labels,
        colors=colors,
        meaning=meaning,
        drawn_on=drawn_on,
        notes=notes,
    )
    if listing.missing:
        raise FrameErrors([*listing.missing, *(result.inspect().frame_errors if frames else [])])
    return result


def get_splits(*make: Callable[[], Split]) -> list[Split]:
    """Makes several splits of one data set.

    If files of one split are missing, raises `DataError` with the errors of all splits.
    """
    splits: list[Split] = []
    errors: list[DataError] = []
    for get in make:
        try:
            splits.append(get())
        except FrameErrors as error:
            errors += error.errors
    if errors:
        raise_all([*errors, *(error for split in splits for error in split.inspect().frame_errors)])
    return splits
