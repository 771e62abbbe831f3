"""The network, ready to run: on its device, in its precision, folded and warmed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.device import choose_device, choose_dtype
from model.folding import fold_batch_norm
from model.shift_and_stitch import ShiftAndStitch
from model.tiling import Size, tile_sides
from model.weights_file import Weights


class Predictor:
    """Maps tiles to logits. Not for several threads at once: one owner calls it.

    device, dtype: names as `choose_device` and `choose_dtype` take them; those raise `DeviceError`.
    shifts: per axis, of shift-and-stitch; 1 for none.
    """

    def __init__(self, weights: Weights, device: str = "auto", dtype: str = "auto", shifts: int = 1) -> None:
        self.weights = weights
        self.manifest = weights.manifest
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        net = weights.network()
        fold_batch_norm(net)
        whole = ShiftAndStitch(net, shifts) if shifts != 1 else net
        self.net = whole.to(self.device, self.dtype).to(memory_format=torch.channels_last)

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @torch.inference_mode()
    def logits(self, tiles: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        """Float32 logits (N, classes, height, width) in host memory, of N uint8 tiles (height, width, 3) of one shape."""
        if self.device.type == "cpu":
            # a convolution's rounding depends on the batch's size, and a batch gains a processor nothing:
            # one by one, a tile's logits do not depend on its neighbours
            outputs = [self._forward([tile]) for tile in tiles]
            return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return self._forward(tiles).cpu()

    def _forward(self, tiles: Sequence[npt.NDArray[np.uint8]]) -> Tensor:
        batch = torch.from_numpy(np.stack(tiles)).to(self.device).permute(0, 3, 1, 2)
        logits: Tensor = self.net(self.manifest.preprocessing.normalise(batch, self.dtype))
        return logits

    def warm_up(
        self, tile: Size, batch_sizes: Sequence[int] = (1,), progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Runs every shape that plans with this tile can have, with these batch sizes."""
        shapes = list(product(tile_sides(tile[0]), tile_sides(tile[1]), batch_sizes))
        for done, (height, width, count) in enumerate(shapes, 1):
            self.logits([np.zeros((height, width, 3), np.uint8)] * count)
            if progress:
                progress(done, len(shapes))
