"""Class maps, confidence and pictures as PNG, JPEG and WebP files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
from PIL import Image

from imaging.arrays import Pixels

Palette = Sequence[tuple[int, int, int]]
ImageFormat = Literal["png", "jpeg", "webp"]
COLORS = 256
BAND_PIXELS = 1 << 18  # compressed or blended in one step; small enough to stay in a core's cache
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_GREY, PNG_PALETTE, PNG_UP = 0, 3, 2  # two colour types (section 11) and a filter (section 9)
PHOTOGRAPHS: dict[ImageFormat, dict[str, Any]] = {
    "png": {"compress_level": 1},
    "jpeg": {"quality": 85, "subsampling": 0},  # full colour resolution, since class borders differ in colour
    "webp": {"quality": 80, "method": 0},
}
FLAT: dict[ImageFormat, dict[str, Any]] = {
    "jpeg": {"quality": 90, "subsampling": 0},
    "webp": {"lossless": True, "quality": 0, "method": 0},
}


def mask_png(class_map: Pixels, palette: Palette) -> bytes:
    """Palette PNG (mode P, bit depth 8) whose pixel values are class ids; the palette needs 256 colours."""
    return _eight_bit_png(class_map, palette_bytes(palette))


def grey_png(values: Pixels) -> bytes:
    """8-bit grey PNG of an array (H, W)."""
    return _eight_bit_png(values)


def binary_png(class_map: Pixels, class_ids: Collection[int]) -> bytes:
    """8-bit grey PNG: 255 for pixels whose class is in `class_ids`, 0 for others."""
    return _eight_bit_png(class_map, values=[255 * (id in class_ids) for id in range(COLORS)])


def color_picture(class_map: Pixels, palette: Palette, class_ids: Collection[int], image_format: ImageFormat = "png") -> bytes:
    """Each pixel in its class's colour, or black if the class is not in `class_ids`.

    A PNG has a palette (mode P); JPEG and WebP are RGB.
    """
    colors = palette_bytes([color if id in class_ids else (0, 0, 0) for id, color in enumerate(palette)])
    if image_format == "png":
        return _eight_bit_png(class_map, colors)
    return picture_file(color_image(class_map, colors), image_format, FLAT[image_format])


def palette_bytes(palette: Palette) -> bytes:
    """Red, green and blue of 256 colours, as Pillow takes them; raises `ValueError` for another number."""
    if len(palette) != COLORS:
        raise ValueError(f"a palette needs {COLORS} colours, so that its bit depth is 8; got {len(palette)}")
    return bytes(chain.from_iterable(palette))


def color_image(class_map: Pixels, palette: bytes) -> Image.Image:
    """An RGB image of each pixel's colour in the palette."""
    image = Image.fromarray(class_map)
    image.putpalette(palette)
    return image.convert("RGB")


def _eight_bit_png(pixels: Pixels, palette: bytes = b"", values: Sequence[int] = ()) -> bytes:
    """PNG (third edition) of 8-bit pixels (H, W): indices into a palette, or grey if there is none.

    values: a table of 256 values that replace the pixels. Each row is stored as its difference to the row above and compressed
    by run lengths, since class maps and confidence change little between rows. This takes half the time of Pillow, which tries
    every filter, and no more bytes.
    """
    height, width = pixels.shape
    compressor = zlib.compressobj(strategy=zlib.Z_RLE)
    rows, above, pieces = max(1, BAND_PIXELS // width), np.zeros(width, np.uint8), []
    for top in range(0, height, rows):
        band = pixels[top : top + rows]
        if values:
            band = np.asarray(Image.fromarray(band).point(values))
        lines = np.empty((len(band), 1 + width), np.uint8)
        lines[:, 0] = PNG_UP
        np.subtract(band[0], above, out=lines[0, 1:])
        np.subtract(band[1:], band[:-1], out=lines[1:, 1:])
        above = band[-1]
        pieces.append(compressor.compress(lines.data))
    header = struct.pack(">IIBBBBB", width, height, 8, PNG_PALETTE if palette else PNG_GREY, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", b"".join([*pieces, compressor.flush()])), (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks if content or kind == b"IEND")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def picture_file(image: Image.Image, image_format: ImageFormat, options: dict[str, Any], profile: bytes | None = None) -> bytes:
    """An image's file in this format, with these options of Pillow, and with this ICC profile."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options, **({"icc_profile": profile} if profile else {}))
    return buffer.getvalue()
