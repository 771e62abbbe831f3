"""Pictures made on the spot, and their files."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.harness.image_files import file_of

Pixels = npt.NDArray[np.uint8]


def make_photo(height: int, width: int, seed: int = 0) -> Pixels:
    """A smooth, colourful uint8 RGB image (height, width, 3): the same for the same size and seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 24), max(2, width // 24), 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encode(pixels: Pixels, format: str = "PNG", **options: object) -> bytes:
    """The image as a file's bytes."""
    return file_of(Image.fromarray(pixels), format, **options)


def open_image(data: bytes) -> Image.Image:
    """The picture in a file's bytes, as Pillow reads it."""
    return Image.open(io.BytesIO(data))


def exif_of(orientation: int) -> Image.Exif:
    """EXIF that says this orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif
