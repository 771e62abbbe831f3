"""Reads a scene from top to bottom, a few rows at a time, at its own size or scaled."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from common.arrays import Floats32, Integers, Mask, Pixels, Size
from imaging.georeferenced.area import Area
from imaging.georeferenced.bands import Bands
from imaging.georeferenced.place import Window
from imaging.georeferenced.scene import Scene, steps
from imaging.prefetching import prefetch

ROWS = 128  # least rows that are read at once, unless the scene has fewer
MOST_BYTES = 1 << 27  # of pixels that are read at once; of wider scenes, each block is read once for each part of it


class PixelRows(NamedTuple):
    """Consecutive rows of pixels, from row `top` on: uint8 (rows, width, bands), and which have data, bool (rows, width)."""

    top: int
    pixels: Pixels
    valid: Mask

    @property
    def bottom(self) -> int:
        return self.top + len(self.pixels)


def scene_rows(
    scene: Scene, bands: Bands, fill: npt.ArrayLike = 0, first: int = 0, columns: tuple[int, int] | None = None
) -> Generator[PixelRows]:
    """The rows of a scene from row `first` on, cut where its blocks end. Pixels without data have the value `fill`.

    fill: uint8 (bands,). columns: the first one, and the one behind the last; None for all. Raises `DamagedScene`.
    """
    left, right = columns or (0, scene.size[1])
    height, width = scene.size[0], right - left
    block = scene.block[0]
    most = max(1, MOST_BYTES // (width * len(bands.numbers)))
    step = block * max(1, min(math.ceil(ROWS / block), most // block))
    if step > most:
        step = math.ceil(step / math.ceil(step / most))
    for top, bottom in steps(first, height, step):
        pixels, valid = bands.read(scene, Window(top, left, bottom - top, width), fill)
        yield PixelRows(top, pixels, valid)


class Taps(NamedTuple):
    """For each pixel of a scaled axis: the pixels it is a mean of, int64 (N, k), and their weights, float32 (N, k)."""

    indices: Integers
    weights: Floats32


def taps(length: int, target: int) -> Taps:
    """The taps that scale an axis of `length` pixels to `target`: a triangle as wide as two target pixels, at least two pixels.

    Bilinear where it enlarges; without aliasing where it shrinks, as Pillow's `BILINEAR`.
    """
    factor = length / target
    reach = max(1.0, factor)
    centres = (np.arange(target) + 0.5) * factor - 0.5
    first = np.floor(centres - reach).astype(np.int64) + 1
    indices = first[:, None] + np.arange(math.ceil(2 * reach))
    weights = np.clip(1 - np.abs(indices - centres[:, None]) / reach, 0, None)
    weights[(indices < 0) | (indices >= length)] = 0
    weights /= weights.sum(1, keepdims=True)
    return Taps(indices.clip(0, length - 1), weights.astype(np.float32))


@dataclass(frozen=True)
class Scaling:
    """Scales rows from `size` to `target`, both (height, width). Every row depends on its own source rows alone."""

    size: Size
    target: Size

    def first_source_row(self, row: int) -> int:
        """The first row of the source that a row of the target depends on."""
        return int(taps(self.size[0], self.target[0]).indices[row].min())

    def rows(
        self, source: Iterator[PixelRows], fill: npt.ArrayLike = 0, first: int = 0, columns: Taps | None = None
    ) -> Iterator[PixelRows]:
        """The rows of the target from `first` on. Pixels without data count for nothing; where all are such, it is `fill`.

        source: rows from `first_source_row` on. columns: the taps of the target's columns; None for all.
        """
        horizontal = columns or taps(self.size[1], self.target[1])
        vertical = taps(self.size[0], self.target[0])
        lows, highs = vertical.indices.min(1), vertical.indices.max(1)
        source_lines: list[Floats32] = []  # rows of the source, scaled along their length: (target width, bands + 1)
        first_line = int(lows[first]) if first < len(lows) else 0
        for chunk in source:
            source_lines += _scaled_lines(chunk, horizontal)
            bottom, ready = first_line + len(source_lines), int(np.searchsorted(highs, chunk.bottom))
            if ready <= first:
                continue
            assert bottom == chunk.bottom
            lines = [
                sum(np.float32(w) * source_lines[i - first_line] for i, w in zip(*row, strict=True) if w)
                for row in zip(vertical.indices[first:ready].tolist(), vertical.weights[first:ready].tolist(), strict=True)
            ]
            yield _finished(first, np.stack(lines), fill)
            first = ready
            drop = (int(lows[first]) if first < len(lows) else bottom) - first_line
            del source_lines[:drop]
            first_line += max(0, drop)

    def window(self, scene: Scene, bands: Bands, window: Window) -> tuple[Pixels, Mask]:
        """Pixels uint8 (height, width, bands) of a window of the target, and which have data, bool (height, width).

        They are those of `rows`; pixels without data are 0. Memory depends on the window and on the width of its ground in the
        scene, and not on the height. Raises `DamagedScene`.
        """
        whole, inside = taps(self.size[1], self.target[1]), slice(window.left, window.left + window.width)
        indices, weights = whole.indices[inside], whole.weights[inside]
        columns = int(indices.min()), int(indices.max()) + 1
        source = scene_rows(scene, bands, 0, self.first_source_row(window.top), columns)
        parts, bottom = [], window.top + window.height
        for part in self.rows(source, 0, window.top, Taps(indices - columns[0], weights)):
            parts.append(part)
            if part.bottom >= bottom:
                break
        pixels, valid = (np.concatenate(each)[: window.height] for each in list(zip(*parts, strict=True))[1:])
        return pixels, valid


def _scaled_lines(chunk: PixelRows, horizontal: Taps) -> list[Floats32]:
    """Each row scaled along its length, float32 (width, bands + 1): sums of samples with data, and the weight of those."""
    lines = []
    for pixels, valid in zip(chunk.pixels, chunk.valid, strict=True):
        values = np.empty((len(pixels), pixels.shape[1] + 1), np.float32)
        values[:, :-1], values[:, -1] = pixels, 1
        values[~valid] = 0
        line = np.zeros((len(horizontal.indices), values.shape[1]), np.float32)
        for index, weight in zip(horizontal.indices.T, horizontal.weights.T, strict=True):
            line += values[index] * weight[:, None]
        lines.append(line)
    return lines


def _finished(top: int, lines: Floats32, fill: npt.ArrayLike) -> PixelRows:
    weight = lines[:, :, -1:]
    valid = weight[:, :, 0] > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = np.rint(lines[:, :, :-1] / weight)
    pixels[~valid] = fill
    return PixelRows(top, pixels.astype(np.uint8), valid)


class SceneSource:
    """Gives a scene's rows to the network, at its own size or scaled, and keeps which pixels have data.

    working_size: (height, width) that the network sees. fill: of pixels without data, uint8 (bands,). area: the one that is
    wanted, None for the whole; the network also sees what is around it. One thread may take rows while another one asks for
    `valid`; a third reads ahead, and ends when the rows are closed. `_lock` guards the masks.
    """

    def __init__(
        self, scene: Scene, bands: Bands, working_size: Size, fill: npt.ArrayLike = 0, area: Area | None = None
    ) -> None:
        self._scene, self._bands, self._fill, self._area = scene, bands, fill, area
        self._scaling = None if working_size == scene.size else Scaling(scene.size, working_size)
        self._masks: deque[tuple[int, int, Pixels]] = deque()
        self._lock = Lock()

    def working(self, first: int) -> Generator[PixelRows]:
        """The rows at the working size from `first` on. Raises `DamagedScene`."""
        source = first if self._scaling is None else self._scaling.first_source_row(first)
        with closing(self._kept(source)) as rows:
            yield from rows if self._scaling is None else self._scaling.rows(rows, self._fill, first)

    def valid(self, first: int, last: int) -> Mask:
        """Which pixels of these rows are in the area and have data, bool (rows, width). Rows before `first` are forgotten."""
        with self._lock:
            while self._masks and self._masks[0][1] <= first:
                self._masks.popleft()
            masks = [(top, mask) for top, _, mask in self._masks if top < last]
        width = self._scene.size[1]
        return np.concatenate([
            np.unpackbits(mask[max(0, first - top) : last - top], axis=1, count=width).view(np.bool_) for top, mask in masks
        ])  # fmt: skip

    def _kept(self, first: int) -> Generator[PixelRows]:
        """The scene's own rows, read ahead by one piece."""
        with closing(prefetch(scene_rows(self._scene, self._bands, self._fill, first), 1, "scene reader")) as parts:
            for part in parts:
                valid = part.valid
                if self._area:
                    valid = valid & self._area.mask(Window(part.top, 0, *valid.shape))
                with self._lock:
                    self._masks.append((part.top, part.bottom, np.packbits(valid, axis=1)))
                yield part
