"""Class maps, confidence and pictures as PNG, JPEG and WebP files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
from PIL import Image

from common.arrays import Pixels
from imaging.formats.signatures import PNG
from imaging.palette import Color

Palette = Sequence[Color]
ImageFormat = Literal["png", "jpeg", "webp"]
COLORS = 256
BAND_PIXELS = 1 << 18  # compressed or blended in one step; small enough to stay in a core's cache
CHUNK_BYTES = 1 << 20  # of compressed pixels
PNG_GREY, PNG_RGB, PNG_PALETTE, PNG_RGBA, PNG_UP = 0, 2, 3, 6, 2  # colour types (section 11) and a filter (section 9)
PHOTOGRAPHS: dict[ImageFormat, dict[str, Any]] = {
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
    return picture_file(color_image(class_map, colors), image_format, options=FLAT)


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
    """PNG of 8-bit pixels (H, W): indices into a palette, or grey if there is none.

    values: a table of 256 values that replace the pixels. Compressed by run lengths, since class maps and confidence change
    little between rows.
    """
    height, width = pixels.shape
    bands: Iterable[Pixels] = (pixels[rows] for rows in _bands(height, width))
    if values:
        bands = (np.asarray(Image.fromarray(band).point(values)) for band in bands)
    kind, chunks = (PNG_PALETTE, [(b"PLTE", palette)]) if palette else (PNG_GREY, [])
    return _png(bands, (width, height), kind, chunks, zlib.Z_DEFAULT_COMPRESSION, zlib.Z_RLE)


def _png(
    bands: Iterable[Pixels],
    size: tuple[int, int],
    kind: int,
    chunks: Sequence[tuple[bytes, bytes]],
    level: int,
    strategy: int = zlib.Z_DEFAULT_STRATEGY,
) -> bytes:
    """PNG (third edition) of 8-bit samples in bands of rows, uint8 (rows, samples), of this (width, height) and colour type.

    chunks: what stands before the pixels. level, strategy: of zlib. Each row is stored as its difference to the row above.
    This takes half the time of Pillow, which tries every filter, and no more bytes.
    """
    file, pixels, above = io.BytesIO(), bytearray(), np.zeros(1, np.uint8)
    compressor = zlib.compressobj(level, strategy=strategy)
    file.write(PNG)
    for chunk in ((b"IHDR", struct.pack(">IIBBBBB", *size, 8, kind, 0, 0, 0)), *chunks):
        file.write(_chunk(*chunk))
    for band in bands:
        lines = np.empty((len(band), 1 + band.shape[1]), np.uint8)
        lines[:, 0] = PNG_UP
        np.subtract(band[0], above, out=lines[0, 1:])
        np.subtract(band[1:], band[:-1], out=lines[1:, 1:])
        above = band[-1]
        pixels += compressor.compress(lines.data)
        if len(pixels) >= CHUNK_BYTES:
            file.write(_chunk(b"IDAT", pixels))
            pixels.clear()
    file.write(_chunk(b"IDAT", pixels + compressor.flush()) + _chunk(b"IEND", b""))
    return file.getvalue()


def _bands(height: int, width: int) -> list[slice]:
    rows = max(1, BAND_PIXELS // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _chunk(kind: bytes, content: bytes | bytearray) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def picture_file(
    image: Image.Image,
    image_format: ImageFormat,
    profile: bytes | None = None,
    options: Mapping[ImageFormat, dict[str, Any]] = PHOTOGRAPHS,
) -> bytes:
    """The file of an RGB or RGBA image, with this ICC profile. options: of Pillow, for other formats than PNG."""
    if image_format != "png":
        buffer = io.BytesIO()
        image.save(buffer, image_format, **options[image_format], **({"icc_profile": profile} if profile else {}))
        return buffer.getvalue()
    width, height = image.size
    parts = (image.crop((0, rows.start, width, rows.stop)) for rows in _bands(height, width))
    bands = (np.asarray(part).reshape(part.height, -1) for part in parts)
    chunks = [(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))] if profile else []
    return _png(bands, image.size, PNG_RGBA if image.mode == "RGBA" else PNG_RGB, chunks, zlib.Z_BEST_SPEED)
