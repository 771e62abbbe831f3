"""How pixels are scaled and normalised for a network, as stored in its weights file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

RGB = ("red", "green", "blue")
MOST_BANDS = 16
GSD = (1e-6, 1e6)  # metres that a pixel can measure


class PreprocessingError(ValueError):
    """A preprocessing that this program does not support."""


def is_gsd(value: object) -> bool:
    """Whether a value of JSON is a number of metres that a pixel can measure on the ground."""
    return isinstance(value, int | float) and not isinstance(value, bool) and GSD[0] <= value <= GSD[1]


@dataclass(frozen=True)
class Preprocessing:
    """The network's input is `(pixel * scale - mean) / std` for each band. Raises `PreprocessingError`.

    side: the advised (lowest, highest) longer side of images, in pixels. tile: the advised (height, width) of tiles, multiples
    of 32. bands: their names, 3 to 16. Pixels of more than three come from georeferenced TIFFs alone. gsd: metres on the ground
    of a pixel that the network sees, if it learned from scenes whose pixels measure the same; else None.
    """

    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    scale: float = 1 / 255
    side: tuple[int, int] = (512, 512)
    tile: tuple[int, int] = (512, 512)
    channel_order: str = "RGB"
    bands: tuple[str, ...] = RGB
    gsd: float | None = None

    def __post_init__(self) -> None:
        if self.channel_order != "RGB":
            raise PreprocessingError(f"channel_order must be RGB, got {self.channel_order!r}")
        if not len(RGB) <= len(self.bands) <= MOST_BANDS or not all(isinstance(name, str) for name in self.bands):
            raise PreprocessingError(f"bands must be {len(RGB)} to {MOST_BANDS} names, got {self.bands}")
        counts = {len(self.mean), len(self.std)}
        if counts != {len(self.bands)} or not min(self.std) > 0 or not all(map(isfinite, self.mean)):
            raise PreprocessingError(
                f"mean and std need a value for each of {len(self.bands)} bands, std above 0; got {self.mean} and {self.std}"
            )
        if not 32 <= self.side[0] <= self.side[1]:
            raise PreprocessingError(f"the advised range of the longer side must be 32 <= low <= high, got {self.side}")
        if min(self.tile) < 32 or self.tile[0] % 32 or self.tile[1] % 32:
            raise PreprocessingError(f"the advised tile must have sides that are multiples of 32, got {self.tile}")
        if self.gsd is not None and not is_gsd(self.gsd):
            raise PreprocessingError(f"gsd must be metres of a pixel, {GSD[0]:g} to {GSD[1]:.0f}, got {str(self.gsd)[:60]!r}")

    @property
    def neutral(self) -> tuple[int, ...]:
        """The pixel that the network sees as zero, or nearly so, 0 to 255 for each band: for where a scene has no data."""
        return tuple(round(min(max(mean / self.scale, 0), 255)) for mean in self.mean)

    @property
    def channels(self) -> int:
        """The number of bands."""
        return len(self.bands)

    @property
    def is_multispectral(self) -> bool:
        """Whether pixels have more bands than photos, and so come from georeferenced TIFFs alone."""
        return self.channels != len(RGB)

    def of_bands(self, bands: tuple[str, ...]) -> Preprocessing:
        """The preprocessing for these bands: the values of red, green and blue in turn, as their weights are repeated."""
        if len(bands) == self.channels:
            return replace(self, bands=bands)
        mean, std = (tuple(values[index % len(values)] for index in range(len(bands))) for values in (self.mean, self.std))
        return replace(self, mean=mean, std=std, bands=bands)

    def to_dict(self) -> dict[str, Any]:
        """The values as a weights file has them: `bands` only if they are others than those of photos, `gsd` if it is known."""
        return without_defaults(self, "bands", "gsd")


def without_defaults(description: Any, *names: str) -> dict[str, Any]:
    """The fields of a dataclass; those of these names only where they are not the defaults, since older programs lack them."""
    defaults = {name: getattr(type(description), name) for name in names}
    return {name: value for name, value in asdict(description).items() if name not in names or value != defaults[name]}
