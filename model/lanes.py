"""How many tiles a predictor runs at once, and with how many threads each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor

from model.predictor import Predictor, Tile

CUDA_LANES = 2  # while one computes, the other's tiles are copied


class Slots:
    """So many may work at once: those who run tiles, and others on the same cores; `held` counts them."""

    def __init__(self, count: int) -> None:
        self.held = 0
        self._free = threading.Semaphore(count)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._free.acquire()
        with self._lock:
            self.held += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self.held -= 1
        self._free.release()


class Lanes:
    """A predictor for several threads: up to `count` calls run, others wait.

    On a CPU one thread a tile wastes least, and a lone tile takes all `threads`. That is done in bfloat16, whose logits
    do not depend on the number of threads; in float32 they do, in the last digits, so that each tile has all threads.
    slots: what a call on the CPU holds while it runs, beside others who work on the same cores.
    """

    def __init__(self, predictor: Predictor, threads: int, slots: Slots | None = None) -> None:
        self.predictor = predictor
        self.threads = threads
        self.cpu = predictor.device.type == "cpu"
        self.count = 1
        if self.cpu and predictor.dtype_name == "bfloat16":
            self.count = threads
        elif predictor.device.type == "cuda":
            self.count = CUDA_LANES
        self._free = threading.Semaphore(self.count)
        self._slots = slots if slots and self.cpu else Slots(self.count)
        self._lock = threading.Lock()
        self._calls = 0

    @property
    def batch_tiles(self) -> int | None:
        """The most tiles that are worth a batch, or None for as many as fit: a CPU gains nothing by batches."""
        return 1 if self.cpu else None

    def logits(self, tiles: Sequence[Tile]) -> Tensor:
        """What the predictor gives for these tiles."""
        with self._counted(), self._free, self._slots:
            if self.cpu:
                # those that wait for a slot count, too: a moment without them is no reason to take all cores
                beside = max(min(self._calls, self.count), self._slots.held)
                torch.set_num_threads(max(1, self.threads // beside) if self.count > 1 else self.threads)
            return self.predictor.logits(tiles)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
