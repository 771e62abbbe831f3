"""A split of labelled images: found on disk in any known layout; reads images as pixels and masks as class ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from common.arrays import Mask, Pixels
from common.regular_file import read_regular_file
from imaging.conversion import SWAPPING, UPRIGHT
from imaging.decoding import Limits, OpenImage
from imaging.errors import ImageError
from imaging.georeferenced import load
from model.labels import LabelSet, camvid_labels
from model.preprocessing import RGB
from training.data import camvid, masks
from training.data.class_mapping import ClassMapping, identity_mapping
from training.data.files import NAME_ENCODING, open_photo
from training.data.layouts import Frame, FrameSet, list_frames
from training.data.map_files import read_bands, read_blocks, read_gsd
from training.data.problems import DataError
from training.data.sets import MIXTURE, read_sets


@dataclass(frozen=True)
class Split:
    """The frames of one split, and how their masks are read.

    mapping: from the masks' own classes (`source_labels`) to the split's (`labels`). colors: the class id of each mask colour.
    meaning, drawn_on: how all masks of the data set are read. notes: remarks on the files, printed before they are used.
    incomplete, missing: listed frames that lack a file, and their errors; a survey tells them with those of the other frames.
    bands: of the images; with more than three, they are georeferenced TIFFs. gsd: metres on the ground of a pixel, if the
    images are tiles of scenes whose pixels measure the same; else None. blocks: of ground, by the names of the
    frames that are tiles of scenes, which `fcn-import` has cut.
    """

    name: str
    frames: tuple[Frame, ...]
    mapping: ClassMapping
    source_labels: LabelSet
    colors: masks.Colors = field(default_factory=dict)
    meaning: masks.Meaning = "ids"
    drawn_on: masks.DrawnOn = "upright"
    notes: tuple[str, ...] = ()
    incomplete: tuple[Frame, ...] = ()
    missing: tuple[DataError, ...] = ()
    bands: tuple[str, ...] = RGB
    gsd: float | None = None
    blocks: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> LabelSet:
        return self.mapping.labels

    @cached_property
    def sets(self) -> dict[FrameSet, list[int]]:
        """The sets of the frames, each with the indices of its frames."""
        sets: dict[FrameSet, list[int]] = {}
        for index, frame in enumerate(self.frames):
            sets.setdefault(frame.set, []).append(index)
        return sets

    @cached_property
    def is_partial(self) -> bool:
        """Whether a set labels some classes alone."""
        return any(each.labelled is not None for each in self.sets)

    @property
    def rest_id(self) -> int:
        """The id that is no class and not void: of pixels with none of the classes that their set labels.

        It becomes `losses.UNLABELLED` + k in the crops of a training, where the sets of a batch differ, and in scores the row
        after the columns (`metrics.Counts`). `network_classes.OTHER` names the column of predictions of no class of the set.
        """
        return len(self.labels) + (self.labels.ignore_index == len(self.labels))

    def labelled(self, frames: FrameSet) -> Mask:
        """For each class (n,), whether the set labels all of the masks' classes that count as it."""
        is_labelled = np.ones(len(self.labels), np.bool_)
        if frames.labelled is not None:
            others = [self.mapping.table[each.id] for each in self.source_labels.classes if each.id not in frames.labelled]
            is_labelled[[target for target in others if target < len(is_labelled)]] = False
        return is_labelled

    @property
    def digest(self) -> str:
        """Sha256 of the frame names in order: equal for two runs with the same list."""
        return hashlib.sha256("\n".join(frame.name for frame in self.frames).encode(*NAME_ENCODING)).hexdigest()

    def file(self, index: int) -> bytes:
        """The image file's bytes."""
        return read_regular_file(self.frames[index].image)

    def image(self, index: int) -> Pixels:
        """The image as uint8 (H, W, bands); raises `DataError` naming a file that cannot be decoded."""
        return self.decode(index, self.file(index))

    def decode(self, index: int, data: bytes, size: tuple[int, int] | None = None) -> Pixels:
        """Decodes the bytes of a frame's image file to uint8 (H, W, bands), as the service does.

        size: (height, width) to scale to, if any. Raises `DataError` naming the file.
        """
        try:
            if photo := self.photo(index, data):
                return photo.decode(size).pixels
            load()
            from imaging.georeferenced.whole import OpenScene

            return OpenScene(data, Limits(), len(self.bands)).decode(size).pixels
        except ImageError as error:
            raise DataError(f"{self.frames[index].image}: {error}") from error

    def photo(self, index: int, data: bytes) -> OpenImage | None:
        """The photo of a frame's image file, as `open_photo`; None for a scene of other bands, which EXIF does not turn."""
        return open_photo(self.frames[index].image, data) if len(self.bands) == len(RGB) else None

    def orientation(self, index: int) -> int:
        """The orientation by which EXIF turns a frame's image, 1 (not turned) to 8."""
        photo = self.photo(index, self.file(index))
        return photo.turn if photo else UPRIGHT

    def mask(self, index: int) -> Pixels:
        """The mask as uint8 ids (H, W) of the upright image, after the mapping; `rest_id` where it shows no labelled class.

        Raises `DataError` naming a wrong file.
        """
        mask = masks.open_mask(self.frames[index].mask)
        ids = self.mapping(masks.interpret(mask, self.source_labels, self.colors, self.meaning))
        if not (is_labelled := self.labelled(self.frames[index].set)).all():
            ids[np.isin(ids, np.flatnonzero(~is_labelled))] = self.rest_id
        return ids if self.drawn_on == "upright" else masks.turn_upright(ids, self.orientation(index))

    def require_one_size(self, index: int, mask: Pixels, size: tuple[int, ...]) -> None:
        """Raises `DataError`, naming the file, if a frame's mask does not have its image's size (height, width)."""
        if mask.shape == size:
            return
        hint = ""
        if mask.shape == size[::-1] and self.orientation(index) in SWAPPING:
            hint = "; EXIF turns the image: --masks-orientation says whether masks were drawn on the upright or the stored one"
        raise DataError(f"{self.frames[index].mask}: the mask is {mask.shape}, its image {size}; both need one size{hint}")


def get_split(
    root: Path,
    split: str,
    labels: LabelSet,
    mapping: ClassMapping | None = None,
    meaning: masks.Meaning = "ids",
    drawn_on: masks.DrawnOn = "upright",
) -> Split:
    """The split (`train`, `val`, ...) of the data set in this folder, in any known layout, or of the sets of a mixture.

    Its frames are those whose two files are there; the errors of the others are in `missing`. Raises `DataError` for an unknown
    layout and an empty split.
    """
    sets = [each for each in read_sets(root, labels) if each.split in ("", split)]
    listings = {each: list_frames(each.folder, split, whole=bool(each.split)) for each in sets}
    if not sets:
        raise DataError(f"{root / MIXTURE}: no set has frames of the split {split!r}")
    bands, gsds = {read_bands(each.folder) for each in sets}, {read_gsd(each.folder) for each in sets}
    if len(bands) > 1:
        raise DataError(f"{root / MIXTURE}: the images of the sets have different bands: {', '.join(map(str, sorted(bands)))}")
    is_published = labels == camvid_labels() and (root / camvid.COLORS).is_file()
    return Split(
        name=split,
        frames=tuple(_of_set(each, own) for own in sets for each in listings[own].frames),
        incomplete=tuple(_of_set(each, own) for own in sets for each in listings[own].incomplete),
        mapping=mapping or identity_mapping(labels),
        source_labels=labels,
        colors=camvid.published_colors(root) if is_published else masks.label_colors(labels),
        meaning=meaning,
        drawn_on=drawn_on,
        notes=tuple(note for each in sets for note in listings[each].notes),
        missing=tuple(error for each in sets for error in listings[each].missing),
        bands=bands.pop(),
        gsd=gsds.pop() if len(gsds) == 1 else None,
        blocks={_full_name(each, name): block for each in sets for name, block in read_blocks(each.folder).items()},
    )


def _of_set(frame: Frame, own: FrameSet) -> Frame:
    return replace(frame, name=_full_name(own, frame.name), set=own)


def _full_name(frames: FrameSet, name: str) -> str:
    """A frame's name in its mixture."""
    return f"{frames.name}/{name}" if frames.name else name
