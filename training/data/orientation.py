"""The EXIF orientation of photos, and how to turn masks that were drawn on a photo's stored pixels."""

from __future__ import annotations

import io
import re
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from imaging.conversion import ORIENTATION, STORED_LAYOUTS, SWAPPING, XMP

Ids = npt.NDArray[np.uint8]
DrawnOn = Literal["upright", "stored"]
"""What masks were drawn on: `upright`, the photo as viewers show it; `stored`, the file's pixels before EXIF turns them."""


def read_orientation(data: bytes) -> int:
    """The EXIF orientation, 1 (not turned) to 8, by which `imaging.decoding.decode` turns an image file."""
    if not re.search(rb"exif|II\*\0|MM\0\*", data, re.IGNORECASE):
        return 1
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == "PNG":
                image.load()  # EXIF may come after the pixels
            for name in XMP:  # Pillow would read the orientation from it; the service does not
                image.info.pop(name, None)
            value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # unreadable EXIF does not turn the image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def swaps_sides(orientation: int) -> bool:
    """Whether an EXIF orientation swaps height and width."""
    return orientation in SWAPPING


def turn_upright(mask: Ids, orientation: int) -> Ids:
    """Turns a mask (H, W) of a photo's stored pixels as the orientation turns the photo."""
    if orientation not in STORED_LAYOUTS:
        return mask
    upright = np.empty(mask.shape[::-1] if swaps_sides(orientation) else mask.shape, mask.dtype)
    STORED_LAYOUTS[orientation](upright)[:] = mask
    return upright
