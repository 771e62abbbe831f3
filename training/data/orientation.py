"""The EXIF orientation of photos, and masks that were drawn on a photo as its file stores it."""

from __future__ import annotations

import io
import re
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.decoding import ORIENTATION, STORED, SWAPPING, XMP

Ids = npt.NDArray[np.uint8]
DrawnOn = Literal["upright", "stored"]
"""What masks were drawn on: the photo as viewers show it, or its pixels as the file stores them, before EXIF turns them."""


def read_orientation(data: bytes) -> int:
    """The EXIF orientation by which `imaging.decoding.decode` turns this image: 1 (none) to 8."""
    if not re.search(rb"exif|II\*\0|MM\0\*", data, re.IGNORECASE):
        return 1
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "PNG":
                image.load()  # it may stand behind the pixels
            for name in XMP:  # which Pillow would take for EXIF, and the service does not
                image.info.pop(name, None)
            value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF that cannot be read turns nothing
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def swaps_sides(orientation: int) -> bool:
    return orientation in SWAPPING


def turn_upright(mask: Ids, orientation: int) -> Ids:
    """The mask (H, W) of a photo's stored pixels, turned as the photo is."""
    if orientation not in STORED:
        return mask
    upright = np.empty(mask.shape[::-1] if swaps_sides(orientation) else mask.shape, mask.dtype)
    STORED[orientation](upright)[:] = mask
    return upright
