"""Splits of labelled images: pixels and masks, checked, with what the masks' ids mean."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from imaging.decoding import Limits, decode
from imaging.errors import ImageError
from model.labels import LabelSet, camvid_labels
from training import camvid
from training.class_mapping import ClassMapping, identity
from training.layouts import DataError, Frame, find_frames
from training.masks import Colors, label_colors, read_mask


class Seen(NamedTuple):
    """What the masks of a split show: the ids of classes, and the median of the frames' longer sides in pixels."""

    ids: set[int]
    longer_side: int


@dataclass(frozen=True)
class Split:
    """Frames of one split, and what their masks' ids, or colours, mean after `mapping`."""

    name: str
    frames: tuple[Frame, ...]
    mapping: ClassMapping
    source_labels: LabelSet
    colors: Colors = field(default_factory=dict)

    @property
    def labels(self) -> LabelSet:
        return self.mapping.labels

    @property
    def digest(self) -> str:
        """Sha256 of the frame names in order: tells whether two runs used the same list."""
        return hashlib.sha256("\n".join(frame.name for frame in self.frames).encode()).hexdigest()

    @property
    def contents(self) -> str:
        """Sha256 of the names, images and masks: tells whether two runs learnt from the same."""
        found = hashlib.sha256()
        for frame in self.frames:
            for part in (frame.name.encode(), frame.image.read_bytes(), frame.mask.read_bytes()):
                found.update(hashlib.sha256(part).digest())
        return found.hexdigest()

    def file(self, index: int) -> bytes:
        """The image file's bytes."""
        return self.frames[index].image.read_bytes()

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image as uint8 RGB (H, W, 3); raises `DataError` naming the file."""
        return self.decode(index, self.file(index))

    def decode(self, index: int, data: bytes, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
        """The image of these bytes of its file, at this (height, width) where one is given, as the service decodes it."""
        try:
            return decode(data, Limits(), size)
        except ImageError as error:
            raise DataError(f"{self.frames[index].image}: {error}") from error

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The mask as uint8 ids (H, W) after the mapping; raises `MaskError` naming the file."""
        return self.mapping(read_mask(self.frames[index].mask, self.source_labels, self.colors))

    def require_one_size(self, index: int, mask: npt.NDArray[np.uint8], size: tuple[int, ...]) -> None:
        """Raises `DataError`, naming the file, where a frame's mask is not of its image's (height, width)."""
        if mask.shape != size:
            raise DataError(f"{self.frames[index].mask}: the mask is {mask.shape}, its image {size}; both need one size")

    def check(self) -> Seen:
        """Reads every frame once, so that a wrong one is named before a training and not in its midst; gives what it saw.

        Raises `DataError` naming the file, and where no pixel bears a label.
        """
        seen: set[int] = set()
        longer: list[int] = []
        for index in tqdm(range(len(self.frames)), desc=f"checking {self.name}", unit="frame", leave=False):
            image, mask = self.image(index), self.mask(index)
            self.require_one_size(index, mask, image.shape[:2])
            longer.append(max(mask.shape))
            seen.update(np.unique(mask).tolist())
        if not (labelled := seen - {self.labels.ignore_index}):
            raise self._too_few("no class")
        return Seen(labelled, int(np.median(longer)))

    def check_learnable(self) -> Seen:
        """As `check`, and raises `DataError` where the masks show fewer than two classes."""
        seen = self.check()
        if len(seen.ids) < 2:
            raise self._too_few(", ".join(self.labels.names[index] for index in seen.ids))
        return seen

    def _too_few(self, shown: str) -> DataError:
        return DataError(
            f"the masks of the split {self.name!r} show {shown} of {len(self.labels)} classes, and nothing can be learnt "
            f"from that; masks hold class ids (0 to {len(self.labels) - 1}), and 255 is void, not an object"
        )


def get_split(root: Path, split: str, labels: LabelSet, mapping: ClassMapping | None = None) -> Split:
    """The split (`train`, `val`, ...) of the data set in this folder, whichever of the known layouts it has.

    Raises `DataError` where none is found, a listed file is missing, or the split is empty.
    """
    frames = tuple(find_frames(root, split))
    published = labels == camvid_labels() and (root / camvid.COLORS).is_file()
    colors = camvid.published_colors(root) if published else label_colors(labels)
    return Split(split, frames, mapping or identity(labels), labels, colors)
