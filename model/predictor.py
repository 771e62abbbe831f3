"""The network, ready to run: on its device, in its precision, folded and warmed up."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.activated import activate_convolutions
from model.device import choose_device, choose_dtype, dtype_name
from model.folding import fold_batch_norm
from model.graphs import CudaLane
from model.pointwise import use_products
from model.preprocessing import Preprocessing
from model.shift_and_stitch import ShiftAndStitch
from model.tiling import Size, tile_sides
from model.tracing import traced
from model.weights_file import Weights

Tile = npt.NDArray[np.uint8]
PRIMITIVES = 8192  # of oneDNN that are kept: a network's convolutions in all of a tile's shapes; by default too few for half
EXAMPLES = ((64, 96), (96, 32))  # of sides that a graph of the network is compared with it on
TRIED = ((64, 64), (64, 192), (192, 256))  # small maps are what threads share in odd ways


class PixelScores(nn.Module):
    """A network and what comes before it: uint8 pixels (N, height, width, 3) to float32 scores (N, classes, rows, columns)."""

    factor: Tensor
    shift: Tensor

    def __init__(self, net: nn.Module, preprocessing: Preprocessing, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype
        factor, shift = preprocessing.factors(device)
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)

    def forward(self, batch: Tensor) -> Tensor:
        images = batch.permute(0, 3, 1, 2).float().mul_(self.factor).sub_(self.shift).to(self.dtype)
        scores: Tensor = self.net.scores(images)  # type: ignore[operator]
        return scores.float()


class Predictor:
    """Maps tiles to logits. Several threads may call it at once; `model.lanes` says how many pay.

    device, dtype: names as `choose_device` and `choose_dtype` take them; those raise `DeviceError`.
    shifts: per axis, of shift-and-stitch; 1 for none. graphs: on CUDA, the network's kernels are recorded once for each
    shape. Its logits have a cell for every `stride` pixels of a tile, whose place among them is `grid`.
    """

    def __init__(
        self, weights: Weights, device: str = "auto", dtype: str = "auto", shifts: int = 1, *, graphs: bool = False
    ) -> None:
        # read by oneDNN when it runs for the first time; has no other setting
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRIMITIVES))
        self.weights = weights
        self.manifest = weights.manifest
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        net = weights.network()
        fold_batch_norm(net)
        whole = ShiftAndStitch(net, shifts) if shifts != 1 else net
        self.stride, self.grid = whole.score_stride, whole.grid
        if self.device.type == "cpu" and self.dtype == torch.float32:
            use_products(whole)
        if self.device.type == "cpu":
            activate_convolutions(whole, self.dtype)
        self.net = whole.to(self.device, self.dtype).to(memory_format=torch.channels_last)
        self._graphs = graphs
        scores = PixelScores(self.net, self.manifest.preprocessing, self.device, self.dtype).eval()
        self._scores = traced(scores, *_examples()) if self.device.type == "cpu" else scores
        self._idle_lanes: list[CudaLane] = []

    @property
    def dtype_name(self) -> str:
        return dtype_name(self.dtype)

    @torch.inference_mode()
    def logits(self, tiles: Sequence[Tile]) -> Tensor:
        """Float32 logits (N, classes, height / stride, width / stride), on the device, of N uint8 tiles (height, width, 3)."""
        if self.device.type == "cpu":
            # a convolution's rounding depends on the batch's size, and a batch gains a processor nothing:
            # one by one, a tile's logits do not depend on its neighbours
            outputs = [self._scores(torch.from_numpy(np.require(tile, None, ["C", "W"])[None])) for tile in tiles]
            return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        if self.device.type == "cuda":
            return self._on_stream(tiles)
        return self._scores(torch.from_numpy(np.stack(tiles)).to(self.device))

    @torch.inference_mode()
    def steady(self, threads: Collection[int]) -> bool:
        """Whether a CPU gives the same bits with each of these numbers of threads: tried, on tiles of noise."""
        before = torch.get_num_threads()
        noise = np.random.default_rng(0)
        try:
            return all(self._same(torch.from_numpy(noise.integers(0, 256, (1, *side, 3), np.uint8)), threads) for side in TRIED)
        finally:
            torch.set_num_threads(before)

    def _same(self, batch: Tensor, threads: Collection[int]) -> bool:
        found: Tensor | None = None
        for count in threads:
            torch.set_num_threads(count)
            scores = self._scores(batch)
            if found is not None and not torch.equal(scores, found):
                return False
            found = scores
        return True

    def _on_stream(self, tiles: Sequence[Tile]) -> Tensor:
        """Copies, runs and waits on a stream of this call's own, so that one's copy overlaps another's network."""
        try:
            lane = self._idle_lanes.pop()
        except IndexError:
            lane = CudaLane(self._scores, self.device, self._graphs)
        count = lane.padded(len(tiles))
        host = torch.empty((count, *tiles[0].shape), dtype=torch.uint8, pin_memory=True)
        np.stack(tiles, out=host.numpy()[: len(tiles)])
        with torch.cuda.stream(lane.stream):
            scores = lane.run(host.to(self.device, non_blocking=True))[: len(tiles)]
        lane.stream.synchronize()
        # whoever merges them works on the default stream: their memory is not to be given away before that is done
        scores.record_stream(torch.cuda.default_stream(self.device))
        self._idle_lanes.append(lane)
        return scores

    def warm_up(
        self, tile: Size, batch_sizes: Sequence[int] = (1,), progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Runs every shape that plans with this tile can have, with these batch sizes."""
        shapes = list(product(tile_sides(tile[0]), tile_sides(tile[1]), batch_sizes))
        for done, (height, width, count) in enumerate(shapes, 1):
            self.logits([np.zeros((height, width, 3), np.uint8)] * count)
            if progress:
                progress(done, len(shapes))


def _examples() -> list[Tensor]:
    return [torch.randint(0, 256, (1, *side, 3), dtype=torch.uint8) for side in EXAMPLES]
