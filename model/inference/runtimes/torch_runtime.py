"""Runs a network with PyTorch: on CUDA, on Apple's GPUs, or on a CPU for which there is no export or no OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.inference.cores import available_cores
from model.inference.merging import Logits
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, ModelIdentity, RuntimeUnavailable, Tile
from model.networks.device import choose_device, choose_dtype, dtype_name
from model.networks.servable import ServableNetwork
from model.weights_file import Weights

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDA_CALLS = 2  # one call's tiles are copied while the other computes


class TorchRuntime:
    """A master's network in PyTorch. Several threads may call `logits`.

    A CPU runs one call at a time. A CUDA device runs `CUDA_CALLS` at a time, each on its own stream. Further calls wait. On
    CUDA, convolutions of the whole process compute float32 as IEEE 754: by default PyTorch uses TensorFloat-32, with a
    mantissa of 10 bits.

    device: as for `choose_device`. precision: `auto`, `float32`, `bfloat16` or `float16`. threads: CPU threads of the whole
    process; 0 for one per core. shifts: shift-and-stitch runs per axis; 1 for none. Raises `RuntimeUnavailable` or
    `WeightsError`.
    """

    def __init__(
        self, weights: Weights, device: str = "auto", precision: str = "auto", threads: int = 0, shifts: int = 1
    ) -> None:
        try:
            self._device = choose_device(device)
            dtype = choose_dtype(precision, self._device)
        except ValueError as error:
            raise RuntimeUnavailable(str(error)) from error
        self.device = str(self._device)
        self.manifest, self.file_sha256, self.network_sha256 = weights.manifest, weights.sha256, ""
        self.identity = ModelIdentity(weights.name, weights.sha256, "torch", dtype_name(dtype))
        network = ServableNetwork(weights, dtype, shifts)
        self.stride, self.grid = network.stride, network.grid
        self._network = network.to(self._device)
        cpu, cuda = self._device.type == "cpu", self._device.type == "cuda"
        if cpu:
            self._network.to(memory_format=torch.channels_last)
        self._streams: SimpleQueue[torch.cuda.Stream] = SimpleQueue()
        if cuda:
            torch.backends.cudnn.allow_tf32 = False
            # reused by all calls: the allocator keeps memory for each stream; a new stream for each call takes 32 times as much
            for _ in range(CUDA_CALLS):
                self._streams.put(torch.cuda.Stream(self._device))  # type: ignore[no-untyped-call]
            torch.cuda.synchronize(self._device)  # waits for the weights, which were copied on the default stream
        # a convolution's rounding depends on the batch size; in batches of one, a tile's logits do not depend on other tiles
        self.max_batch: int | None = 1 if cpu else None
        self.max_concurrency = CUDA_CALLS if cuda else 1
        self._one_call = Lock() if cpu else None
        self._threads = threads or available_cores()

    def concurrency(self, tiles: int) -> int:
        """As `Runtime.concurrency`. It does not depend on the number of tiles."""
        return self.max_concurrency

    @torch.inference_mode()
    def logits(self, tiles: Sequence[Tile]) -> Logits:
        """As `Runtime.logits`."""
        with _mapped_errors():
            if self._device.type == "cuda":
                return self._on_stream(tiles)
            if self._one_call is None:
                return self._run(np.stack(tiles))
            with self._one_call:
                if torch.get_num_threads() != self._threads:
                    torch.set_num_threads(self._threads)
                return np.concatenate([self._run(tile[None]) for tile in tiles])

    def describe(self) -> dict[str, str]:
        facts = {"runtime": "torch", "version": torch.__version__, "device": self.device, "precision": self.identity.precision}
        return facts | {"file_sha256": self.file_sha256}

    def _run(self, batch: Tile) -> Logits:
        pixels = torch.from_numpy(np.require(batch, None, ["C", "W"]))
        logits: Logits = self._network(pixels.to(self._device)).cpu().numpy()
        return logits

    def _on_stream(self, tiles: Sequence[Tile]) -> Logits:
        """Copies, runs and waits on one stream, so that the copies of one call overlap the computation of another."""
        host = torch.empty((len(tiles), *tiles[0].shape), dtype=torch.uint8, pin_memory=True)
        np.stack(tiles, out=host.numpy())
        stream = self._streams.get()
        try:
            with torch.cuda.stream(stream):
                pixels = host.to(self._device, non_blocking=True)
                # channels first: cuDNN plans each new tile shape and batch size in 0.1 s; with channels last it takes 1 s
                planes = pixels.permute(0, 3, 1, 2).contiguous()
                logits = self._network(planes.permute(0, 2, 3, 1))
                host_logits = torch.empty(logits.shape, dtype=logits.dtype, pin_memory=True)
                host_logits.copy_(logits, non_blocking=True)
            stream.synchronize()
        finally:
            self._streams.put(stream)
        return host_logits.numpy()


def sees_gpu() -> bool:
    """Whether torch can use an NVIDIA GPU here."""
    return torch.cuda.is_available()


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Raises torch's errors of a device as `DeviceOutOfMemory` or `DeviceLost`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceOutOfMemory(f"the device's memory is full: {error}") from error
    except torch.AcceleratorError as error:
        raise DeviceLost(f"the device is broken: {error}") from error
