"""Runs one training in several processes, which `torchrun` starts; a single process needs no setup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(hours=2)  # how long the other processes wait while the first surveys the data, or scores the network
Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """This process's rank and the number of processes; by default a single process."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What `make` returns in the first process, in every process; the others wait for it and do not call `make`."""
        if self.size == 1:
            return make()
        values = [make() if self.first else None]
        dist.broadcast_object_list(values)
        return cast(Value, values[0])

    def wait(self) -> None:
        """Blocks until every process has called it."""
        if self.size > 1:
            dist.barrier()

    def wrap(self, net: nn.Module, device: torch.device) -> nn.Module:
        """The network, with gradients averaged over the processes; on CUDA, batch norm uses the batches of all processes."""
        if self.size == 1:
            return net
        if device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(net, device_ids=[device] if device.type == "cuda" else None)


@contextmanager
def join(device: torch.device) -> Iterator[tuple[World, torch.device]]:
    """Joins the process group for the length of the block; gives this process's world and device.

    Without `torchrun` the world has one process. On CUDA each process uses the GPU of its local rank.
    """
    if not dist.is_torchelastic_launched():
        yield World(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", dist.get_node_local_rank(0))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield World(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()
