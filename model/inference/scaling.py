"""From the image's size to the size that the network works at."""

from __future__ import annotations

from typing import Literal

from model.inference.tiling import Size

Side = Literal["auto", "native"] | int
SIDES = (32, 16384)


class SideTooLarge(ValueError):
    """A side that an image would be enlarged too far for."""


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
