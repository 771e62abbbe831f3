"""Inspects every frame of a split before it is used: gathers its classes, its errors and remarks for the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from imaging.decoding import Limits, read_size
from imaging.errors import ImageError
from training.data.masks import interpret, open_mask
from training.data.orientation import read_orientation, swaps_sides, turn_upright
from training.data.problems import DataError, first_names, raise_all

if TYPE_CHECKING:
    from training.data.datasets import Split


class Seen(NamedTuple):
    """The class ids that the masks of a split show, and the median of the frames' longer sides in pixels."""

    ids: set[int]
    longer_side: int


@dataclass
class Report:
    """The results of an inspection.

    ids: classes that the masks show. colored: RGB masks, read by the classes' colours. contradicting: masks whose palette
    contradicts the classes' colours, each with a class id and the id whose colour it has. turned: images that EXIF turns, where
    the mask's size cannot show whether it was drawn on the upright image. black_and_white: masks that hold only 0 and 255.
    """

    split: Split
    ids: set[int] = field(default_factory=set)
    longer_sides: list[int] = field(default_factory=list)
    frame_errors: list[DataError] = field(default_factory=list)
    colored: list[Path] = field(default_factory=list)
    contradicting: list[tuple[Path, int, int]] = field(default_factory=list)
    turned: list[Path] = field(default_factory=list)
    black_and_white: list[Path] = field(default_factory=list)

    @property
    def seen(self) -> Seen:
        return Seen(self.ids, int(np.median(self.longer_sides)))

    @property
    def errors(self) -> list[DataError]:
        """The errors of frames; if there are none, an error if no pixel has a label."""
        return self.frame_errors or ([] if self.ids else [self._too_few("no class")])

    def require_two_classes(self) -> None:
        """Raises `DataError` if the masks show fewer than two classes."""
        if len(self.ids) < 2:
            raise self._too_few(", ".join(self.split.labels.names[index] for index in self.ids))

    def _too_few(self, shown: str) -> DataError:
        classes = len(self.split.labels)
        return DataError(
            f"the masks of the split {self.split.name!r} show {shown} of {classes} classes, and nothing can be learnt "
            f"from that; masks hold class ids (0 to {classes - 1}), and 255 is void, not an object"
        )

    @property
    def meaning(self) -> str:
        """How the split's masks are read, in one line."""
        if self.split.meaning == "colors":
            return "masks: read by the classes' colours"
        if len(self.colored) == len(self.split.frames):
            return "masks: RGB images, read by the classes' colours"
        if self.colored:
            exception = f"{len(self.colored)} RGB images are read by the classes' colours: {first_names(self.colored)}"
            return f"masks: pixel values are class ids; {exception}"
        return "masks: pixel values are class ids"

    @property
    def notes(self) -> list[str]:
        """What may be wrong with the split, one line for each remark."""
        split, labels = self.split, self.split.labels
        notes = list(split.notes)
        if self.contradicting:
            path, value, other = self.contradicting[0]
            names = split.source_labels.names
            notes.append(
                f"{len(self.contradicting)} masks have a palette that contradicts the classes' colours, such as {path}: the "
                f"value {value} is {names[value]!r} and has the colour of {names[other]!r}; if colours count, --masks colors"
            )
        if self.black_and_white:
            notes.append(
                f"{len(self.black_and_white)} masks of {split.name!r} hold 0 and 255 alone, such as "
                f"{first_names(self.black_and_white)}: 255 is void, not an object; save objects as 1, or give --masks colors"
            )
        if self.turned:
            notes.append(
                f"{len(self.turned)} images of {split.name!r} are turned by EXIF, such as {first_names(self.turned)}: masks "
                "are taken as drawn on the upright image; if they were drawn on the stored one, --masks-orientation stored"
            )
        if missing := [entry.name for entry in labels.classes if entry.id not in self.ids]:
            notes.append(
                f"{len(missing)} of {len(labels)} classes are never shown in {split.name!r}: {first_names(missing, 10)}"
            )
        return notes


def inspect(split: Split, *, pixels: bool = True) -> Report:
    """Reads every frame of a split once; without `pixels`, only the headers of images."""
    report = Report(split)
    for index in tqdm(range(len(split.frames)), desc=f"checking {split.name}", unit="frame", leave=False):
        try:
            _inspect_frame(report, index, pixels)
        except DataError as error:
            report.frame_errors.append(error)
    report.ids.discard(split.labels.ignore_index)
    return report


def inspect_all(splits: Sequence[Split], *, pixels: bool = True) -> list[Report]:
    """Inspects several splits; raises `DataError` with the errors of all of them."""
    reports = [split.inspect(pixels=pixels) for split in splits]
    raise_all([error for report in reports for error in report.frame_errors])
    raise_all([error for report in reports for error in report.errors])
    return reports


def _inspect_frame(report: Report, index: int, pixels: bool) -> None:
    split, frame = report.split, report.split.frames[index]
    data, size = b"", None
    try:
        data = split.file(index)
        size = split.decode(index, data).shape[:2] if pixels else _read_size(frame.image, data)
    except DataError as error:
        report.frame_errors.append(error)
    except OSError as error:
        report.frame_errors.append(DataError(f"{frame.image}: {error.strerror}"))
    mask = open_mask(frame.mask)
    ids = split.mapping(interpret(mask, split.source_labels, split.colors, split.meaning))
    # an all-black mask may hold colours or ids, so it counts as coloured
    if not mask.has_ids and not (mask.repeats_ids(split.source_labels) and mask.pixels.any()):
        report.colored.append(frame.mask)
    if split.meaning == "ids" and (pair := mask.contradiction(split.source_labels, split.colors)):
        report.contradicting.append((frame.mask, *pair))
    if split.meaning == "ids" and mask.is_black_and_white:
        report.black_and_white.append(frame.mask)
    if size is None:
        return
    orientation = read_orientation(data)
    if split.drawn_on == "stored":
        ids = turn_upright(ids, orientation)
    elif orientation != 1 and (not swaps_sides(orientation) or size[0] == size[1]):  # else the mask's size shows it
        report.turned.append(frame.image)
    split.require_one_size(index, ids, size)
    report.longer_sides.append(max(ids.shape))
    report.ids.update(np.unique(ids).tolist())


def _read_size(path: Path, data: bytes) -> tuple[int, int]:
    try:
        return read_size(data, Limits())
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error
