"""What runs the network: a small protocol, what stands for a runtime in another process, and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.architecture import Grid
from model.inference.merging import Logits
from model.manifest import Manifest

Tile = npt.NDArray[np.uint8]


class RuntimeUnavailable(ValueError):
    """A runtime, device or precision that this machine, this installation or this file does not have."""


class DeviceOutOfMemory(RuntimeError):
    """The device has no memory left for these tiles, now."""


class DeviceLost(RuntimeError):
    """The device does not work any more, and will not until the process is started anew."""


@dataclass(frozen=True)
class ModelIdentity:
    """What answers say of the model: its name, and the sha256 of its master. runtime and precision: what runs it."""

    name: str
    sha256: str
    runtime: str
    precision: str


class Runtime(Protocol):
    """A network, ready to run. Its logits have a cell for every `stride` pixels, whose place among them is `grid`.

    file_sha256: of the bytes that were loaded, a master's or an export's. network_sha256: of an export's network without its
    facts, empty of a master. max_batch: the most tiles that are worth one call, or None for as many as fit.
    max_concurrency: the most calls at once that pay. `logits` may be called by several threads.
    """

    identity: ModelIdentity
    file_sha256: str
    network_sha256: str
    manifest: Manifest
    device: str
    stride: int
    grid: Grid
    max_batch: int | None
    max_concurrency: int

    def concurrency(self, tiles: int) -> int:
        """How many calls at once pay, from 1 to `max_concurrency`, while so many tiles wait or are being run."""
        ...

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        """Float32 logits (N, classes, height / stride, width / stride) of N uint8 tiles (height, width, 3) of one shape.

        Raises `DeviceOutOfMemory` or `DeviceLost`.
        """
        ...

    def describe(self) -> dict[str, str]:
        """The runtime, its version, its device, its precision and the loaded file's sha256, for logs and `/info`."""
        ...


@dataclass
class DistantRuntime:
    """What a runtime of another process says of itself, for a `Segmenter` whose tiles are sent there; its `logits` raises."""

    identity: ModelIdentity
    file_sha256: str
    network_sha256: str
    manifest: Manifest
    device: str
    stride: int
    grid: Grid
    max_batch: int | None
    max_concurrency: int

    @classmethod
    def of(cls, runtime: Runtime) -> DistantRuntime:
        return cls(**{each.name: getattr(runtime, each.name) for each in fields(cls)})

    def concurrency(self, tiles: int) -> int:
        return self.max_concurrency

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        raise RuntimeError("the network is in another process; give `segment` a `run` that sends tiles there")

    def describe(self) -> dict[str, str]:
        return {"runtime": self.identity.runtime, "device": self.device, "precision": self.identity.precision}
