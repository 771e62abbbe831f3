"""The corridor from an image to its class map: scale, cut, infer, merge, scale back, argmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.merging import BandMerger
from model.pixels import LogitsScaler, Rows
from model.predictor import Predictor
from model.scaling import Side, resize_image, working_size
from model.tiling import Blend, Size, TilePlan, plan_tiles
from model.upsampling import Grid

Image = npt.NDArray[np.uint8]
ClassMap = npt.NDArray[np.uint8]
Run = Callable[[Iterator[Image]], Iterator[Tensor]]
"""Maps tiles (height, width, 3) of one shape to their logits (classes, height / stride, width / stride), in order."""


@dataclass(frozen=True)
class Options:
    """How an image is worked on; the names and ranges are those of the HTTP parameters."""

    tile: Size = (512, 512)
    overlap: float = 0.25
    blend: Blend = "mean"
    side: Side = "auto"


@dataclass(frozen=True)
class Segmentation:
    """The answer for one image.

    class_map: uint8 (H, W) class ids. confidence: uint8 (H, W), round(255 x the winning class's softmax probability
    of the averaged logits), or None where it was not asked for. mean_confidence: per class id, the mean of that
    probability over the class's pixels. probabilities: float16 (classes, H, W), or None likewise.
    plan: the tiles, laid over the image at its working size.
    """

    class_map: ClassMap
    confidence: npt.NDArray[np.uint8] | None
    mean_confidence: tuple[float, ...]
    plan: TilePlan
    probabilities: npt.NDArray[np.float16] | None = None


def plan_image(size: Size, options: Options, advised: tuple[int, int]) -> TilePlan:
    """The tiles of an image of this (height, width); `advised` is the weights' range of the longer side."""
    return plan_tiles(working_size(size, options.side, advised), options.tile, options.overlap, options.blend)


def segment(
    image: Image,
    plan: TilePlan,
    run: Run,
    *,
    num_classes: int,
    grid: Grid,
    size: Size | None = None,
    temperature: float | None = None,
    probabilities: bool = False,
    check: Callable[[], None] = lambda: None,
) -> Segmentation:
    """Segments an RGB image (H, W, 3) by a plan from `plan_image`; `run` is the network, `grid` that of its logits.

    size: of the answer, where the image came reduced; else the image's own. With a temperature (1.0 for none), confidence
    is computed too: softmax of logits / temperature;
    with `probabilities`, each class's is kept. `check` is called every few rows, and ends the work by raising.
    """
    size = size or (image.shape[0], image.shape[1])
    canvas = _Canvas(size, num_classes, temperature, probabilities)
    with torch.inference_mode():
        for rows in merged_rows(image, plan, run, grid, size):
            check()
            canvas.write(rows)
    return Segmentation(canvas.class_map, canvas.confidence, canvas.mean_confidence(), plan, canvas.probabilities)


def segment_image(
    predictor: Predictor, image: Image, options: Options | None = None, temperature: float | None = None
) -> Segmentation:
    """Segments an RGB image (H, W, 3) with a predictor of the caller's own, as the service would."""
    manifest = predictor.manifest
    plan = plan_image((image.shape[0], image.shape[1]), options or Options(), manifest.preprocessing.side)
    run = run_in_batches(predictor)
    return segment(image, plan, run, num_classes=len(manifest.labels), grid=predictor.grid, temperature=temperature)


def merged_rows(image: Image, plan: TilePlan, run: Run, grid: Grid, size: Size) -> Iterator[Rows]:
    """The averaged logits of an RGB image (H, W, 3) at this (height, width), some rows at a time from the top."""
    image = resize_image(image, plan.size)
    merger, scaler = BandMerger(plan, grid), None
    for logits in run(plan.cut(image, region) for region in plan.regions):
        if band := merger.add(logits):
            scaler = scaler or LogitsScaler((merger.vertical, merger.horizontal), merger.stride, grid, plan.size, size)
            yield from scaler.push(band)


class Network(Protocol):
    """A `Predictor`, or what stands for it: uint8 tiles of one shape to their logits."""

    def logits(self, tiles: Sequence[Image]) -> Tensor: ...


def run_in_batches(predictor: Network, batch_tiles: int = 8) -> Run:
    """A `Run` that calls the predictor directly, this many tiles at a time."""

    def run(tiles: Iterator[Image]) -> Iterator[Tensor]:
        while batch := list(islice(tiles, batch_tiles)):
            yield from predictor.logits(batch)

    return run


class _Canvas:
    """Collects finished rows: their class ids and, with a temperature, their confidence and what else is asked for."""

    def __init__(self, size: Size, num_classes: int, temperature: float | None, probabilities: bool) -> None:
        self.size = size
        self.temperature = temperature
        self.class_map = np.empty(size, np.uint8)
        self.confidence = None if temperature is None else np.empty(size, np.uint8)
        self.probabilities = np.empty((num_classes, *size), np.float16) if probabilities else None
        self._sums = np.zeros(num_classes)
        self._pixels = np.zeros(num_classes)

    def write(self, rows: Rows) -> None:
        for part in [rows] if self.temperature is None else rows.parts():
            self._write(part)

    def _write(self, rows: Rows) -> None:
        ids = rows.class_ids()
        place = slice(rows.top, rows.top + len(ids))
        found = ids.cpu().numpy()
        if found.shape == self.size:
            self.class_map = found
        else:
            self.class_map[place] = found
        if self.confidence is None or self.temperature is None:
            return
        probability = rows.probability(ids, self.temperature).cpu()
        self.confidence[place] = (probability * 255).round_().to(torch.uint8).numpy()
        if self.probabilities is not None:
            self.probabilities[:, place] = rows.probabilities(self.temperature).cpu().numpy()
        flat = self.class_map[place].ravel()
        self._sums += np.bincount(flat, probability.double().flatten().numpy(), minlength=len(self._sums))
        self._pixels += np.bincount(flat, minlength=len(self._pixels))

    def mean_confidence(self) -> tuple[float, ...]:
        return tuple((self._sums / np.maximum(self._pixels, 1)).tolist())
