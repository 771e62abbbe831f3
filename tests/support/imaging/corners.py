"""A picture with a mark in each corner, and files of it that Pillow does not write."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from benchmarks.harness.image_files import chunk
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


def png_chunks_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks (kind, content)."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in chunks)


def png_head(width: int, height: int, depth: int, color_type: int, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlace)


def gif(ids: Pixels, canvas: tuple[int, int], at: tuple[int, int] = (0, 0), transparent: int | None = None) -> bytes:
    """A GIF whose only frame, ids (height, width) below 8, lies at (left, top) of a canvas (height, width)."""
    height, width = ids.shape
    control = b"" if transparent is None else b"!\xf9\4\1\0\0" + bytes([transparent, 0])
    head = b"GIF89a" + struct.pack("<HHBBB", canvas[1], canvas[0], 0x82, 0, 0) + PALETTE[:8].tobytes()
    return head + control + b"," + struct.pack("<HHHHB", *at, width, height, 0) + _lzw(ids) + b";"


def _lzw(ids: Pixels) -> bytes:
    """Codes of 4 bits, cleared before they would grow."""
    codes: list[int] = []
    for index, value in enumerate(ids.ravel().tolist()):
        codes += [8, value] if index % 6 == 0 else [value]
    codes.append(9)
    nibbles = codes + [0] * (len(codes) % 2)
    data = bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return b"\3" + blocks + b"\0"
