"""Which bands a network sees, and how their samples become 8 bits, as the command line writes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from common.arrays import Pixels, Samples


@dataclass(frozen=True)
class BandScale:
    """How samples of a band become 8 bits: `least` becomes 0 and `most` 255, linearly; what lies beyond is clipped."""

    least: float
    most: float

    def apply(self, samples: Samples) -> Pixels:
        """The samples of any shape and type as uint8. Samples that are not finite become 0."""
        kind = np.float32 if samples.dtype.itemsize <= 2 else np.float64  # which holds all samples but the largest of 64 bits
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values = samples / kind(2) - self.least / 2  # of halves, so that no difference overflows
            values = values / (self.most / 2 - self.least / 2) * 255
            np.nan_to_num(values, copy=False, nan=0, posinf=255, neginf=0)
            pixels: Pixels = np.rint(values.clip(0, 255, out=values), out=values).astype(np.uint8)
        return pixels


def parse_bands(text: str) -> tuple[int, ...]:
    """Parses `4,3,2` to band numbers from 1; raises `ValueError`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise ValueError(f"bands must be numbers from 1 with commas, such as 4,3,2, got {text!r}")
    return tuple(map(int, parts))


def parse_scale(text: str) -> BandScale:
    """Parses `MIN,MAX`, the samples that become 0 and 255; raises `ValueError`."""
    try:
        least, most = (float(part) for part in text.split(","))
    except ValueError:
        least = most = math.nan
    if not (math.isfinite(least) and math.isfinite(most) and least < most):
        raise ValueError(f"scale must be MIN,MAX, the samples that become 0 and 255, such as 0,3000, got {text!r}")
    return BandScale(least, most)
