"""How many tiles a predictor runs at once, and with how many threads each."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple, Self

import torch
from torch import Tensor

from model.cores import on_every_core
from model.predictor import Predictor, Tile

CUDA_LANES = 2  # while one computes, the other's tiles are copied


class Slots:
    """So many may work at once (None: any number): those who run tiles, and others on the same cores; `held` counts them.

    A place that becomes free is handed to who waits with the lowest order, of equals to who came first. `beside` counts
    those who work there without a place.
    """

    def __init__(self, count: int | None) -> None:
        self.held = 0
        self.beside = 0
        self._count = count
        self._lock = threading.Lock()
        self._arrivals = itertools.count()
        self._waiting: list[tuple[float, int, threading.Event]] = []

    @property
    def working(self) -> int:
        """Threads that work there, with a place or without."""
        return self.held + self.beside

    def take(self, order: float = 0.0) -> None:
        """Waits for a place."""
        with self._lock:
            if self._count is None or self.held < self._count:
                self.held += 1
                return
            handed = threading.Event()
            heapq.heappush(self._waiting, (order, next(self._arrivals), handed))
        handed.wait()

    def leave(self) -> None:
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[2].set()
            else:
                self.held -= 1

    def join(self, threads: int) -> None:
        """Counts so many threads that work without a place; negative when they end."""
        with self._lock:
            self.beside += threads

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.leave()


class Lanes:
    """A predictor for several threads: up to `count` calls run, others wait.

    On a CPU one thread a tile wastes least, and a lone tile takes all `threads`. That is done where the logits are the
    same bits either way, which is tried; elsewhere each tile has all threads.
    A call leaves its thread with one for other tensors: merging is too many small steps to be shared.
    slots: what a call on the CPU holds while it runs, beside others who work on the same cores.
    """

    def __init__(self, predictor: Predictor, threads: int, slots: Slots | None = None) -> None:
        self.predictor = predictor
        self.threads = threads
        self.cpu = predictor.device.type == "cpu"
        self.count = 1
        if self.cpu and predictor.steady({threads // calls for calls in range(1, threads + 1)}):
            self.count = threads
        elif predictor.device.type == "cuda":
            self.count = CUDA_LANES
        self._running = Slots(self.count)
        self.slots = slots if slots and self.cpu else Slots(self.count)
        self._calls = Slots(None)

    @property
    def batch_tiles(self) -> int | None:
        """The most tiles that are worth a batch, or None for as many as fit: a CPU gains nothing by batches."""
        return 1 if self.cpu else None

    def each(self) -> list[Lane]:
        """A lane for each thread of a caller's own. The first alone spreads a lone tile: each thread that did would
        keep helpers of its own, which then wait for each other."""
        return [Lane(self, spreads=i == 0 or self.count == 1) for i in range(self.count)]

    @property
    def placed(self) -> tuple[Lane, Lane] | None:
        """Lanes of threads that hold a slot already, one that spreads and one that does not; where a CPU has one a thread."""
        if not self.cpu or self.count == 1:
            return None
        return Lane(self, spreads=True, placed=True), Lane(self, spreads=False, placed=True)

    def logits(self, tiles: Sequence[Tile], *, spread: bool = True, placed: bool = False) -> Tensor:
        """What the predictor gives for these tiles; `spread` lets a lone call on the CPU take all threads.

        placed: the caller holds a slot already.
        """
        with self._calls, ExitStack() as stack:
            if not placed:
                stack.enter_context(self._running)
                stack.enter_context(self.slots)
            if not self.cpu:
                return self.predictor.logits(tiles)
            threads = self._share() if spread else 1
            if threads > 1:
                stack.enter_context(on_every_core())  # helpers inherit the cores of the thread that starts them
            torch.set_num_threads(threads)
            try:
                return self.predictor.logits(tiles)
            finally:
                torch.set_num_threads(1)

    def _share(self) -> int:
        """Threads of one call; those that wait for a slot count, too: a moment without them is no reason to take all cores."""
        if self.count == 1:
            return self.threads
        return max(1, self.threads // max(min(self._calls.held, self.count), self.slots.working))


class Lane(NamedTuple):
    """One of `Lanes`, for one thread."""

    lanes: Lanes
    spreads: bool
    placed: bool = False

    def logits(self, tiles: Sequence[Tile]) -> Tensor:
        return self.lanes.logits(tiles, spread=self.spreads, placed=self.placed)
