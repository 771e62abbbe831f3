"""Places tiles on an image: regions that together cover it, and whose origins and sides are multiples of 32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any, Literal

import numpy as np

from common.arrays import Floats, Floats32, Pixels, Size

UNIT = 32
AUTO = "auto"  # stands for the tile size that the weights advise
WHOLE = (0, 0)  # stands for a photo as one tile; written `whole`
FINE, COARSE = 16, 2  # steps of an axis: for a region with one full side, and for a smaller region
PHOTO_RATIOS = 1, 4 / 3, 3 / 2, 16 / 9
Blend = Literal["mean", "hann"]


class TilingError(ValueError):
    """A tile or an overlap that cannot be laid out."""


@dataclass(frozen=True)
class TilePlan:
    """Regions of one shape, `tile` (height, width), at every pair of `tops` and `lefts`.

    size: the image's (height, width). Tiles may reach beyond it, over pixels that repeat its edge. is_whole: the one tile is
    the image itself, which the network extends to `tile`.
    """

    size: Size
    tile: Size
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    overlap: float
    blend: Blend
    is_whole: bool = False

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def cells(self, stride: int) -> Size:
        """(rows, columns) of the merged map, which has one cell for every stride x stride pixels that the tiles cover."""
        return (self.tops[-1] + self.tile[0]) // stride, (self.lefts[-1] + self.tile[1]) // stride

    def tiles(self, image: Pixels) -> Iterator[Pixels]:
        """The pixels of every region of the image (H, W, bands), row by row."""
        return (self.cut(image, top, left) for top in self.tops for left in self.lefts)

    def describe(self) -> dict[str, Any]:
        """The plan as it appears in JSON answers; `side` is the working (height, width)."""
        return {
            "side": list(self.size),
            "tile": list(self.tile),
            "overlap": self.overlap,
            "blend": self.blend,
            "tiles": len(self),
        } | ({"whole": True} if self.is_whole else {})

    def cut(self, image: Pixels, top: int, left: int) -> Pixels:
        """A region's pixels (height, width, bands) of the image (H, W, bands). Outside the image its edge is repeated."""
        inside = image[top : top + self.tile[0], left : left + self.tile[1]]
        if self.is_whole:
            return inside
        below, right = self.tile[0] - inside.shape[0], self.tile[1] - inside.shape[1]
        return np.pad(inside, ((0, below), (0, right), (0, 0)), mode="edge") if below or right else inside

    @property
    def shape(self) -> Size:
        """(height, width) of the pixels that `cut` gives."""
        return self.size if self.is_whole else self.tile


def parse_tile(text: str) -> Size | None:
    """Parses `512` or `384x480` (height x width) to (height, width), and `auto` to None; raises `TilingError`."""
    if text == AUTO:
        return None
    if text == "whole":
        return WHOLE
    parts = text.lower().split("x")
    if not all(part.strip().isdecimal() for part in parts) or len(parts) > 2:
        raise TilingError(f"tile must be written {AUTO}, whole, 512 or 384x480 (height x width), got {text!r}")
    sides = [int(part) for part in parts]
    tile = sides[0], sides[-1]
    check_tile(tile)
    return tile


def check_tile(tile: Size) -> None:
    """Raises `TilingError` unless both sides are positive multiples of 32."""
    for side in tile:
        if side < UNIT or side % UNIT:
            raise TilingError(f"tile must be a multiple of {UNIT}, got {side}")


@cache
def tile_sides(limit: int, steps: int) -> tuple[int, ...]:
    """The sides that a region may have on an axis with tiles of side `limit`.

    The axis is cut into at most `steps` equal steps. Sides are all their multiples from half the limit on, and every second one
    below that, since few photos are so narrow.
    """
    step = UNIT * ceil(limit / (steps * UNIT))
    sides = [*range(step, limit, step), limit]
    narrow = [side for side in sides if 2 * side < limit]
    return (*narrow[1::2], *sides[len(narrow) :])


def tile_shapes(tile: Size) -> frozenset[Size]:
    """Every (height, width) that tiles can have for this tile size.

    There are few shapes, because runtimes keep code and buffers for each shape, and because batches of one shape fill sooner.
    Padding takes time and changes scores, so regions with one full side, which are the most common, can choose from more sides
    than smaller ones.
    """
    height, width = tile
    full = {(height, side) for side in tile_sides(width, FINE)} | {(side, width) for side in tile_sides(height, FINE)}
    return frozenset(full | {(h, w) for h in tile_sides(height, COARSE) for w in tile_sides(width, COARSE)})


def photo_shapes(tile: Size) -> list[Size]:
    """The (height, width) of the regions of photos with usual ratios, lying and upright, whose longer side is the tile's."""
    sizes = [size for ratio in PHOTO_RATIOS for size in ((int(tile[0] / ratio), tile[1]), (tile[0], int(tile[1] / ratio)))]
    return sorted({plan_tiles(size, tile).tile for size in sizes})


def plan_tiles(size: Size, tile: Size, overlap: float = 0.25, blend: Blend = "mean") -> TilePlan:
    """Places tiles on an image of this (height, width).

    An axis that fits into the tile gets one region, rounded up to one of `tile_shapes`. A longer axis is extended to a
    multiple of 32 and gets regions at a step of tile minus overlap; the last region is shifted inward. Raises `TilingError`
    for a tile that is not a multiple of 32, or an overlap outside 0 to 0.5. size: sides of at least 1.
    """
    check_tile(tile)
    if not 0 <= overlap <= 0.5:
        raise TilingError(f"overlap must be between 0 and 0.5, got {overlap}")
    steps = FINE if any(_side(length, side, FINE) == side for length, side in zip(size, tile, strict=True)) else COARSE
    height, tops = _axis(size[0], tile[0], overlap, steps)
    width, lefts = _axis(size[1], tile[1], overlap, steps)
    return TilePlan(size, (height, width), tops, lefts, overlap, blend)


def _axis(length: int, side: int, overlap: float, steps: int) -> tuple[int, tuple[int, ...]]:
    """The side of all regions on this axis, and their origins."""
    if length <= side:
        return _side(length, side, steps), (0,)
    rounded_length = ceil(length / UNIT) * UNIT
    step = max(UNIT, side - UNIT * int(side * overlap / UNIT + 0.5))
    return side, (*range(0, rounded_length - side, step), rounded_length - side)


def _side(length: int, limit: int, steps: int) -> int:
    """The smallest of `tile_sides` that is at least `length`; `limit` if none is."""
    return next((side for side in tile_sides(limit, steps) if side >= length), limit)


def axis_weights(origins: tuple[int, ...], side: int, blend: Blend) -> list[Floats32]:
    """For each region, the weights of its pixels along an axis; over all regions a pixel's weights add up to 1.

    A pixel's weight in a tile is that of its row x that of its column. origins: of the regions. side: of each, in pixels.
    """
    windows = [_window(side, blend, first=i == 0, last=i == len(origins) - 1) for i in range(len(origins))]
    total = np.zeros(origins[-1] + side, np.float64)
    for origin, window in zip(origins, windows, strict=True):
        total[origin : origin + side] += window
    return [(w / total[o : o + side]).astype(np.float32) for o, w in zip(origins, windows, strict=True)]


def _window(side: int, blend: Blend, *, first: bool, last: bool) -> Floats:
    """Ones for `mean`; for `hann` a Hann window above 0, which is 1 towards the image's border (`first`, `last`)."""
    if blend == "mean":
        return np.ones(side)
    window = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    if first:
        window[: side // 2] = 1
    if last:
        window[side // 2 :] = 1
    return window
