"""What runtimes have in common, which run the network; and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf
from typing import ClassVar

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


@dataclass(eq=False)
class Runtime:
    """A network, ready to run: the facts of one, which a subclass runs. Several threads may call `logits`.

    By itself it stands for a runtime in another process, for a `Segmenter` that sends its tiles there; its `logits` raises.

    file_sha256: of the loaded file, a master or an export. network_sha256: of an export's network without its facts; empty for
    a master. stride: pixels per cell of the logits. grid: where in those pixels the cell lies. max_batch: the most tiles
    that are useful in a call. max_pixels: the most pixels of a call's tiles for which the device has memory, as far as it was
    measured; None without such a limit. max_concurrency: the largest useful number of calls at the same time. pace: the
    seconds that this machine takes for a second of what the file records of whole photos, once it is warmed up.
    """

    identity: ModelIdentity
    file_sha256: str
    network_sha256: str
    manifest: Manifest
    stride: int
    grid: Grid
    device: str = "cpu"
    max_batch: int = 1
    max_pixels: int | None = None
    max_concurrency: int = 1
    pace: float = 1.0
    version: ClassVar[str] = ""

    @staticmethod
    def of(runtime: Runtime) -> Runtime:
        """The facts of a runtime, which can be pickled."""
        return Runtime(**{field.name: getattr(runtime, field.name) for field in fields(Runtime)})

    def concurrency(self, tiles: int) -> int:
        """The useful number of calls at the same time, 1 to `max_concurrency`, while `tiles` tiles wait or run."""
        return self.max_concurrency

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        """Float32 logits (N, classes, height / stride, width / stride) of N uint8 tiles (height, width, bands) of one shape.

        Raises `DeviceOutOfMemory` or `DeviceLost`.
        """
        raise RuntimeError("the network is in another process; give `segment` a `run` that sends tiles there")

    def describe(self) -> dict[str, str]:
        """The runtime, its version, its device, its precision and the loaded file's sha256, for logs and `/info`."""
        facts = {"runtime": self.identity.runtime, "version": self.version, "device": self.device}
        return facts | {"precision": self.identity.precision, "file_sha256": self.file_sha256}


@dataclass(eq=False)
class Device:
    """A runtime, and what a scheduler knows of its device.

    max_pixels: the most pixels of tiles in a call that fit its memory, as far as is known; None without a limit.
    pause_end: of the scheduler's clock; while requests come, no tile of the background starts earlier.
    """

    runtime: Runtime
    max_pixels: int | None
    pause_end: float = -inf


def most_tiles(shape: tuple[int, ...], max_batch: int, max_pixels: int | None) -> int:
    """The most tiles of this shape (height, width, bands) in a call, under limits as of a `Runtime`; at least 1."""
    return max_batch if max_pixels is None else max(1, min(max_batch, max_pixels // (shape[0] * shape[1])))
