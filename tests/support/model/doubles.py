"""Stand-ins that a test controls: a clock, a runtime of one channel, a runtime that waits."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from model.architecture import Architecture
from model.inference.merging import Logits
from model.inference.runtime import ModelIdentity, Runtime, Tile
from model.labels import numbered_labels
from model.manifest import Manifest
from model.preprocessing import Preprocessing
from tests.support.polling import HANG_S

FAR = 1e6  # a deadline that does not come


def tile(value: int, side: int = 32) -> Tile:
    """A tile of this value."""
    return np.full((side, side, 3), value, np.uint8)


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Hold:
    """Where calls wait while it is closed; `entered` once one waits. They raise `error` where it is set."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._passing = 0
        self._open = threading.Event()
        self._open.set()
        self.entry = threading.Event()

    def close(self, passing: int = 0) -> None:
        """Calls wait from now on, after so many that still pass."""
        self._passing = passing
        self.entry.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def __enter__(self) -> Hold:
        self.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def __call__(self) -> None:
        self._passing -= 1
        if self._passing >= 0:
            return
        self.entry.set()
        assert self._open.wait(HANG_S)
        if self.error:
            raise self.error


class FirstChannel(Runtime):
    """A runtime of one class whose logits are the tile's first channel; keeps the first value of each tile, by batch.

    Raises what `errors` has for a tile's first value.
    """

    def __init__(self, max_batch: int = 64, concurrency: int = 1, max_pixels: int | None = None) -> None:
        architecture = Architecture("fcn32s", "mobilenet_v2", 1)
        identity = ModelIdentity("first-channel", "0" * 64, "double", "float32")
        manifest = Manifest(architecture, numbered_labels(["one"]), Preprocessing(), "Apache-2.0")
        super().__init__(identity, "0" * 64, "", manifest, 1, "corner", "cpu", max_batch, max_pixels, concurrency)
        self.batches: list[list[int]] = []
        self.errors: dict[int, BaseException] = {}
        self.hold = Hold()

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        self.hold()
        values = [int(tile[0, 0, 0]) for tile in tiles]
        self.batches.append(values)
        for value in values:
            if value in self.errors:
                raise self.errors[value]
        return np.stack([tile[None, :, :, 0].astype(np.float32) for tile in tiles])


class Streams(FirstChannel):
    """Two calls at the same time are useful for `least` tiles. most: calls that there were at the same time."""

    calls = most = 0
    least = 2

    def concurrency(self, tiles: int) -> int:
        return 2 if tiles >= self.least else 1

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        self.calls += 1
        self.most = max(self.most, self.calls)
        try:
            return super().logits(tiles)
        finally:
            self.calls -= 1


class Delegating(Runtime):
    """A runtime that is another one, but for what a subclass changes."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(**vars(Runtime.of(runtime)))
        self.runtime = runtime

    def concurrency(self, tiles: int) -> int:
        return self.runtime.concurrency(tiles)

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        return self.runtime.logits(tiles)

    def describe(self) -> dict[str, str]:
        return self.runtime.describe()


class HeldRuntime(Delegating):
    """A real runtime behind a hold."""

    def __init__(self, runtime: Runtime, hold: Hold) -> None:
        super().__init__(runtime)
        self._hold = hold

    def logits(self, tiles: Sequence[Tile]) -> Logits:
        self._hold()
        return super().logits(tiles)
