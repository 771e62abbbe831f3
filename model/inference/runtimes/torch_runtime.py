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
from model.inference.runtime import DeviceLost, DeviceOutOfMemory, ModelIdentity, Runtime, RuntimeUnavailable, Tile, most_tiles
from model.networks.device import choose_device, choose_dtype, dtype_name
from model.networks.servable import ServableNetwork
from model.weights_file import Weights

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDA_CALLS = 2  # one call's tiles are copied while the other computes
# numbers of tiles that a GPU runs at once; calls with other numbers are filled up, because cuDNN plans each number anew
BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64)
MPS_BATCH = 8
MEASURED_TILES = (4, 1)  # of a call whose memory is measured: the first of these that fits
MOST_PIXELS = BATCHES[-1] * 512 * 512  # of a call: its tiles take 50 MB of the host's memory, locked for the copy
MEMORY_SHARE = 0.5  # of the device's free memory, for the calls; the rest is for other networks, and what is not measured


class TorchRuntime(Runtime):
    """A master's network in PyTorch. Several threads may call `logits`.

    A CPU runs one call at a time. A CUDA device runs `CUDA_CALLS` at a time, each on its own stream. Further calls wait. Only
    one thread at a time launches a network, so calls do not delay each other's launches; copies to and from the device and
    waiting for it go on meanwhile. `max_pixels` is measured on CUDA: the memory of one call decides how many pixels of tiles
    each call may have. It is less exact while another network runs. On CUDA, convolutions of the whole process compute float32
    as IEEE 754: by default PyTorch uses TensorFloat-32, with a mantissa of 10 bits.

    device: as for `choose_device`. precision: `auto`, `float32`, `bfloat16` or `float16`. threads: CPU threads of the whole
    process; 0 for one per core. shifts: shift-and-stitch runs per axis; 1 for none. Raises `RuntimeUnavailable`,
    `WeightsError`, or `DeviceOutOfMemory`.
    """

    version = str(torch.__version__)

    def __init__(
        self, weights: Weights, device: str = "auto", precision: str = "auto", threads: int = 0, shifts: int = 1
    ) -> None:
        try:
            self._device = choose_device(device)
            dtype = choose_dtype(precision, self._device)
        except ValueError as error:
            raise RuntimeUnavailable(str(error)) from error
        identity = ModelIdentity(weights.name, weights.sha256, "torch", dtype_name(dtype))
        network = ServableNetwork(weights, dtype, shifts)
        super().__init__(identity, weights.sha256, "", weights.manifest, network.stride, network.grid, device=str(self._device))
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
        self.max_batch = 1 if cpu else BATCHES[-1] if cuda else MPS_BATCH
        self.max_concurrency = CUDA_CALLS if cuda else 1
        self._one_call = Lock() if cpu else None
        self._launch = Lock()
        self._threads = threads or available_cores()
        if cuda:
            self.max_pixels = self._measure_pixels()

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

    def _run(self, batch: Tile) -> Logits:
        pixels = torch.from_numpy(np.require(batch, None, ["C", "W"]))
        logits: Logits = self._network(pixels.to(self._device)).cpu().numpy()
        return logits

    def _on_stream(self, tiles: Sequence[Tile]) -> Logits:
        """Copies, runs and waits on one stream, so that the copies of one call overlap the computation of another."""
        count = len(tiles)
        most = most_tiles(tiles[0].shape, self.max_batch, self.max_pixels)
        host = torch.empty((filled_count(count, most), *tiles[0].shape), dtype=torch.uint8, pin_memory=True)
        np.stack(tiles, out=host.numpy()[:count])
        host.numpy()[count:] = 0
        stream = self._streams.get()
        try:
            with torch.cuda.stream(stream):
                pixels = host.to(self._device, non_blocking=True)
                # channels first: cuDNN plans each new tile shape and batch size in 0.1 s; with channels last it takes 1 s
                planes = pixels.permute(0, 3, 1, 2).contiguous()
                with self._launch:
                    logits = self._network(planes.permute(0, 2, 3, 1))[:count]
                host_logits = torch.empty(logits.shape, dtype=logits.dtype, pin_memory=True)
                host_logits.copy_(logits, non_blocking=True)
            stream.synchronize()
        finally:
            self._streams.put(stream)
        return host_logits.numpy()

    @torch.inference_mode()
    def _measure_pixels(self) -> int:
        """How many pixels of tiles a call may have for `CUDA_CALLS` of them to fit. Raises `DeviceOutOfMemory`."""
        height, width = self.manifest.preprocessing.tile
        channels = self.manifest.preprocessing.channels
        for count in MEASURED_TILES:
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
            try:
                with _mapped_errors():
                    self._on_stream([np.zeros((height, width, channels), np.uint8)] * count)
            except DeviceOutOfMemory:
                if count == MEASURED_TILES[-1]:
                    raise
                continue
            call_bytes = torch.cuda.max_memory_allocated(self._device) - before
            free = torch.cuda.mem_get_info(self._device)[0] + torch.cuda.memory_reserved(self._device) - before
            return min(MOST_PIXELS, pixels_that_fit(call_bytes=call_bytes, pixels=count * height * width, free=free))
        raise AssertionError("MEASURED_TILES is empty")


def filled_count(count: int, most: int) -> int:
    """The number of tiles to run for `count` of them: the next of `BATCHES`, but no more than `most`, the most that fit."""
    return max(count, min(most, next((size for size in BATCHES if size >= count), count)))


def pixels_that_fit(*, call_bytes: int, pixels: int, free: int) -> int:
    """Pixels of tiles in each of `CUDA_CALLS` calls that fit in `MEMORY_SHARE` of the free bytes.

    call_bytes: bytes that a call with `pixels` pixels took; at least the pixels themselves count, as uint8 RGB.
    """
    return int(MEMORY_SHARE * free / CUDA_CALLS / (max(call_bytes, 3 * pixels) / pixels))


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
