"""Splits of labelled images: pixels and masks, checked, with what the masks' ids mean."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from imaging.decoding import Limits, decode, read_size
from model.labels import LabelSet
from training import camvid
from training.class_mapping import ClassMapping, identity
from training.layouts import DataError, Frame, find_frames
from training.masks import Colors, label_colors, read_mask


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

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image as uint8 RGB (H, W, 3)."""
        return decode(self.frames[index].image.read_bytes(), Limits())

    def mask(self, index: int) -> npt.NDArray[np.uint8]:
        """The mask as uint8 ids (H, W) after the mapping; raises `DataError` or `MaskError` naming the file."""
        frame = self.frames[index]
        ids = read_mask(frame.mask, self.source_labels, self.colors)
        if ids.shape != (size := read_size(frame.image.read_bytes(), Limits())):
            raise DataError(f"{frame.mask}: the mask is {ids.shape}, its image {size}; both need one size")
        return self.mapping(ids)

    def check(self) -> None:
        """Reads every mask once, so that a wrong one is named before a training and not in its midst."""
        labelled = False
        for index in tqdm(range(len(self.frames)), desc=f"checking {self.name}", unit="mask", leave=False):
            labelled |= bool((self.mask(index) != self.labels.ignore_index).any())
        if not labelled:
            raise DataError(f"no pixel of the split {self.name!r} bears a label")


def get_dataset(root: Path, split: str, labels: LabelSet, mapping: ClassMapping | None = None) -> Split:
    """The split (`train`, `val`, ...) of the data set in this folder, whichever of the known layouts it has.

    Raises `DataError` where none is found, a listed file is missing, or the split is empty.
    """
    frames = tuple(find_frames(root, split))
    published = (root / camvid.FRAMES).is_dir() and (root / camvid.COLORS).is_file()
    colors = camvid.published_colors(root) if published else label_colors(labels)
    return Split(split, frames, mapping or identity(labels), labels, colors)
