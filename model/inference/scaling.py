"""Computes the working size, at which the network sees an image, from the image's size."""

from __future__ import annotations

from typing import Literal

from model.inference.tiling import Size

Side = Literal["auto", "native"] | int
SIDES = (32, 16384)


class SideTooLarge(ValueError):
    """A side that would enlarge the image too far."""


def parse_side(text: str) -> Side:
    """Parses `auto`, `native` or a number of pixels; raises `ValueError`."""
    if text == "auto":
        return "auto"
    if text == "native":
        return "native"
    if text.isdecimal() and SIDES[0] <= int(text) <= SIDES[1]:
        return int(text)
    raise ValueError(f"side must be auto, native or {SIDES[0]} to {SIDES[1]}, got {text!r}")


def working_size(size: Size, side: Side, advised: tuple[int, int]) -> Size:
    """The working (height, width): the image's own size for `native`, else scaled so that its longer side is `side`.

    `auto` keeps the longer side within the advised (lowest, highest) range. Both sides are at least 1.
    """
    longer = max(size)
    if side == "native":
        return size
    target = min(max(longer, advised[0]), advised[1]) if side == "auto" else side
    return max(1, round(size[0] * target / longer)), max(1, round(size[1] * target / longer))
