"""Loads batches of augmented crops.

The seed and the epoch determine the order; processes and workers share the batches.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from training.learning.augmentation import AugmentedSplit, mixed
from training.learning.distributed import World
from training.learning.recipe import Recipe

Batch = tuple[Tensor, Tensor]


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Yields a list of (epoch, index) for each step: this process's share of the step's batch.

    All processes draw the same order, so the frames of a step do not depend on the number of processes.
    """

    def __init__(self, frames: int, recipe: Recipe, world: World) -> None:
        if recipe.batch % world.size:
            raise ValueError(f"batch must be a multiple of the {world.size} processes, got {recipe.batch}")
        self.frames, self.recipe, self.world = frames, recipe, world
        self.epoch_frames = min(frames, recipe.frames_per_epoch or frames)
        self.epoch = 0

    def __len__(self) -> int:
        return max(1, self.epoch_frames // self.recipe.batch)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(mixed(self.recipe.seed, self.epoch))
        order = torch.randperm(self.frames, generator=generator).tolist()
        batch = min(self.recipe.batch, self.epoch_frames)
        for start in range(0, len(self) * batch, batch):
            yield [(self.epoch, index) for index in order[start : start + batch][self.world.rank :: self.world.size]]


class Loader:
    """Gives this process its batches of each epoch; worker processes live as long as the loader."""

    def __init__(self, data: AugmentedSplit, recipe: Recipe, world: World, device: torch.device, workers: int) -> None:
        self.batches = EpochBatches(len(data), recipe, world)
        self._loader: DataLoader[Batch] = DataLoader(
            data,
            batch_sampler=self.batches,
            num_workers=workers,
            # a forked worker can deadlock: it inherits locks, but not the library threads that would release them
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of this epoch: uint8 images (N, 3, h, w) and int64 masks (N, h, w)."""
        self.batches.epoch = epoch
        with _interrupts_blocked():
            return iter(self._loader)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Blocks SIGINT in this process, and for good in the processes that it starts inside the block.

    A terminal sends Ctrl-C to all processes; workers ignore it and end with the training, without a traceback. A signal that
    arrives inside the block reaches this process right after it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
