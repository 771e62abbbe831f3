"""Image files of every kind, made once."""

from __future__ import annotations

import numpy as np
from PIL import Image

from imaging.decoding import Limits
from tests.imaging.samples import file_of, samples

SAMPLES = samples()
FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]
NOISE = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SMALL = {format: file_of(Image.fromarray(NOISE[:16, :24]), format) for format in FORMATS}
LIMITS = Limits()
