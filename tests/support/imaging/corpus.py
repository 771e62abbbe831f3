"""Image files of every kind, made once."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from benchmarks.harness.image_files import file_of
from imaging.decoding import Limits, decode
from tests.support.costs import cpu_seconds
from tests.support.images import make_photo
from tests.support.imaging.samples import samples

SAMPLES = samples()
FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
NOISE = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SMALL = {format: file_of(Image.fromarray(NOISE[:16, :24]), format) for format in FORMATS}
LIMITS = Limits()


@cache
def good_photo() -> bytes:
    """A PNG of twelve megapixels: what a good file may cost, to which others are compared."""
    return file_of(Image.fromarray(make_photo(3000, 4000)), "PNG", compress_level=1)


@cache
def good_cpu_seconds() -> float:
    """The processor time that decoding it takes."""
    return cpu_seconds(lambda: decode(good_photo(), LIMITS))
