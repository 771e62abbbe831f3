"""How pixels are scaled and normalised for a network, as stored in its weights file."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite


class PreprocessingError(ValueError):
    """A preprocessing that this program does not support."""


@dataclass(frozen=True)
class Preprocessing:
    """The network's input is `(pixel * scale - mean) / std` for each RGB channel. Raises `PreprocessingError`.

    side: the advised (lowest, highest) longer side of images, in pixels. tile: the advised (height, width) of tiles, multiples
    of 32.
    """

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    scale: float = 1 / 255
    side: tuple[int, int] = (512, 512)
    tile: tuple[int, int] = (512, 512)
    channel_order: str = "RGB"

    def __post_init__(self) -> None:
        if self.channel_order != "RGB":
            raise PreprocessingError(f"channel_order must be RGB, got {self.channel_order!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or not min(self.std) > 0 or not all(map(isfinite, self.mean)):
            raise PreprocessingError(f"mean and std need three values, std above 0; got {self.mean} and {self.std}")
        if not 32 <= self.side[0] <= self.side[1]:
            raise PreprocessingError(f"the advised range of the longer side must be 32 <= low <= high, got {self.side}")
        if min(self.tile) < 32 or self.tile[0] % 32 or self.tile[1] % 32:
            raise PreprocessingError(f"the advised tile must have sides that are multiples of 32, got {self.tile}")
