"""Masks in JSON: PNGs in base64, within the limits of images, and the run lengths of COCO, whose order is down the columns."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as run_lengths

from imaging.decoding import Limits, OpenImage
from imaging.errors import ImageError
from training.importing.coco import as_key

LIMITS = Limits()
DATA_URL = re.compile(r"data:image/png;base64,", re.IGNORECASE)
HALF = 128  # alpha from which on a pixel is painted
Mask = npt.NDArray[np.bool_]
Size = tuple[int, int]
"""(height, width)"""


def check_size(height: object, width: object) -> Size:
    """An image's size in the JSON; raises `ValueError` if it is none, or has more pixels than are read of an image."""
    height, width = as_key(height), as_key(width)  # 60.0 is 60
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise ValueError(f"needs the height and width of its image in pixels, got {str((height, width))[:60]}")
    if height * width > LIMITS.megapixels * 1e6:
        raise ValueError(f"is on an image of {width}x{height} pixels; at most {LIMITS.megapixels:g} megapixels are read")
    return height, width


def decode_base64(text: object) -> bytes:
    """Raises `ValueError` for anything but a text in base64."""
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"needs a PNG in base64, got {str(text)[:60]}") from error


def decode_painted(url: object, size: Size) -> Mask:
    """The painted pixels (H, W) of a PNG of this size in a data URL, as Label Studio writes bitmasks.

    Painted are pixels whose alpha is at least 128. In a PNG that is opaque everywhere, as other programs write masks, pixels
    that are not black are painted. Raises `ValueError`.
    """
    prefix = DATA_URL.match(url) if isinstance(url, str) else None
    if not isinstance(url, str) or not prefix:
        raise ValueError(f"needs a PNG as data:image/png;base64, and its bytes, got {str(url)[:60]}")
    image = _open_png(decode_base64(url[prefix.end() :]), size)
    if image.has_transparency_data:
        alpha = np.asarray((image if image.mode == "RGBA" else image.convert("RGBA")).getchannel("A"))
        if alpha.min() < 255 or image.convert("RGB").getcolors(1) is not None:  # of one colour
            return alpha >= HALF
    colors = np.asarray(image.convert("RGB"))
    mask: Mask = colors.max(axis=-1) > 0
    return mask


def decode_nonzero(text: object, size: Size, tolerance: int) -> Mask:
    """The pixels (h, w) of a grey PNG in base64 that are not 0, as labelme writes masks.

    tolerance: pixels by which its height and width may differ from `size`. Raises `ValueError`.
    """
    image = _open_png(decode_base64(text), size, tolerance)
    if image.has_transparency_data:
        raise ValueError("needs a grey PNG without transparency as its mask")
    values = np.asarray(image)
    nonzero: Mask = (values.max(axis=-1) if values.ndim == 3 else values) != 0
    return nonzero


def _open_png(data: bytes, size: Size, tolerance: int = 0) -> Image.Image:
    """The decoded image; its pixels are only decoded if its header says a PNG of this size."""
    try:
        image = OpenImage(data, LIMITS)
        file_size, kind = image.stored_size[::-1], image.format
        if kind == "PNG" and all(abs(a - b) <= tolerance for a, b in zip(file_size, size, strict=True)):
            return image.load()
    except ImageError as error:
        raise ValueError(f"needs a PNG in base64: {error}") from error
    raise ValueError(f"needs a PNG of {size[1]}x{size[0]} pixels, got a {kind} of {file_size[1]}x{file_size[0]}")


def encode_part(part: Mask, corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """The compressed run lengths, as COCO's `segmentation`, of an image that shows a part at a corner (x, y) alone."""
    left, top = corner
    height, width = size
    inside = part[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    rows, columns = inside.shape
    by_column = np.zeros((columns, rows + 2), bool)
    by_column[:, 1:-1] = inside.T
    # in columns, where runs inside the part begin, and where they end, alternately
    column, row = np.nonzero(by_column[:, 1:] != by_column[:, :-1])
    edges = (column + max(0, left)) * height + row + max(0, top)
    return _compressed(np.diff(edges, prepend=0, append=height * width).tolist(), size)


def encode_whole(mask: Mask) -> dict[str, Any]:
    """The compressed run lengths of a mask (H, W), as COCO's `segmentation`."""
    height, width = mask.shape
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return _compressed([height * width], mask.shape)
    top, left = int(rows[0]), int(columns[0])
    return encode_part(mask[top : rows[-1] + 1, left : columns[-1] + 1], (left, top), (height, width))


def _compressed(lengths: list[int], size: tuple[int, ...]) -> dict[str, Any]:
    height, width = size
    rle = run_lengths.frPyObjects({"counts": lengths, "size": [height, width]}, height, width)
    return {"counts": rle["counts"].decode("ascii"), "size": [height, width]}
