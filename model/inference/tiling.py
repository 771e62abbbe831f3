"""Where tiles lie on an image: regions whose origins and sides are multiples of 32, which together cover it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

UNIT = 32
AUTO = "auto"  # the tile that the weights advise
FINE, COARSE = 8, 2  # sides of a region whose other side is the full tile, and of smaller ones
Blend = Literal["mean", "hann"]
Size = tuple[int, int]


class TilingError(ValueError):
    """A tile or an overlap that cannot be laid out."""


@dataclass(frozen=True)
class Region:
    """A tile's place on the extended image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class TilePlan:
    """Regions of one shape, `tile` (height, width), at every pair of `tops` and `lefts`.

    `size` is the image's (height, width); the tiles reach beyond it, over pixels that repeat its edge.
    """

    size: Size
    tile: Size
    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    overlap: float
    blend: Blend

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def cells(self, stride: int) -> Size:
        """(rows, columns) of the merged map, a cell for every stride x stride of the pixels that the tiles cover."""
        return (self.tops[-1] + self.tile[0]) // stride, (self.lefts[-1] + self.tile[1]) // stride

    @property
    def regions(self) -> Iterator[Region]:
        """Every region, row by row."""
        return (Region(top, left, *self.tile) for top in self.tops for left in self.lefts)

    def describe(self) -> dict[str, Any]:
        """The plan as JSON answers tell it; `side` is the working size."""
        return {
            "side": list(self.size),
            "tile": list(self.tile),
            "overlap": self.overlap,
            "blend": self.blend,
            "tiles": len(self),
        }

    def cut(self, image: npt.NDArray[np.uint8], region: Region) -> npt.NDArray[np.uint8]:
        """The region's pixels (height, width, 3) of the image (H, W, 3), its edge repeated outside."""
        inside = image[region.top : region.top + region.height, region.left : region.left + region.width]
        below, right = region.height - inside.shape[0], region.width - inside.shape[1]
        return np.pad(inside, ((0, below), (0, right), (0, 0)), mode="edge") if below or right else inside

    @cached_property
    def row_weights(self) -> list[npt.NDArray[np.float32]]:
        """Per row of tiles, the weights of its pixel rows; a pixel's weight in a tile is row weight x column weight."""
        return _axis_weights(self.tops, self.tile[0], self.blend)

    @cached_property
    def column_weights(self) -> list[npt.NDArray[np.float32]]:
        return _axis_weights(self.lefts, self.tile[1], self.blend)


def parse_tile(text: str) -> Size | None:
    """(height, width) of `512` or `384x480` (height x width); None of `auto`; raises `TilingError`."""
    if text == AUTO:
        return None
    parts = text.lower().split("x")
    if not all(part.strip().isdecimal() for part in parts) or len(parts) > 2:
        raise TilingError(f"tile must be written {AUTO}, 512 or 384x480 (height x width), got {text!r}")
    sides = [int(part) for part in parts]
    tile = sides[0], sides[-1]
    check_tile(tile)
    return tile


def check_tile(tile: Size) -> None:
    for side in tile:
        if side < UNIT or side % UNIT:
            raise TilingError(f"tile must be a multiple of {UNIT}, got {side}")


def tile_sides(limit: int, count: int) -> list[int]:
    """At most so many sides that a region may have on an axis with tiles of side `limit`, evenly apart."""
    step = UNIT * ceil(limit / (count * UNIT))
    return sorted({*range(step, limit, step), limit})


def tile_shapes(tile: Size) -> list[Size]:
    """Every (height, width) that the tiles of a plan can have: what a runtime is warmed up with.

    Few, since runtimes keep code and buffers for every shape that they have seen, and since batches fill sooner. A region with
    one full side, as nearly all have, is rounded up less than a smaller one, since padding moves scores.
    """
    height, width = tile
    full = [(height, side) for side in tile_sides(width, FINE)] + [(side, width) for side in tile_sides(height, FINE)]
    small = [(h, w) for h in tile_sides(height, COARSE) for w in tile_sides(width, COARSE)]
    return sorted({*full, *small})


def plan_tiles(size: Size, tile: Size, overlap: float = 0.25, blend: Blend = "mean") -> TilePlan:
    """Lays tiles over an image of this (height, width).

    An axis that fits into the tile becomes one region, rounded up to one of `tile_shapes`; a longer one, extended to a
    multiple of 32, gets regions at a stride of tile minus overlap, the last one shifted inward. Raises `TilingError`
    for sides below 1, a tile that is not a multiple of 32, or an overlap outside 0 to 0.5.
    """
    check_tile(tile)
    if min(size) < 1:
        raise TilingError(f"an image needs sides of at least 1, got {size[0]}x{size[1]}")
    if not 0 <= overlap <= 0.5:
        raise TilingError(f"overlap must be between 0 and 0.5, got {overlap}")
    count = FINE if any(_side(length, side, FINE) == side for length, side in zip(size, tile, strict=True)) else COARSE
    height, tops = _axis(size[0], tile[0], overlap, count)
    width, lefts = _axis(size[1], tile[1], overlap, count)
    return TilePlan(size, (height, width), tops, lefts, overlap, blend)


def _axis(length: int, side: int, overlap: float, count: int) -> tuple[int, tuple[int, ...]]:
    """A region's side on this axis, and the regions' origins."""
    if length <= side:
        return _side(length, side, count), (0,)
    extended = ceil(length / UNIT) * UNIT
    stride = max(UNIT, side - UNIT * int(side * overlap / UNIT + 0.5))
    return side, (*range(0, extended - side, stride), extended - side)


def _side(length: int, limit: int, count: int) -> int:
    """The smallest of `tile_sides` that holds this length; the limit for longer ones."""
    return next((side for side in tile_sides(limit, count) if side >= length), limit)


def _axis_weights(origins: tuple[int, ...], side: int, blend: Blend) -> list[npt.NDArray[np.float32]]:
    """Weights of each region's pixels, divided by their sum over regions."""
    windows = [_window(side, blend, first=i == 0, last=i == len(origins) - 1) for i in range(len(origins))]
    total = np.zeros(origins[-1] + side, np.float64)
    for origin, window in zip(origins, windows, strict=True):
        total[origin : origin + side] += window
    return [(w / total[o : o + side]).astype(np.float32) for o, w in zip(origins, windows, strict=True)]


def _window(side: int, blend: Blend, *, first: bool, last: bool) -> npt.NDArray[np.float64]:
    """One everywhere, or a Hann window that never reaches 0 and stays 1 towards the image's own border."""
    if blend == "mean":
        return np.ones(side)
    window = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    if first:
        window[: side // 2] = 1
    if last:
        window[side // 2 :] = 1
    return window
