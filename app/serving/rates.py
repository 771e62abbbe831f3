"""What is measured of the two resources that an image needs: the network's tiles per second, and a worker's seconds."""

from __future__ import annotations

from collections.abc import Callable
from math import exp
from typing import NamedTuple

from model.inference.plan import Options
from model.inference.processes.protocol import WorkerPlan

LARGE_MEGAPIXELS = 4.0  # larger images count as large: few run at once, so that they never keep small ones waiting
AVERAGED_S = 10.0  # seconds of busy time over which the rate is averaged
TRUSTED_S = 1.0  # seconds of busy time before the rate is used
LONGEST_GAP_S = 3.0  # seconds between two tiles that count in full; a longer gap may be a pause of the process or container
NEWEST_SHARE = 0.2  # weight of the newest image in the averages of a worker's seconds
LEAST_MEGAPIXELS = 0.25  # an image of no pixels takes as long as so many
UNKNOWN_SECONDS = 0.05  # per megapixel of a large image, before one of its kind is done


class TileRate:
    """How many tiles the network does per second of the time in which it has any.

    What workers do before and after does not count, however long it takes. Only for the event loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tiles = 0  # that the network has now
        self._last = self._done_tiles = self._busy_s = 0.0

    @property
    def per_second(self) -> float | None:
        """The measured rate, or None before enough tiles are done to measure it."""
        return self._done_tiles / self._busy_s if self._busy_s >= TRUSTED_S and self._done_tiles else None

    def begin(self) -> None:
        """The network has one more tile."""
        if not self._tiles:
            self._last = self._clock()
        self._tiles += 1

    def end(self, *, is_done: bool) -> None:
        """The network has one tile less. is_done: whether it has its logits; if not, it counts for nothing."""
        self._tiles -= 1
        if not is_done:
            return
        now, rate = self._clock(), self.per_second
        seconds = min(now - self._last, max(LONGEST_GAP_S, 2 / rate) if rate else AVERAGED_S)
        fade = exp(-seconds / AVERAGED_S)
        weight = AVERAGED_S * (1 - fade) / seconds if seconds else 1.0
        self._busy_s = self._busy_s * fade + seconds * weight
        self._done_tiles = self._done_tiles * fade + weight
        self._last = now


class Kind(NamedTuple):
    """What decides, beside the number of pixels, how long a worker needs for an image."""

    large: bool
    format: str = "png"
    mask: str = "rle"
    quality: str = "standard"

    @classmethod
    def of(cls, options: Options, plan: WorkerPlan) -> Kind:
        rendering = options.rendering
        return cls(plan.megapixels > LARGE_MEGAPIXELS, rendering.format, rendering.mask, options.quality)


class WorkerSeconds:
    """How many seconds of a worker an image needs, without those in which it waits for the network.

    Each kind of image has its own average per megapixel, so that what one kind takes says nothing about another. An image
    counts with `NEWEST_SHARE`, so that an average is soon right again. Only for the event loop.
    """

    def __init__(self) -> None:
        self.of_small_image = 0.0  # before an image is planned it counts as an average small one
        self._per_megapixel: dict[Kind, float] = {}

    def expected(self, kind: Kind, megapixels: float) -> float:
        """The seconds that such an image will need; those of the average small image if no small one of its kind is done."""
        per_megapixel = self._per_megapixel.get(kind, UNKNOWN_SECONDS if kind.large else None)
        return self.of_small_image if per_megapixel is None else per_megapixel * max(megapixels, LEAST_MEGAPIXELS)

    def learn(self, kind: Kind, megapixels: float, seconds: float) -> None:
        """Counts an image that is done."""
        per_megapixel = seconds / max(megapixels, LEAST_MEGAPIXELS)
        average = self._per_megapixel.get(kind, per_megapixel)
        self._per_megapixel[kind] = average + NEWEST_SHARE * (per_megapixel - average)
        if not kind.large:
            self.of_small_image += NEWEST_SHARE * (seconds - self.of_small_image)


class Stopwatch:
    """Seconds for which at least one of several things has run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._running = 0
        self._since = 0.0
        self.seconds = 0.0

    def begin(self) -> None:
        if not self._running:
            self._since = self._clock()
        self._running += 1

    def end(self) -> None:
        self._running -= 1
        if not self._running:
            self.seconds += self._clock() - self._since
