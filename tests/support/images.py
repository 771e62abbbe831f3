"""Pictures made on the spot, and their files."""

from __future__ import annotations

import io
from functools import cache

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


@cache
def camera_photo(height: int = 900, width: int = 1200, noise: int = 24) -> bytes:
    """A JPEG as a camera writes it, with noise: half a megabyte by default, 5 MB of 2000 x 3100 pixels with a noise of 85."""
    grain = np.random.default_rng(0).integers(-noise, noise + 1, (height, width, 3))
    return encode(np.clip(make_photo(height, width) + grain, 0, 255).astype(np.uint8), "JPEG", quality=91)


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
