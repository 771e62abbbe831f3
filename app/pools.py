"""The threads that requests run on: large images have their own, so that they never keep small ones waiting."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Executor, ThreadPoolExecutor

import torch

SMALL = 16
LARGE_MEGAPIXELS = 4.0
LARGE_PRIORITY = 5  # as `nice` counts: small images go first where cores are short


class Pools:
    """heads: reads headers. small, large: decode, merge and encode; the last bounds how many large images are held."""

    def __init__(self, cores: int) -> None:
        self.heads = ThreadPoolExecutor(2, "head")
        self.small = ThreadPoolExecutor(SMALL, "small", _alone)
        self.large = ThreadPoolExecutor(max(2, cores // 2), "large", _alone_and_later)

    def of(self, megapixels: float) -> Executor:
        return self.large if megapixels > LARGE_MEGAPIXELS else self.small

    def shutdown(self) -> None:
        for pool in (self.heads, self.small, self.large):
            pool.shutdown(wait=False, cancel_futures=True)


def _alone() -> None:
    """Cores go to the network's lanes; a request's own tensors take one thread."""
    torch.set_num_threads(1)


def _alone_and_later() -> None:
    _alone()
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LARGE_PRIORITY)
