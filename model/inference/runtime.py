"""The protocol of runtimes, which run the network; a stand-in for a runtime in another process; and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.architecture import Grid
from model.inference.merging import Logits
from model.manifest import Manifest

Tile = npt.NDArray[np.uint8]


class RuntimeUnavailable(ValueError):
    """A runtime, device or precision that this machine, this installation or this file does not support."""


class DeviceOutOfMemory(RuntimeError):
    """The device has too little free memory for these tiles at the moment."""


class DeviceLost(RuntimeError):
    """The device has failed, and works again only after the process is restarted."""


@dataclass(frozen=True)
class ModelIdentity:
    """How answers identify the model: its name, the sha256 of its master, and the runtime and precision that run it.

    instructions: oneDNN's name of the widest set that it uses, since logits may differ in their last bits; empty for other
    runtimes, and where it is not known.
    """

    name: str
    sha256: str
    runtime: str
    precision: str
    instructions: str = ""


class Runtime(Protocol):
    """A network, ready to run. Several threads may call `logits`.

    file_sha256: of the loaded file, a master or an export. network_sha256: of an export's network without its facts; empty for
    a master. stride: pixels per cell of the logits. grid: where in those pixels the cell lies. max_batch: the most tiles
    that are useful in a call. max_pixels: the most pixels of a call's tiles for which the device has memory, as far as it was
    measured; None without such a limit. max_concurrency: the largest useful number of calls at the same time.
    """

    identity: ModelIdentity
    file_sha256: str
    network_sha256: str
    manifest: Manifest
    device: str
    stride: int
    grid: Grid
    max_batch: int
    max_pixels: int | None
    max_concurrency: int

    def concurrency(self, tiles: int) -> int:
        """The useful number of calls at the same time, 1 to `max_concurrency`, while `tiles` tiles wait or run."""
        ...

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        """Float32 logits (N, classes, height / stride, width / stride) of N uint8 tiles (height, width, bands) of one shape.

        Raises `DeviceOutOfMemory` or `DeviceLost`.
        """
        ...

    def describe(self) -> dict[str, str]:
        """The runtime, its version, its device, its precision and the loaded file's sha256, for logs and `/info`."""
        ...


@dataclass(eq=False)
class Device:
    """A runtime, and what a scheduler knows of its device.

    max_pixels: the most pixels of tiles in a call that fit its memory, as far as is known; None without a limit.
    background_time: of the scheduler's clock; while requests come, no tile of the background starts earlier.
    """

    runtime: Runtime
    max_pixels: int | None
    background_time: float = -inf


def most_tiles(shape: tuple[int, ...], max_batch: int, max_pixels: int | None) -> int:
    """The most tiles of this shape (height, width, bands) in a call, under limits as of a `Runtime`; at least 1."""
    return max_batch if max_pixels is None else max(1, min(max_batch, max_pixels // (shape[0] * shape[1])))


@dataclass
class DistantRuntime:
    """The attributes of a runtime in another process, for a `Segmenter` that sends its tiles there. Its `logits` raises."""

    identity: ModelIdentity
    file_sha256: str
    network_sha256: str
    manifest: Manifest
    device: str
    stride: int
    grid: Grid
    max_batch: int
    max_pixels: int | None
    max_concurrency: int

    @classmethod
    def of(cls, runtime: Runtime) -> DistantRuntime:
        return cls(**{field.name: getattr(runtime, field.name) for field in fields(cls)})

    def concurrency(self, tiles: int) -> int:
        return self.max_concurrency

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        raise RuntimeError("the network is in another process; give `segment` a `run` that sends tiles there")

    def describe(self) -> dict[str, str]:
        return {"runtime": self.identity.runtime, "device": self.device, "precision": self.identity.precision}
