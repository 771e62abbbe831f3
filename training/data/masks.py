"""Reads masks: class ids as grey or palette images, or one colour for each class.

EXIF turns photos: masks that were drawn on a photo's stored pixels are turned as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from common.arrays import Ids, Pixels
from imaging.conversion import STORED_LAYOUTS, SWAPPING, UPRIGHT
from imaging.decoding import Limits, OpenImage
from imaging.errors import ImageError
from imaging.formats.signatures import format_of
from imaging.palette import Color
from model.labels import LabelSet
from training.data.files import read_file
from training.data.problems import DataError

Colors = Mapping[Color, int]
Meaning = Literal["ids", "colors"]
"""How the masks of a data set are read.

`ids`: the pixel values of grey and palette images are class ids; RGB images are read by the classes' colours.
`colors`: all images are read by the classes' colours.
"""
DrawnOn = Literal["upright", "stored"]
"""What masks were drawn on: `upright`, the photo as viewers show it; `stored`, the file's pixels before EXIF turns them."""
BITS = 24  # place of the bits per sample in a PNG (third edition, section 11.2.1)


@dataclass(frozen=True)
class MaskFile:
    """The decoded contents of a mask file.

    pixels: (H, W) of grey and palette images, else uint8 RGB (H, W, 3). palette: uint8 (n, 3), or None. white: the value of
    white in a grey image.
    """

    path: Path
    pixels: npt.NDArray[np.generic]
    palette: Pixels | None = None
    white: int = 255

    @property
    def has_ids(self) -> bool:
        """Whether the mask is a grey or palette image, so that its values can be ids."""
        return self.pixels.ndim == 2

    @property
    def kind(self) -> str:
        """How the file holds its values: `RGB`, `palette`, `grey` of 8 bits, or grey of other bits."""
        if not self.has_ids:
            return "RGB"
        bits = self.white.bit_length()
        return "palette" if self.palette is not None else "grey" if bits == 8 else f"grey of {bits} bit{'s' * (bits > 1)}"

    def ids(self, labels: LabelSet) -> Ids:
        """The pixel values of a grey or palette image as uint8 ids; raises `DataError` for a value that is no class or void."""
        legal_ids = {*range(len(labels)), labels.ignore_index, 255}
        if unknown := sorted(set(np.unique(self.pixels).tolist()) - legal_ids):
            hint = "" if self.palette is None else "; where its colours stand for the classes, give --masks colors"
            raise DataError(f"{self.path}: ids {unknown[:5]} are neither one of {len(labels)} classes nor void{hint}")
        return self.pixels.astype(np.uint8)

    def by_colors(self, labels: LabelSet, colors: Colors) -> Ids:
        """The ids of the mask's colours in `colors`; raises `DataError` for an unknown colour.

        An image with unknown colours is read as ids if its channels are equal and hold ids (`repeats_ids`).
        """
        rgb = self._rgb()
        codes = rgb.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        values, inverse = np.unique(codes, return_inverse=True)
        table = {red * 65536 + green * 256 + blue: index for (red, green, blue), index in colors.items()}
        unknown = [f"#{code:06x}" for code in values.tolist() if code not in table]
        if unknown and self.repeats_ids(labels):
            return MaskFile(self.path, rgb[..., 0]).ids(labels)
        if unknown:
            raise DataError(
                f"{self.path}: colours {unknown[:5]} stand for no class, or for several; save ids, or list each colour"
            )
        ids = np.array([table[code] for code in values.tolist()], np.uint8)
        return ids[inverse].reshape(codes.shape)

    def contradiction(self, labels: LabelSet, colors: Colors) -> tuple[int, int] | None:
        """The first class id in the mask whose palette colour belongs to another class, and that class's id; else None."""
        if self.palette is None:
            return None
        for value in np.unique(self.pixels).tolist():
            if value < min(len(labels), len(self.palette)):
                red, green, blue = self.palette[value].tolist()
                color_id = colors.get((red, green, blue), value)
                if color_id != value and color_id < len(labels):
                    return value, color_id
        return None

    @property
    def is_black_and_white(self) -> bool:
        """Whether an 8-bit mask holds exactly the values 0 and 255: its author may mean white as an object."""
        return self.has_ids and self.white == 255 and set(np.unique(self.pixels).tolist()) == {0, 255}

    def repeats_ids(self, labels: LabelSet) -> bool:
        """Whether an RGB image repeats ids in all three channels.

        False if the values may be colours: if a class has a grey colour that differs from its id, and if the image holds only
        black and white.
        """
        if self.has_ids or not (self.pixels[..., :1] == self.pixels).all():
            return False
        values = set(np.unique(self.pixels).tolist())
        greys = all(entry.color[0] == entry.id for entry in labels.classes if len(set(entry.color)) == 1)
        return greys and values <= {*range(len(labels)), labels.ignore_index, 255} and not values <= {0, 255}

    def _rgb(self) -> Ids:
        """The mask as uint8 RGB (H, W, 3); raises `DataError` for 16 bits."""
        if self.pixels.ndim == 3:
            return self.pixels.astype(np.uint8)
        if self.palette is not None:
            rgb: Ids = self.palette[self.pixels]
            return rgb
        if self.white > 255:
            raise DataError(f"{self.path}: a mask of 16 bits holds ids, not colours; without --masks colors it is read so")
        return np.repeat((self.pixels.astype(np.int64) * 255 // self.white).astype(np.uint8)[..., None], 3, 2)


def label_colors(labels: LabelSet) -> dict[Color, int]:
    """Maps each class's colour to its id, and void's colour to `ignore_index`; a colour of several classes is left out."""
    colors = [entry.color for entry in labels.classes]
    unique = {entry.color: entry.id for entry in labels.classes if colors.count(entry.color) == 1}
    return {labels.palette[255]: labels.ignore_index} | unique


def interpret(mask: MaskFile, labels: LabelSet, colors: Colors, meaning: Meaning) -> Ids:
    """The uint8 ids (H, W) of a mask: the pixel values of a grey or palette image.

    An RGB image, and any image for the meaning `colors`, is read by its colours. Raises `DataError` naming the file for an id
    that is no class, or an unknown colour.
    """
    return mask.ids(labels) if mask.has_ids and meaning == "ids" else mask.by_colors(labels, colors)


def open_mask(path: Path) -> MaskFile:
    """Reads and decodes a mask file as `decode_mask` does; raises `DataError` also for a file that cannot be read."""
    return decode_mask(path, read_file(path))


def decode_mask(path: Path, data: bytes, image_size: tuple[int, ...] = ()) -> MaskFile:
    """Decodes a mask without changing a value: grey with 1 to 16 bits, palette indices, or RGB; alpha must be opaque.

    image_size: (height, width) of its image, empty if unknown. A mask of more pixels is not decoded. Raises `DataError` naming
    the file for such a mask, for one of more pixels than any image may have, and if the file is no PNG, is damaged, or is
    turned by EXIF. The file's bytes decide, not its name.
    """
    if (kind := format_of(data)) != "PNG":
        raise DataError(f"{path}: its {len(data)} bytes are no PNG ({kind}); export masks as PNG, which keeps ids exactly")
    try:
        file = OpenImage(data, Limits())
        if image_size and prod(file.size) > prod(image_size):
            raise DataError(f"{path}: the mask is {file.size}, its image {image_size}; both need one size")
        if file.remark:
            raise DataError(f"{path}: its EXIF cannot be read, which may turn the mask; save it without EXIF")
        if file.orientation != UPRIGHT:
            raise DataError(
                f"{path}: EXIF turns the mask itself (orientation {file.orientation}), and viewers show it otherwise than it "
                "lies; save it without EXIF"
            )
        image = file.load()
    except ImageError as error:
        raise DataError(f"{path}: {error}") from error
    mode, bits, pixels = image.mode, data[BITS], np.asarray(image)
    if bits > 8 and mode != "I;16":  # Pillow drops the lower half of each sample
        raise DataError(f"{path}: a mask of 16 bits must be grey, got mode {mode}; save it in 8 bits")
    if mode in ("LA", "RGBA"):
        if (pixels[..., -1] != 255).any():
            raise DataError(f"{path}: a mask has no transparent pixels, since they show no class; save it without alpha")
        pixels = pixels[..., :3] if mode == "RGBA" else pixels[..., 0]
    white: int = 2**bits - 1
    if mode == "1":
        pixels = pixels.astype(np.uint8)
    elif mode == "L" and bits in (2, 4):  # Pillow scales these values to 8 bits
        pixels = pixels // (255 // white)
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3) if mode == "P" else None
    return MaskFile(path, pixels, palette, white)


def turn_upright(mask: Ids, orientation: int) -> Ids:
    """Turns a mask (H, W) of a photo's stored pixels as the orientation turns the photo."""
    if orientation not in STORED_LAYOUTS:
        return mask
    upright = np.empty(mask.shape[::-1] if orientation in SWAPPING else mask.shape, mask.dtype)
    STORED_LAYOUTS[orientation](upright)[:] = mask
    return upright
