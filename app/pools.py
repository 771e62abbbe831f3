"""The threads that requests run on: large images have their own, so that they never keep small ones waiting."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Self

import torch

from app.workers import Workers
from model.lanes import Slots

SMALL = 16
LARGE_MEGAPIXELS = 4.0
MANY_TILES = 16  # of a large image whose network takes seconds
HUGE = 2
LARGE_PRIORITY = 5  # as `nice` counts: small images go first where cores are short


class Slot:
    """A place among the cores; `left` leaves it while the thread waits. The earliest deadline goes first.

    A large image waits for none: its thread's low priority keeps it back. spreads: whether the thread has helpers, which
    take the cores that nobody works on.
    """

    def __init__(self, slots: Slots, deadline: float, *, large: bool, spreads: bool = False) -> None:
        self._slots = slots
        self._deadline = deadline
        self._large = large
        self.spreads = spreads

    def __enter__(self) -> Self:
        if self._large:
            self._slots.join(1)
        else:
            self._slots.take(self._deadline)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._large:
            self._slots.join(-1)
        else:
            self._slots.leave()

    @property
    def held(self) -> bool:
        """Whether there is a place, while it is not left."""
        return not self._large

    @contextmanager
    def left(self) -> Iterator[None]:
        """Without the place, for as long as the thread waits."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


class Pools:
    """heads: reads headers. The others decode, merge and encode. lone: on a CPU, images of one tile, which these threads
    take from their bytes to the answer's: one a core, so that none waits to be woken while another core is idle; the first
    spreads a tile over cores that nobody works on. small: images of several tiles. large: its size bounds how many large
    images are held. huge: the same for large images of many tiles, which would keep those that are scaled down waiting for
    minutes.

    Of them, bar the large ones, and of the network's lanes on a CPU, only one more than there are cores work at once
    (`slots`); the others wait for tiles, or for a slot: more would push each other's pixels out of the caches.
    """

    def __init__(self, cores: int) -> None:
        self.slots = Slots(cores + 1)
        self.heads = ThreadPoolExecutor(2, "head")
        self.lone = Workers(cores, "lone", _alone, own_cores=True)
        self.small = Workers(SMALL, "small", _alone)
        self.large = Workers(max(2, cores // 2), "large", _alone_and_later)
        self.huge = Workers(HUGE, "huge", _alone_and_later)

    def of(self, megapixels: float, tiles: int, *, lone: bool = False) -> Workers:
        """The threads for an image of this size; `lone` where they run its only tile themselves."""
        if megapixels > LARGE_MEGAPIXELS:
            return self.huge if tiles > MANY_TILES else self.large
        return self.lone if lone else self.small

    def slot(self, megapixels: float, deadline: float) -> Slot:
        """What an image of this size holds while it works."""
        return Slot(self.slots, deadline, large=megapixels > LARGE_MEGAPIXELS, spreads=self.lone.first)

    def shutdown(self) -> None:
        self.heads.shutdown(wait=False, cancel_futures=True)
        for pool in (self.lone, self.small, self.large, self.huge):
            pool.shutdown()


def _alone() -> None:
    """Cores go to the network's lanes: a request's own tensors take one thread, and it pushes no lane off when it wakes."""
    torch.set_num_threads(1)
    if hasattr(os, "SCHED_BATCH"):
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _alone_and_later() -> None:
    _alone()
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LARGE_PRIORITY)
