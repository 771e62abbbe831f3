"""A picture with a mark in each corner, and files of it that Pillow does not write."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from benchmarks.harness.image_files import file_of, png_of
from tests.support.images import Pixels

SIZE = (45, 67)
MARK = 8
PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)


def corners(size: tuple[int, int] = SIZE) -> Pixels:
    """RGB (height, width, 3): slopes of colour, and a square of another colour in each corner."""
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    slopes = [20 + columns * 200 // width, 30 + rows * 180 // height, 60 + (rows + columns) * 120 // (height + width)]
    picture = np.stack(slopes, -1).astype(np.uint8)
    picture[:MARK, :MARK], picture[:MARK, -MARK:] = (250, 10, 10), (10, 250, 10)
    picture[-MARK:, :MARK], picture[-MARK:, -MARK:] = (10, 10, 250), (240, 240, 20)
    return picture


PICTURE = corners()
GREY = PICTURE[..., 1].copy()
ALPHA = np.linspace(0, 255, GREY.size).reshape(SIZE).astype(np.uint8)


def tiff(samples: npt.NDArray[Any], **options: Any) -> bytes:
    """A TIFF by tifffile."""
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def with_tag(data: bytes, tag: int, values: list[int]) -> bytes:
    """A TIFF in which a tag of the first page has these values, as many as before or fewer."""
    file = io.BytesIO(data)
    with tifffile.TiffFile(file) as tiff_file:
        tiff_file.pages.first.tags[tag].overwrite(values)
        return file.getvalue()


def tag_values(data: bytes, tag: int) -> list[int]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        value = file.pages.first.tags[tag].value
    return list(value) if isinstance(value, tuple) else [value]


def packed_rows(samples: npt.NDArray[Any], depth: int) -> bytes:
    """PNG rows (height, samples) of this bit depth, each behind the filter byte 0."""
    if depth >= 8:
        return b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in samples)
    bits = (samples[..., None] >> np.arange(depth - 1, -1, -1) & 1).astype(np.uint8).reshape(len(samples), -1)
    return b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)


def png(samples: npt.NDArray[Any], depth: int, color_type: int, **chunks: bytes) -> bytes:
    """A PNG of the pictures' size. samples: (height, width) or (height, width, samples). chunks: as for `png_of`."""
    return png_of(*SIZE[::-1], depth, color_type, packed_rows(samples.reshape(SIZE[0], -1), depth), **chunks)


def gif(ids: Pixels, canvas: tuple[int, int], at: tuple[int, int] = (0, 0), transparent: int | None = None) -> bytes:
    """A GIF whose only frame, ids (height, width) below 8, lies at (left, top) of a canvas (height, width)."""
    image = Image.fromarray(ids)
    image.putpalette(PALETTE[:8].tobytes())
    data = bytearray(file_of(image, "GIF", **({} if transparent is None else {"transparency": transparent})))
    data[6:10] = struct.pack("<HH", *canvas[::-1])
    place = data.index(b"," + struct.pack("<HHHH", 0, 0, *image.size)) + 1
    data[place : place + 4] = struct.pack("<HH", *at)
    return bytes(data)
