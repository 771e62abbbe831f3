"""From the image's size to the size that the network works at, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from model.merging import Band
from model.tiling import Size

Side = Literal["auto", "native"] | int
CHUNK_ROWS = 64
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


def resize_image(image: npt.NDArray[np.uint8], size: Size) -> npt.NDArray[np.uint8]:
    """The image (H, W, 3) at this (height, width): bilinear, averaging where it shrinks."""
    if image.shape[:2] == size:
        return image
    pixels = torch.tensor(image).permute(2, 0, 1)[None]
    scaled = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return scaled[0].permute(1, 2, 0).contiguous().numpy()


class LogitsScaler:
    """Scales bands of logits from the working size to the image's size, bilinearly, a few rows at a time.

    Equals interpolating the whole map at once (half-pixel centres, edges repeated), within rounding.
    """

    def __init__(self, source: Size, target: Size) -> None:
        self.source, self.target = source, target
        centres = (torch.arange(target[0], dtype=torch.float64) + 0.5) * (source[0] / target[0]) - 0.5
        centres = centres.clamp(0, source[0] - 1)
        self._upper = centres.floor().long()
        self._lower = (self._upper + 1).clamp(max=source[0] - 1)
        self._fraction = (centres - self._upper).float()
        self._kept: Tensor | None = None
        self._done = 0

    def push(self, band: Band) -> Iterator[Band]:
        """The bands (classes, rows, target width) that this band, the next one downwards, completes."""
        if self.source == self.target:
            for start in range(0, band.logits.shape[1], CHUNK_ROWS):
                yield Band(band.top + start, band.logits[:, start : start + CHUNK_ROWS])
            return
        logits = band.logits if self._kept is None else torch.cat([self._kept, band.logits], 1)
        bottom = band.top + band.logits.shape[1]
        top = bottom - logits.shape[1]
        ready = int(torch.searchsorted(self._lower, bottom))
        for start in range(self._done, ready, CHUNK_ROWS):
            yield Band(start, self._rows(logits, top, slice(start, min(start + CHUNK_ROWS, ready))))
        self._done = ready
        self._kept = logits[:, -1:].clone()

    def _rows(self, logits: Tensor, top: int, rows: slice) -> Tensor:
        upper = logits[:, self._upper[rows] - top]
        lower = logits[:, self._lower[rows] - top]
        blended = torch.lerp(upper, lower, self._fraction[rows, None])
        size = (blended.shape[1], self.target[1])
        return F.interpolate(blended[None], size=size, mode="bilinear", align_corners=False)[0]
