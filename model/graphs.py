"""CUDA graphs: a network's kernels recorded once for each shape, and launched together ever after."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

WARM_RUNS = 3  # before recording, as PyTorch's notes on CUDA graphs ask: libraries choose their kernels and work space
# CUDA allows no synchronisation of the device, with which a recording begins, while another one is made
RECORDING = threading.Lock()


class Recording(NamedTuple):
    """A graph with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    given: Tensor
    result: Tensor


class Recorder:
    """Runs a function of one tensor by a recording for its shape, made when the shape is first seen.

    For one call at a time, always on one stream, so that the recordings share their memory. Launching a small network's
    hundred kernels one by one takes longer than running them.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function
        self._memory = torch.cuda.graph_pool_handle()
        self._recordings: dict[tuple[int, ...], Recording] = {}

    def __call__(self, given: Tensor) -> Tensor:
        """The function's result, in memory of its own."""
        key = tuple(given.shape)
        recording = self._recordings.get(key) or self._record(key, given)
        recording.given.copy_(given)
        recording.graph.replay()
        return recording.result.clone()

    def _record(self, key: tuple[int, ...], given: Tensor) -> Recording:
        static = given.clone()
        for _ in range(WARM_RUNS):
            self.function(static)
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        # other threads go on allocating and launching meanwhile
        with RECORDING, torch.cuda.graph(graph, self._memory, stream, capture_error_mode="thread_local"):
            result = self.function(static)
        self._recordings[key] = recording = Recording(graph, static, result)
        return recording


class CudaLane:
    """A stream for one call at a time, and the function that is run there, recorded or not."""

    def __init__(self, function: Callable[[Tensor], Tensor], device: torch.device, graphs: bool) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.graphs = graphs
        self.run = Recorder(function) if graphs else function

    def padded(self, tiles: int) -> int:
        """The batch to run for so many tiles: with recordings, the next power of two, so that there are few of them."""
        return 1 << (tiles - 1).bit_length() if self.graphs else tiles
