"""Tells photos that show nothing, that were cut off, and that are grey, and files whose colours are CMYK."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.formats.signatures import JPEG, TIFF

Pixels = npt.NDArray[np.uint8]
Appearance = Literal["one colour", "cut off", "grey", "colour"]
SIDE = 128  # cells of a photo's width and of its height
# Of 3,348 photographs of Pascal VOC and 468 of CamVid, each differs by 92 levels or more between two of its cells. In 83 of
# them, the channels of no cell differ by more than 8; in 79 of these, by none.
FLAT = 16  # levels, of 255, by which cells differ at most if a photo is of one colour; noise does not reach it
GREY = 8  # levels by which the channels of a cell differ at most if a photo is grey; compression adds some
# What decoders leave of a file that ends too early: black, or 128, the grey of a JPEG's empty blocks.
FILLS, FILL_NOISE = (0, 128), 2
CUT = SIDE // 4  # rows of cells that are filled at least
STEP = 8  # rows of cells above these, which the last blocks of a small JPEG fill in part
SHOWN = 0.9  # share of the cells of the row above the last blocks that show something


def mean_colors(pixels: Pixels) -> Pixels:
    """The mean colours of 128x128 cells of an RGB image (H, W, 3), uint8 (128, 128, 3)."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def appearance(colors: Pixels) -> Appearance:
    """What an image of these `mean_colors` looks like.

    `one colour`: no two cells differ by more than `FLAT`. `cut off`: the lower quarter or more is black or of the grey 128, and
    its edge is straight. `grey`: the channels of no cell differ by more than `GREY`.
    """
    planes = colors.transpose(2, 0, 1).astype(np.int16, order="C")  # numpy takes far longer along an axis of three
    if (planes.max((1, 2)) - planes.min((1, 2)) <= FLAT).all():
        return "one colour"
    if any(_is_cut_off(planes, fill) for fill in FILLS):
        return "cut off"
    return "grey" if (planes.max(0) - planes.min(0) <= GREY).all() else "colour"


def is_cmyk(data: bytes) -> bool:
    """Whether an image file that can be decoded holds CMYK; reads its header alone."""
    if not data.startswith((JPEG, *TIFF)):
        return False
    with Image.open(io.BytesIO(data)) as image:
        return image.mode == "CMYK"


def _is_cut_off(planes: npt.NDArray[np.int16], fill: int) -> bool:
    """Whether the lower rows of (3, 128, 128) have the colour `fill`, and nearly the whole width shows something above."""
    is_photo = np.abs(planes - fill).max(0) > FILL_NOISE
    rows = np.flatnonzero(is_photo.any(1))
    last = int(rows[-1]) if len(rows) else -1
    return STEP <= last < SIDE - CUT and float(is_photo[last - STEP].mean()) >= SHOWN
