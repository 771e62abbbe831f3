"""Segments in this process, with a network of its own."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from cli.arguments import rendering
from imaging.answer import Answer
from imaging.decoding import Limits, decode, read_size
from model.cores import available_cores
from model.lanes import Lane, Lanes, Slots
from model.memory import keep_freed_memory
from model.predictor import Predictor, Tile
from model.segmentation import Options, Run, plan_image, run_in_batches, segment
from model.tiling import TilePlan, TilingError
from model.weights_file import find_weights, load_weights

MANY = 2  # times as many tiles as there are lanes: fewer leave lanes idle, and are done sooner one by one on all threads


def load_segmenter(args: argparse.Namespace) -> Segmenter:
    """The segmenter that the arguments ask for. Raises `OSError`, `WeightsError`, `DeviceError` or `TilingError`."""
    keep_freed_memory()
    threads = args.threads or available_cores()
    torch.set_num_threads(threads)
    weights = load_weights(find_weights(args.weights))
    predictor = Predictor(weights, args.device, args.dtype, graphs=args.cuda_graphs)
    return Segmenter(Lanes(predictor, threads, Slots(threads + 1)), args)


class Segmenter:
    """From an image file's bytes to the answer's, as the service's corridor goes; for several threads at once.

    Where a tile does not need all cores, a thread holds one of the lanes' slots from bytes to answer, so that a tile takes
    only cores on which no other image is decoded or merged.
    """

    def __init__(self, lanes: Lanes, args: argparse.Namespace) -> None:
        self.lanes = lanes
        self.predictor = lanes.predictor
        self.options = Options(args.tile, args.overlap, args.blend, args.side)
        self.rendering = rendering(args)
        self.limits = Limits(args.max_megapixels)
        self._threads = ThreadPoolExecutor(lanes.count, "tiles")
        if not 0 <= args.overlap <= 0.5:
            raise TilingError(f"overlap must be between 0 and 0.5, got {args.overlap}")

    @property
    def workers(self) -> int:
        """Threads that keep every lane busy while images are read, decoded, encoded and written."""
        return max(self.lanes.count, self.lanes.threads) + 1

    def __call__(self, data: bytes, name: str = "image") -> bytes:
        """The answer for an image file's bytes; `name` is the image's, for formats that hold it."""
        with self.lanes.slots if self.lanes.placed else nullcontext():
            return self._answer(data, name)

    def _answer(self, data: bytes, name: str) -> bytes:
        manifest, limits = self.predictor.manifest, self.limits
        size = read_size(data, limits)
        self.rendering.check(size)
        plan = plan_image(size, self.options, manifest.preprocessing.side)
        image = decode(data, limits, plan.size)
        result = segment(
            image, plan, self._run(plan), num_classes=len(manifest.labels),
            grid=self.predictor.grid, size=size,
            temperature=(manifest.temperature or 1.0) if self.rendering.needs_confidence else None,
            probabilities=self.rendering.needs_probabilities,
        )  # fmt: skip
        photo = None
        if self.rendering.needs_photo:
            photo = image if image.shape[:2] == size else decode(data, limits)
        identity = self.predictor.weights.identity
        return Answer.of(result, manifest.labels, identity, plan.describe(), photo).encode(replace(self.rendering, name=name))

    def _run(self, plan: TilePlan) -> Run:
        if not self.lanes.placed:
            return run_in_batches(self.lanes)
        spreading, single = self.lanes.placed
        if len(plan) >= MANY * self.lanes.count:
            return partial(self._side_by_side, single)
        return run_in_batches(spreading)

    def _side_by_side(self, lane: Lane, tiles: Iterator[Tile]) -> Iterator[Tensor]:
        """Logits of an image's tiles, in order, a lane for each; one more waits, so that none is idle meanwhile."""
        torch.set_num_threads(1)  # of this thread, which merges: as `Lanes` leaves it after a call
        ahead: deque[Future[Tensor]] = deque()
        for tile in tiles:
            ahead.append(self._threads.submit(lane.logits, [tile]))
            if len(ahead) > self.lanes.count:
                yield ahead.popleft().result()[0]
        while ahead:
            yield ahead.popleft().result()[0]
