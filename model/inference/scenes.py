"""Segments scenes of any size: rows of pixels go in from top to bottom, and rows of classes come out.

The steps are those of `Segmenter`: tiles, network, merging, argmax, each on one row of tiles at a time. So the result is that
of the whole scene, and memory grows with its width alone. A run can begin at any row, and gives the rows of one from the top.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from imaging.classes import VOID
from model.inference.merging import BandMerger, Logits
from model.inference.runtime import Runtime, Tile
from model.inference.tiling import Blend, Region, Size, TilePlan, plan_tiles
from model.inference.upsampling import Ids, LogitsUpsampler, Rows

if TYPE_CHECKING:
    from imaging.georeferenced.rows import PixelRows, SceneSource  # needs the extra `geo`

Mask = npt.NDArray[np.bool_]
Submit = Callable[[Tile], Future[Logits]]
"""Starts the network on a uint8 tile (height, width, bands); the future has its logits (classes, rows, columns)."""


class ClassRows(NamedTuple):
    """Consecutive rows of the result, from row `top` on: what the next row of tiles does not change.

    ids: uint8 (rows, width), class ids and `VOID`. confidence: uint8 (rows, width), round(255 x probability), 0 where void;
    None if it was not asked for.
    """

    top: int
    ids: Ids
    confidence: Ids | None

    @property
    def bottom(self) -> int:
        return self.top + len(self.ids)


@dataclass(frozen=True)
class ScenePlan:
    """The work for a scene of `size` (height, width). tiles: at its working size."""

    size: Size
    tiles: TilePlan


def plan_scene(size: Size, working: Size, tile: Size, overlap: float = 0.25, blend: Blend = "mean") -> ScenePlan:
    """The plan for a scene of this (height, width), which the network sees at the working size. Raises `TilingError`."""
    return ScenePlan(size, plan_tiles(working, tile, overlap, blend))


def segment_scene(
    source: SceneSource,
    plan: ScenePlan,
    runtime: Runtime,
    submit: Submit,
    *,
    ahead: int = 4,
    void_tile: Tile | None = None,
    temperature: float | None = None,
    first_row: int = 0,
) -> Iterator[ClassRows]:
    """The classes of a scene's rows, from row `first_row` on, row of tiles by row of tiles.

    ahead: how many tiles are submitted before the first one's logits are used. void_tile: a tile without data; it runs once,
    and its logits are those of every tile without data. temperature: divisor of the logits before the softmax; None for no
    confidence. Raises what `source` and `submit` raise.
    """
    stride, grid, tiles = runtime.stride, runtime.grid, plan.tiles
    upsampler = LogitsUpsampler(tiles.cells(stride), stride, grid, tiles.size, plan.size, first_row)
    ends = [top + tiles.tile[0] for top in tiles.tops]
    first_tile_row = bisect_right(ends, upsampler.first_cell(first_row) * stride)  # that the rows depend on
    merger = BandMerger(tiles, grid, first_tile_row)
    row_parts: list[ClassRows] = []
    columns = len(tiles.lefts)
    for index, logits in enumerate(_run(_cut(source, tiles, first_tile_row), submit, ahead, void_tile)):
        bands = merger.add(logits)[::-1]
        while bands:
            for rows in upsampler.push(bands.pop()):
                bottom = rows.top + len(rows.vertical.before)
                row_parts.append(_classes(rows, source.valid(rows.top, bottom), temperature))
                del rows
        if row_parts and (index + 1) % columns == 0:
            yield _joined(row_parts)
            row_parts = []


def _run(tiles: Iterable[Tile | None], submit: Submit, ahead: int, void_tile: Tile | None) -> Iterator[Logits]:
    """The logits of the tiles, in their order; None for a tile without data."""
    void: Future[Logits] | None = None
    pending: deque[Future[Logits]] = deque()
    for tile in tiles:
        if tile is not None or void_tile is None:
            assert tile is not None
            pending.append(submit(tile))
        else:
            void = void or submit(void_tile)
            pending.append(void)
        while len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _cut(source: SceneSource, plan: TilePlan, first_tile_row: int) -> Iterator[Tile | None]:
    """Cuts tiles from rows of pixels, from a row of tiles on; None for a tile without data. Holds one row of tiles."""
    rows = iter(source.working(plan.tops[first_tile_row]))
    parts: deque[PixelRows] = deque()
    height, width = plan.size
    for top in plan.tops[first_tile_row:]:
        bottom = min(height, top + plan.tile[0])
        while parts and _bottom(parts[0]) <= top:
            parts.popleft()
        while not parts or _bottom(parts[-1]) < bottom:
            parts.append(next(rows))
        for left in plan.lefts:
            right = min(width, left + plan.tile[1])
            if any(part.valid[_inside(part, top, bottom), left:right].any() for part in parts):
                inside = np.concatenate([part.pixels[_inside(part, top, bottom), left:right] for part in parts])
                yield plan.cut(inside, Region(0, 0, *plan.tile))
            else:
                yield None


def _classes(rows: Rows, valid: Mask, temperature: float | None) -> ClassRows:
    """The classes of rows. Only the columns between the first and the last pixel with data are computed."""
    ids = np.full(valid.shape, VOID, np.uint8)
    confidence = None if temperature is None else np.zeros(valid.shape, np.uint8)
    columns = np.flatnonzero(valid.any(0))
    if not len(columns):
        return ClassRows(rows.top, ids, confidence)
    within = slice(int(columns[0]), int(columns[-1]) + 1)
    part, has_data = rows.columns(within), valid[:, within]
    if temperature is None or confidence is None:
        ids[:, within] = np.where(has_data, part.class_ids(), np.uint8(VOID))
        return ClassRows(rows.top, ids, None)
    probability = np.empty(has_data.shape, np.uint8)
    ids[:, within] = np.where(has_data, part.class_ids_and_confidence(temperature, probability).ids, np.uint8(VOID))
    confidence[:, within] = np.where(has_data, probability, np.uint8(0))
    return ClassRows(rows.top, ids, confidence)


def _joined(parts: list[ClassRows]) -> ClassRows:
    if len(parts) == 1:
        return parts[0]
    confidences = [part.confidence for part in parts if part.confidence is not None]
    return ClassRows(
        parts[0].top, np.concatenate([part.ids for part in parts]), np.concatenate(confidences) if confidences else None
    )


def _inside(part: PixelRows, top: int, bottom: int) -> slice:
    return slice(max(0, top - part.top), max(0, bottom - part.top))


def _bottom(part: PixelRows) -> int:
    return part.top + len(part.pixels)
