"""Class maps and confidence as PNG files."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Palette = Sequence[tuple[int, int, int]]


def mask_png(class_map: Pixels, palette: Palette) -> bytes:
    """Palette PNG (mode P, bit depth 8) whose pixel values are class ids; the palette needs 256 colours."""
    if len(palette) != 256:
        raise ValueError(f"a mask's palette needs 256 colours, so that its bit depth is 8; got {len(palette)}")
    image = Image.fromarray(class_map)
    image.putpalette(bytes(chain.from_iterable(palette)))
    return _png(image)


def color_png(class_map: Pixels, palette: Palette) -> bytes:
    """RGB PNG of each pixel's class colour."""
    return _png(Image.fromarray(_colors(class_map, palette)))


def overlay_png(image: Pixels, class_map: Pixels, palette: Palette, alpha: float) -> bytes:
    """RGB PNG of the photo (H, W, 3) with class colours over it; alpha is their opacity, 0 to 1."""
    return _png(Image.blend(Image.fromarray(image), Image.fromarray(_colors(class_map, palette)), alpha))


def grey_png(values: Pixels) -> bytes:
    """8-bit grey PNG of (H, W)."""
    return _png(Image.fromarray(values))


def _colors(class_map: Pixels, palette: Palette) -> Pixels:
    return np.asarray(palette, np.uint8)[class_map]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # class maps are runs: looking for nothing else takes half the time or less, and photographs lose 3 % in size
    image.save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()
