"""How many tiles a predictor runs at once, and with how many threads each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from model.predictor import Predictor, Tile

CUDA_LANES = 2  # while one computes, the other's tiles are copied


class Lanes:
    """A predictor for several threads: up to `count` calls run, others wait.

    On a CPU one thread a tile wastes least, and a lone tile takes all `threads`. That is done in bfloat16, whose logits
    do not depend on the number of threads; in float32 they do, in the last digits, so that each tile has all threads.
    """

    def __init__(self, predictor: Predictor, threads: int) -> None:
        self.predictor = predictor
        self.threads = threads
        self.cpu = predictor.device.type == "cpu"
        self.count = 1
        if self.cpu and predictor.dtype_name == "bfloat16":
            self.count = threads
        elif predictor.device.type == "cuda":
            self.count = CUDA_LANES
        self._slots = threading.Semaphore(self.count)
        self._lock = threading.Lock()
        self._busy = 0

    @property
    def batch_tiles(self) -> int | None:
        """The most tiles that are worth a batch, or None for as many as fit: a CPU gains nothing by batches."""
        return 1 if self.cpu else None

    def logits(self, tiles: Sequence[Tile]) -> Tensor:
        """What the predictor gives for these tiles."""
        with self._slots, self._share() as threads:
            if self.cpu:
                torch.set_num_threads(threads)
            return self.predictor.logits(tiles)

    @contextmanager
    def _share(self) -> Iterator[int]:
        """The threads for one more call, beside those that run."""
        with self._lock:
            self._busy += 1
            threads = max(1, self.threads // self._busy)
        try:
            yield threads
        finally:
            with self._lock:
                self._busy -= 1
