"""Loads batches of augmented crops.

The seed and the epoch determine the order; processes and workers share the batches.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from training.learning.augmentation import AugmentedSplit, combine_seeds
from training.learning.distributed import World
from training.learning.recipe import Recipe

Batch = tuple[Tensor, Tensor]
Sets = Sequence[tuple[float, Sequence[int]]]
PREFETCHED = 2  # batches of each worker that wait, as `DataLoader` has it
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # the system's own name


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """Yields a list of (epoch, index) for each step: this process's share of the step's batch.

    sets: for each set of a mixture, its weight and its frames' indices. An epoch has its share of crops of each set, and shows
    all frames of a set as often as the others, or one time less.
    All processes draw the same order, so the frames of a step do not depend on the number of processes. Their shares are
    equal. An epoch with fewer frames than the recipe's batch is one step of as many frames as the processes can share equally.
    Raises `ValueError` for a batch that they cannot share equally, and for an epoch with fewer frames than processes.
    """

    def __init__(self, frames: int, recipe: Recipe, world: World, sets: Sets = ()) -> None:
        if recipe.batch % world.size:
            raise ValueError(f"batch must be a multiple of the {world.size} processes, got {recipe.batch}")
        if frames < world.size:
            raise ValueError(f"an epoch must have a frame for each of the {world.size} processes, got {frames}")
        self.frames, self.recipe, self.world = recipe.epoch_crops or frames, recipe, world
        self.sets = sets or [(1.0, range(frames))]
        self.batch = min(recipe.batch, self.frames - self.frames % world.size)
        self.steps = recipe.steps_of_epoch(frames)
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(combine_seeds(self.recipe.seed, self.epoch))
        order = self._order(generator)
        for step in range(self.steps):
            batch = order[step * self.batch : (step + 1) * self.batch]
            yield [(self.epoch, index) for index in batch[self.world.rank :: self.world.size]]

    def _order(self, generator: torch.Generator) -> list[int]:
        """The frames of an epoch in random order."""
        weights = np.array([weight for weight, _ in self.sets])
        ends = np.rint(np.cumsum(weights) / weights.sum() * self.frames).astype(int)
        order: list[int] = []
        for (_, indices), end in zip(self.sets, ends.tolist(), strict=True):
            while len(order) < end:
                permutation = torch.randperm(len(indices), generator=generator).tolist()
                order += [indices[at] for at in permutation[: end - len(order)]]
        if len(self.sets) == 1:
            return order
        return [order[at] for at in torch.randperm(len(order), generator=generator).tolist()]


def check_shared_memory(count: int, what: str, folder: Path = SHARED_MEMORY) -> None:
    """Raises `ValueError` if shared memory cannot hold so many bytes: PyTorch's workers would end in the middle of an epoch."""
    if not folder.is_dir():
        return
    free = shutil.disk_usage(folder).free if os.access(folder, os.W_OK) else 0
    if free < count:
        raise ValueError(
            f"{what} needs {count / 1e6:.0f} MB of shared memory, and {folder} has {free / 1e6:.0f} MB that can be written: "
            "give a container more (docker run --shm-size 1g), or leave --workers out"
        )


class BatchLoader(DataLoader[Batch]):
    """Gives this process its batches of each epoch; worker processes live as long as the loader."""

    def __init__(self, data: AugmentedSplit, recipe: Recipe, world: World, device: torch.device, workers: int) -> None:
        batches = EpochBatches(len(data), recipe, world, data.sets)
        if workers:
            sample_bytes = sum(part.nbytes for part in data[0, 0])
            check_shared_memory(workers * PREFETCHED * -(-recipe.batch // world.size) * sample_bytes, f"--workers {workers}")
        super().__init__(
            data,
            batch_sampler=batches,
            num_workers=workers,
            # a forked worker can deadlock: it inherits locks, but not the library threads that would release them
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )
        self.batches = batches

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of this epoch: uint8 images (N, 3, h, w) and int64 masks (N, h, w)."""
        self.batches.epoch = epoch
        with _block_interrupts() if self.num_workers else nullcontext():
            return iter(self)


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Blocks SIGINT in this process, and for good in the processes that it starts inside the block.

    A terminal sends Ctrl-C to all processes; workers ignore it and end with the training, without a traceback. A signal that
    arrives inside the block reaches this process right after it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first process would start it, and that unblocks SIGINT
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
