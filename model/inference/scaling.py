"""Computes the working size, at which the network sees an image, from the image's size."""

from __future__ import annotations

from typing import Literal

from common.arrays import Size
from model.inference.views import Quality

Side = Literal["auto", "native"] | int
SIDES = (32, 16384)
LARGEST_FACTOR = 4  # limit on enlarging an image, unless the weights advise more


class SideError(ValueError):
    """A side that the image does not allow, such as one that would enlarge it too far."""


def parse_side(text: str) -> Side:
    """Parses `auto`, `native` or a number of pixels; raises `ValueError`."""
    if text == "auto":
        return "auto"
    if text == "native":
        return "native"
    if text.isdecimal() and SIDES[0] <= int(text) <= SIDES[1]:
        return int(text)
    raise ValueError(f"side must be auto, native or {SIDES[0]} to {SIDES[1]}, got {text!r}")


def working_size(size: Size, side: Side, advised_range: tuple[int, int]) -> Size:
    """The working (height, width): the image's own size for `native`, else scaled so that its longer side is `side`.

    `auto` keeps the longer side within the advised (lowest, highest) range. Both sides are at least 1.
    """
    longer = max(size)
    if side == "native":
        return size
    target = min(max(longer, advised_range[0]), advised_range[1]) if side == "auto" else side
    return max(1, round(size[0] * target / longer)), max(1, round(size[1] * target / longer))


def check_side(
    side: Side, size: Size, view: Size, *, advised_range: tuple[int, int], quality: Quality, megapixels: float
) -> None:
    """Raises `SideError` if a side enlarges the image too much, or to more pixels than an image may have.

    size, view: (height, width) of the image, and of its largest view. advised_range: as in `working_size`. quality: for
    the error. megapixels: the limit on images.
    """
    most = max(advised_range[1], LARGEST_FACTOR * max(size))
    if isinstance(side, int) and side > most:
        raise SideError(f"side may be up to {most} for an image of {size[1]}x{size[0]}, got {side}; give a smaller one")
    if view != size and view[0] * view[1] > megapixels * 1e6:
        parameters = f"side {side}" + (" with quality high" if quality == "high" else "")
        problem = f"{parameters} enlarges this image to {view[1]}x{view[0]} pixels"
        raise SideError(f"{problem}; the limit is {megapixels:g} megapixels; give a smaller side")


def check_scene_side(size: Size, side: int | None) -> int:
    """The side at which a scene's pixels measure what the network learned from. size: (height, width). side: None without one.

    Raises `SideError` for None, and for a side that leaves the network nearly nothing to see.
    """
    if side is None:
        raise SideError("this scene does not say how large its own are; give a number")
    if shrinks_too_far(max(size), side):
        height, width = working_size(size, side, SIDES)
        raise SideError(
            f"this scene shows too little ground: {size[1]}x{size[0]} pixels would become {width}x{height}, and the network "
            f"needs {SIDES[0]} along the longer side; send more of the scene"
        )
    return side


def shrinks_too_far(longer: int, side: int) -> bool:
    """Whether a longer side of so many pixels would shrink far below the least one that the network is given."""
    return side < SIDES[0] and longer > LARGEST_FACTOR * side
