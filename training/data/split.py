"""A split of labelled images: reads images as pixels and masks as class ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imaging.decoding import Limits, decode
from imaging.errors import ImageError
from imaging.georeferenced import load
from model.labels import LabelSet
from model.preprocessing import RGB
from model.regular_file import read_regular_file
from training.data.class_mapping import ClassMapping
from training.data.files import NAME_ENCODING
from training.data.layouts import Frame
from training.data.masks import Colors, DrawnOn, Meaning, interpret, open_mask, read_orientation, swaps_sides, turn_upright
from training.data.problems import DataError


@dataclass(frozen=True)
class Split:
    """The frames of one split, and how their masks are read.

    mapping: from the masks' own classes (`source_labels`) to the split's (`labels`). colors: the class id of each mask colour.
    meaning, drawn_on: how all masks of the data set are read. notes: remarks on the files, printed before they are used.
    missing: an error for each listed frame that lacks a file; a survey tells them with those of the other frames.
    bands: of the images; with more than three, they are georeferenced TIFFs. gsd: metres on the ground of a pixel, if the
    images are tiles of scenes whose pixels measure the same; else None. blocks: of ground, by the names of the
    frames that are tiles of scenes, which `fcn-import` has cut.
    """

    name: str
    frames: tuple[Frame, ...]
    mapping: ClassMapping
    source_labels: LabelSet
    colors: Colors = field(default_factory=dict)
    meaning: Meaning = "ids"
    drawn_on: DrawnOn = "upright"
    notes: tuple[str, ...] = ()
    missing: tuple[DataError, ...] = ()
    bands: tuple[str, ...] = RGB
    gsd: float | None = None
    blocks: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> LabelSet:
        return self.mapping.labels

    @property
    def digest(self) -> str:
        """Sha256 of the frame names in order: equal for two runs with the same list."""
        return hashlib.sha256("\n".join(frame.name for frame in self.frames).encode(*NAME_ENCODING)).hexdigest()

    def file(self, index: int) -> bytes:
        """The image file's bytes."""
        return read_regular_file(self.frames[index].image)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """The image as uint8 (H, W, bands); raises `DataError` naming a file that cannot be decoded."""
        return self.decode(index, self.file(index))

    def decode(self, index: int, data: bytes, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
        """Decodes the bytes of a frame's image file to uint8 (H, W, bands), as the service does.

        size: (height, width) to scale to, if any. Raises `DataError` naming the file.
        """
        try:
            if len(self.bands) != len(RGB):
                load()
                from imaging.georeferenced.whole import OpenScene

                return OpenScene(data, Limits(), len(self.bands)).decode(size).pixels
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
        hint = (
            "; EXIF turns the image: --masks-orientation says whether masks were drawn on the upright or the stored one"
            if is_turned
            else ""
        )
        raise DataError(f"{self.frames[index].mask}: the mask is {mask.shape}, its image {size}; both need one size{hint}")
