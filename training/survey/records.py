"""Reads every image and mask of a data set once, and records what trainings and reports need to know of them.

A training writes the records to a file. A later run reads a frame again only if one of its two files has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter
from tqdm import tqdm

from common.arrays import Ids, Integers
from common.regular_file import read_regular_file
from common.whole_file import write_file
from imaging.conversion import SWAPPING, UPRIGHT
from training.data.files import NAME_ENCODING, read_file
from training.data.layouts import Frame
from training.data.masks import decode_mask, interpret, turn_upright
from training.data.problems import DataError, collecting, raise_all
from training.data.split import Split
from training.survey.details import FrameDetails, read_details
from training.survey.photos import Appearance, appearance, image_hash, is_cmyk, mean_colors
from training.survey.shapes import typical_extents

FILE = "survey.json"
VERSION = 11  # of the records; another number makes every run read its data set again


class FrameRecord(BaseModel):
    """What an image and its mask hold.

    image_sha256, mask_sha256: of the files. ids_sha256: of the mask's source ids.
    size: (height, width) of the upright image, and of its mask. pixels: for each class id of the source labels, the number of
    the mask's pixels; void included. is_colored: whether the mask is an RGB image that is read by the classes' colours.
    contradiction: the first class id whose palette colour belongs to another class, and that class's id. kind: of the mask, as
    `MaskFile.kind` says. is_black_and_white: whether the mask holds only 0 and 255. orientation: of the image, by EXIF.
    is_orientation_ambiguous: whether EXIF turns the image, and sizes do not tell that the mask was drawn on the upright one.
    is_cmyk: whether the image file holds CMYK. remark: `OpenImage.remark` of it. rim: for each class id of the source labels,
    the number of its pixels in the mask's outermost rows and columns. extents: `typical_extents` of the mask's source ids.
    image_hash, appearance: `photos` of the upright image. details: None in a survey of one layer.
    """

    model_config = ConfigDict(frozen=True)

    image_sha256: str
    mask_sha256: str
    ids_sha256: str
    size: tuple[int, int]
    pixels: dict[int, int]
    is_colored: bool
    contradiction: tuple[int, int] | None
    kind: str
    orientation: int
    is_cmyk: bool
    remark: str
    rim: dict[int, int]
    extents: dict[int, float]
    image_hash: str
    appearance: Appearance
    is_orientation_ambiguous: bool
    is_black_and_white: bool
    details: FrameDetails | None = None


RECORDS = TypeAdapter(dict[str, FrameRecord])


@dataclass(frozen=True)
class Survey:
    """A split and the record of each of its frames."""

    split: Split
    records: tuple[FrameRecord, ...]

    @property
    def contents(self) -> str:
        """Sha256 of the names, images and masks, and of how masks are read: equal for two runs with the same data."""
        digest = hashlib.sha256()
        for frame, record in self.frames:
            digest.update(hashlib.sha256(frame.name.encode(*NAME_ENCODING)).digest())
            digest.update(bytes.fromhex(record.image_sha256 + record.mask_sha256))
        if (self.split.meaning, self.split.drawn_on) != ("ids", "upright"):
            digest.update(f"{self.split.meaning} {self.split.drawn_on}".encode())
        if self.split.is_partial or len(self.split.sets) > 1:
            digest.update(repr([(each.weight, each.void_above, each.labelled) for each in self.split.sets]).encode())
        return digest.hexdigest()

    @property
    def longer_side(self) -> int:
        """The median of the frames' longer sides, in pixels."""
        return int(np.median([max(record.size) for record in self.records]))

    @property
    def tiles(self) -> frozenset[int]:
        """The indices of the frames that `fcn-import` has cut of scenes: the import knows their places, and what is void."""
        return frozenset(index for index, frame in enumerate(self.split.frames) if frame.name in self.split.blocks)

    @property
    def frames(self) -> list[tuple[Frame, FrameRecord]]:
        """The frames with their records."""
        return list(zip(self.split.frames, self.records, strict=True))

    @property
    def photos(self) -> list[tuple[Frame, FrameRecord]]:
        """The frames that are no tiles, with their records."""
        return [(frame, record) for frame, record in self.frames if frame.name not in self.split.blocks]

    @property
    def image_keys(self) -> list[str]:
        """A text for each frame's image, equal for copies. Equal tiles, as of the sea, show different ground."""
        blocks = self.split.blocks
        return [record.image_sha256 + (frame.name if frame.name in blocks else "") for frame, record in self.frames]

    @property
    def areas(self) -> Integers:
        """The number of pixels of each frame, int64 (frames,)."""
        return np.array([record.size[0] * record.size[1] for record in self.records], np.int64)

    @property
    def class_pixels(self) -> Integers:
        """The number of labelled pixels of each class in each frame, int64 (frames, classes), after the split's mapping."""
        return self._by_class([record.pixels for record in self.records])

    @property
    def rim_pixels(self) -> Integers:
        """As `class_pixels`, in the outermost rows and columns of the masks alone."""
        return self._by_class([record.rim for record in self.records])

    @cached_property
    def shown_classes(self) -> set[int]:
        """The classes that the masks show, after the split's mapping."""
        return set(self.class_pixels.sum(0).nonzero()[0].tolist())

    def labelled_ids(self) -> Iterator[tuple[int, int, int]]:
        """The index of a frame, an id of its mask's source labels, and the class that it counts as.

        Ids that count as void, or as a class that the frame's set does not label, are left out.
        """
        is_labelled = {each: self.split.labelled(each) for each in self.split.sets}
        for index, (frame, record) in enumerate(self.frames):
            for source in record.pixels:
                target = int(self.split.mapping.table[source])
                if target < len(self.split.labels) and is_labelled[frame.set][target]:
                    yield index, source, target

    def _by_class(self, numbers: Sequence[Mapping[int, int]]) -> Integers:
        counts = np.zeros((len(numbers), len(self.split.labels)), np.int64)
        for index, source, class_id in self.labelled_ids():
            counts[index, class_id] += numbers[index].get(source, 0)
        return counts


def firsts(keys: Sequence[str]) -> list[int]:
    """For each key, the index of the first one that equals it."""
    indices: dict[str, int] = {}
    return [indices.setdefault(key, index) for index, key in enumerate(keys)]


def survey_all(splits: Sequence[Split], *, details: bool = False, file: Path | None = None) -> list[Survey]:
    """Surveys several splits of one data set, as `survey_readable` does; raises `DataError` with the errors of all frames."""
    surveys, errors = survey_readable(splits, details=details, file=file)
    raise_all(errors)
    return surveys


def survey_readable(
    splits: Sequence[Split], *, details: bool = False, file: Path | None = None
) -> tuple[list[Survey], list[DataError]]:
    """Surveys the frames that can be read, of several splits of one data set; gives the errors of the other frames, each once.

    A frame that is listed several times is read once. details: whether the second layer is read, too. file: where the records
    are kept; a frame is not read again if its record has the same paths, sizes and times of change.
    """
    saved_records = _load(file) if file else {}
    records_of_keys: dict[str, FrameRecord] = {}
    surveys: list[Survey] = []
    errors: list[DataError] = []
    for split in splits:
        frames, records = [], []
        errors += split.missing
        for index in tqdm(range(len(split.frames)), desc=f"checking {split.name}", unit="frame", leave=False, disable=None):
            key = _key(split, index, details)
            with collecting(errors):
                if key not in records_of_keys:
                    records_of_keys[key] = saved_records.get(key) or _read(split, index, details)
                frames.append(split.frames[index])
                records.append(records_of_keys[key])
        surveys.append(Survey(replace(split, frames=tuple(frames)), tuple(records)))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, RECORDS.dump_json(records_of_keys))
    return surveys, list({str(error): error for error in errors}.values())


def _key(split: Split, index: int, details: bool) -> str:
    """A digest of a frame's paths, sizes and times of change, of the layers, and of how its mask is read."""
    frame = split.frames[index]
    mask_facts = [split.source_labels.to_list(), split.source_labels.ignore_index, list(split.colors.items())]
    digest = hashlib.sha256(json.dumps([VERSION, details, *mask_facts, split.meaning, split.drawn_on]).encode())
    for path in (frame.image.absolute(), frame.mask.absolute()):
        digest.update(hashlib.sha256(os.fsencode(path)).digest())
        try:
            status = path.stat()
        except OSError:  # reading the file gives the error
            continue
        digest.update(f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} ".encode())
    return digest.hexdigest()


def _load(file: Path) -> dict[str, FrameRecord]:
    """The records of a file; none if it is missing or damaged, which costs only time."""
    try:
        return RECORDS.validate_json(read_regular_file(file))
    except (OSError, ValueError):
        return {}


def _read(split: Split, index: int, details: bool) -> FrameRecord:
    """Reads a frame's two files; raises `DataError` with the errors of both."""
    frame = split.frames[index]
    errors: list[DataError] = []
    data, size = b"", tuple[int, ...]()
    with collecting(errors):
        data = read_file(frame.image)
        # more bands than a photo's are read as a whole; their first three tell the same as a photo's
        image = split.decode(index, data)[..., :3]
        size = image.shape[:2]
    with collecting(errors):
        mask_data = read_file(frame.mask)
        if data and mask_data == data:
            raise DataError(f"{frame.mask}: the mask and its image {frame.image} are one file, or copies of it")
        mask = decode_mask(frame.mask, mask_data, size)
        ids = interpret(mask, split.source_labels, split.colors, split.meaning)
    raise_all(errors)
    photo = split.photo(index, data)
    orientation = photo.turn if photo else UPRIGHT
    if split.drawn_on == "stored":
        ids = turn_upright(ids, orientation)
    split.require_one_size(index, ids, size)
    # if EXIF swaps sides of different lengths, a mask fits only one of the two images
    is_told_by_sides = orientation in SWAPPING and size[0] != size[1]
    is_ambiguous = split.drawn_on == "upright" and orientation != UPRIGHT and not is_told_by_sides
    colors, reads_ids = mean_colors(image), split.meaning == "ids"
    return FrameRecord(
        image_sha256=hashlib.sha256(data).hexdigest(),
        mask_sha256=hashlib.sha256(mask_data).hexdigest(),
        ids_sha256=hashlib.sha256(str(ids.shape).encode() + ids.tobytes()).hexdigest(),
        size=size,
        pixels=_counts(ids),
        # an all-black mask may hold colours or ids, so it counts as coloured
        is_colored=not mask.has_ids and not (mask.repeats_ids(split.source_labels) and bool(mask.pixels.any())),
        contradiction=mask.contradiction(split.source_labels, split.colors) if reads_ids else None,
        kind=mask.kind,
        orientation=orientation,
        is_cmyk=photo is not None and is_cmyk(data),
        remark=photo.remark if photo else "",
        rim=_counts(np.concatenate([ids[0], ids[-1], ids[1:-1, 0], ids[1:-1, -1]])),
        extents=typical_extents(ids),
        image_hash=image_hash(image),
        appearance=appearance(colors),
        is_orientation_ambiguous=is_ambiguous,
        is_black_and_white=reads_ids and mask.is_black_and_white,
        details=read_details(ids, colors, turn_upright(ids, orientation) if is_ambiguous else None) if details else None,
    )


def _counts(ids: Ids) -> dict[int, int]:
    """The number of each id that occurs."""
    counts = np.bincount(ids.ravel(), minlength=256)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
