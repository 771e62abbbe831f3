"""From the image's size to the size that the network works at."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from model.tiling import Size

Image = npt.NDArray[np.uint8]
Side = Literal["auto", "native"] | int
SIDES = (32, 16384)


def parse_side(text: str) -> Side:
    """The side written `auto`, `native` or as a number; raises `ValueError`."""
    if text == "auto":
        return "auto"
    if text == "native":
        return "native"
    if text.isdecimal() and SIDES[0] <= int(text) <= SIDES[1]:
        return int(text)
    raise ValueError(f"side must be auto, native or {SIDES[0]} to {SIDES[1]}, got {text!r}")


def working_size(size: Size, side: Side, advised: tuple[int, int]) -> Size:
    """The (height, width) to work at: the image's own, or scaled so that its longer side is `side`.

    `auto` keeps the longer side within the advised range. No side falls below 1.
    """
    longer = max(size)
    if side == "native":
        return size
    target = min(max(longer, advised[0]), advised[1]) if side == "auto" else side
    return max(1, round(size[0] * target / longer)), max(1, round(size[1] * target / longer))


def resize_image(image: Image, size: Size) -> Image:
    """The image (H, W, 3) at this (height, width): bilinear, averaging where it shrinks."""
    if image.shape[:2] == size:
        return image
    whole = _whole(image)
    source = whole if whole.flags.writeable else whole.copy()
    # as torch lays its channels_last out, which is scaled without laying it out anew
    scaled = F.interpolate(torch.from_numpy(source[None]).permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True)
    return _three(scaled[0].permute(1, 2, 0).numpy())


def _whole(image: Image) -> Image:
    """Where this shows three samples of a pixel's four, all of them: torch scales those that lie without gaps as they are."""
    base = image.base
    if not isinstance(base, np.ndarray) or base.shape != (*image.shape[:2], 4) or base.strides != image.strides:
        return image
    return base if base.ctypes.data == image.ctypes.data else image


def _three(image: Image) -> Image:
    """Three samples a pixel, without gaps."""
    if image.shape[2] == 3:
        return image
    found = np.empty((*image.shape[:2], 3), np.uint8)
    for channel in range(3):  # a fifth of the time that copying all at once takes
        found[..., channel] = image[..., channel]
    return found
