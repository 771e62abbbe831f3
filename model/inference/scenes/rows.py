"""Segments scenes of any size: rows of pixels go in from top to bottom, and rows of classes come out.

The steps are those of `Segmenter`: tiles, network, merging, argmax, each on one row of tiles at a time, and each beside the
others. So the result is that of the whole scene, and memory grows with its width alone. A run can begin at any row, and gives
the rows of one from the top.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from common.arrays import Ids, Mask, Size
from imaging.classes import VOID
from imaging.prefetching import prefetch
from imaging.shown import without_unsure
from model.inference.merging import BandMerger, Logits
from model.inference.runtime import Runtime, Submit, Tile
from model.inference.tiling import TilePlan
from model.inference.upsampling import LogitsUpsampler, Rows

if TYPE_CHECKING:
    from imaging.georeferenced.rows import PixelRows, SceneSource  # needs the extra `geo`

AHEAD_SHARE = 1 / 4  # of a row of tiles: what the network needs while a row becomes classes


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

    def until(self, last: int) -> ClassRows:
        """The rows before `last`."""
        count = max(0, last - self.top)
        return ClassRows(self.top, self.ids[:count], None if self.confidence is None else self.confidence[:count])

    def shown(self, least: float) -> ClassRows:
        """The rows with void at pixels whose confidence is below `least` (0 to 1)."""
        if not least or self.confidence is None:
            return self
        return self._replace(ids=without_unsure(self.ids, self.confidence, least))


def segment_scene(
    source: SceneSource,
    size: Size,
    tiles: TilePlan,
    runtime: Runtime,
    submit: Submit,
    *,
    ahead: int = 4,
    void_tile: Tile | None = None,
    temperature: float | None = None,
    first_row: int = 0,
    runs: Mask | None = None,
) -> Generator[ClassRows]:
    """The classes of the rows of a scene of `size` (height, width), from row `first_row` on, row of tiles by row of tiles.

    tiles: at its working size. runs: which of them the network sees, bool (rows of tiles, columns); None for all.

    One thread cuts tiles and submits them, another one turns their logits to classes, one row of tiles ahead of the caller. So
    the network has tiles while rows become classes and while the caller writes. At most `ahead` tiles, and at least a part of a
    row (`AHEAD_SHARE`), wait for the network or with their logits.

    void_tile: a tile without data; it runs once, and its logits are those of every tile without data. temperature: divisor of
    the logits before the softmax; None for no confidence. Raises what `source` and `submit` raise. Close the generator if you
    leave it early: that ends the threads after the tile or band of rows in work.
    """
    end = Event()
    stride = runtime.stride
    upsampler = LogitsUpsampler(tiles.cells(stride), stride, runtime.grid, tiles.size, size, first_row)
    ends = [top + tiles.tile[0] for top in tiles.tops]
    first_tile_row = bisect_right(ends, upsampler.first_cell(first_row) * stride)  # that the rows depend on
    count = max(ahead, math.ceil(AHEAD_SHARE * len(tiles.lefts)))
    nothing = Future[Logits]()  # of tiles that do not run
    nothing.set_result(np.zeros((len(runtime.manifest.labels), *(side // stride for side in tiles.tile)), np.float32))
    runs = np.ones((len(tiles.tops), len(tiles.lefts)), np.bool_) if runs is None else runs

    def parts() -> Generator[ClassRows]:
        merger = BandMerger(tiles, runtime.grid, first_tile_row)
        row_parts: list[ClassRows] = []
        with closing(
            prefetch(_run(source, tiles, first_tile_row, submit, void_tile, runs, nothing), count, "scene tiles")
        ) as futures:
            for index, future in enumerate(futures):
                bands = merger.add(future.result())[::-1]
                del future
                while bands:
                    for rows in upsampler.push(bands.pop()):
                        if end.is_set():
                            return
                        bottom = rows.top + len(rows.vertical.before)
                        row_parts.append(_classes(rows, source.valid(rows.top, bottom), temperature))
                        del rows
                if end.is_set():
                    return
                if row_parts and (index + 1) % len(tiles.lefts) == 0:
                    yield _joined(row_parts)
                    row_parts = []

    yield from prefetch(parts(), 1, "scene classes", end)


def _run(
    source: SceneSource, plan: TilePlan, first_tile_row: int, submit: Submit, void_tile: Tile | None, runs: Mask,
    nothing: Future[Logits],
) -> Generator[Future[Logits]]:  # fmt: skip
    """Cuts tiles from rows of pixels, from a row of tiles on, and submits those that run. Holds one row of tiles."""
    parts: deque[PixelRows] = deque()
    void: Future[Logits] | None = None
    height, width = plan.size
    with closing(source.working(plan.tops[first_tile_row])) as rows:
        for top, row_runs in zip(plan.tops[first_tile_row:], runs[first_tile_row:], strict=True):
            bottom = min(height, top + plan.tile[0])
            while parts and parts[0].bottom <= top:
                parts.popleft()
            while not parts or parts[-1].bottom < bottom:
                parts.append(next(rows))
            insides = [(part, slice(max(0, top - part.top), max(0, bottom - part.top))) for part in parts]
            for left, is_run in zip(plan.lefts, row_runs, strict=True):
                right = min(width, left + plan.tile[1])
                if not is_run:
                    yield nothing
                elif void_tile is None or any(part.valid[inside, left:right].any() for part, inside in insides):
                    yield submit(plan.cut(np.concatenate([part.pixels[inside, left:right] for part, inside in insides]), 0, 0))
                else:
                    void = void or submit(void_tile)
                    yield void


def _classes(rows: Rows, valid: Mask, temperature: float | None) -> ClassRows:
    """The classes of rows. Only the columns between the first and the last pixel with data are computed."""
    ids = np.full(valid.shape, VOID, np.uint8)
    confidence = None if temperature is None else np.zeros(valid.shape, np.uint8)
    columns = np.flatnonzero(valid.any(0))
    if len(columns):
        within = slice(int(columns[0]), int(columns[-1]) + 1)
        part, has_data = rows.columns(within), valid[:, within]
        if temperature is None or confidence is None:
            class_ids = part.class_ids()
        else:
            probability = np.empty(has_data.shape, np.uint8)
            class_ids = part.class_ids_and_confidence(temperature, probability).ids
            np.copyto(confidence[:, within], probability, where=has_data)
        np.copyto(ids[:, within], class_ids, where=has_data)
    return ClassRows(rows.top, ids, confidence)


def _joined(parts: list[ClassRows]) -> ClassRows:
    if len(parts) == 1:
        return parts[0]
    confidences = [part.confidence for part in parts if part.confidence is not None]
    return ClassRows(
        parts[0].top, np.concatenate([part.ids for part in parts]), np.concatenate(confidences) if confidences else None
    )
