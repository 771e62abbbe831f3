"""Reads a PNG's chunks, and finds what Pillow would read wrong (PNG, third edition)."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from imaging.errors import DamagedImage

# passes of an interlaced PNG: first column, first row, column step, row step (section 8.1)
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples per pixel, by colour type
INFLATE_BYTES = 1 << 20  # inflated in one step
TEXTS, EXIF_KEYWORDS = (b"tEXt", b"zTXt", b"iTXt"), (b"exif\0", b"Raw profile type exif\0")
END = b"\0\0\0\0IEND\xaeB`\x82"
ANCILLARY = 0x20  # a bit of the first letter of a chunk's kind (section 5.4)
EMPTY_PIXELS = b"\0\0\0\0IDAT"


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields each chunk's kind, start offset and end offset (section 5.3), up to the end chunk.

    In a truncated file, the last end offset may lie beyond the data.
    """
    start = 8
    while start + 8 <= len(data) and (kind := data[start + 4 : start + 8]) != b"IEND":
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield kind, start, end
        start = end


def head_of(data: bytes) -> tuple[bytes, bool]:
    """The chunks before the pixels that decide about these, and the colour profile and EXIF, wherever they stand.

    Of each kind of the latter the first counts, if Pillow can read it. All other chunks are left out, so that damage in them is
    without effect. With it: whether EXIF is left out.
    """
    head, has_pixels, others = bytearray(data[:8]), False, dict[bytes, bytes]()
    for kind, start, end in png_chunks(data):
        has_pixels = has_pixels or kind == b"IDAT"
        if not has_pixels and (kind == b"tRNS" or not kind[0] & ANCILLARY):
            head += data[start:end]
        elif kind in (b"iCCP", b"eXIf") or (kind in TEXTS and data.startswith(EXIF_KEYWORDS, start + 8)):
            others.setdefault(b"text" if kind in TEXTS else kind, data[start:end])
    kinds = [kind for kind, chunk in others.items() if _is_readable(data[:33] + chunk)]
    return b"".join([head, *(others[kind] for kind in kinds)]), not {b"iCCP", *kinds} >= others.keys()


def with_pixels(head: bytes, data: bytes) -> bytes:
    """The file of this head and the pixels of `data`, whatever stands between them and behind them."""
    file, last = io.BytesIO(), 0
    file.write(head)
    for kind, start, end in png_chunks(data):
        if kind == b"IDAT":
            file.write(memoryview(data)[start:end])
            last = end
    file.write(END if last <= len(data) else b"")  # none behind pixels that end early
    return file.getvalue()


def _is_readable(start: bytes) -> bool:
    """Whether Pillow reads these chunks, of which the first is the header."""
    try:
        Image.open(io.BytesIO(start + EMPTY_PIXELS), formats=("PNG",))
    except (OSError, SyntaxError, ValueError, zlib.error):
        return False
    return True


def scale_transparency(image: Image.Image, data: bytes) -> None:
    """Scales the transparent sample to the 8 bits of Pillow's pixels. Of a 16-bit RGB sample, the upper 8 bits are used."""
    depth, color_type, sample = data[24], data[25], image.info.get("transparency")
    mask = (1 << depth) - 1
    if color_type == 0 and depth < 16 and isinstance(sample, int):
        # Pillow drops some of the sample's bits, so it is read from the chunk
        sample = next(data[start + 9] for kind, start, _ in png_chunks(data) if kind == b"tRNS")
        image.info["transparency"] = (sample & mask) * 255 // mask  # the upper bits are ignored (section 11.3.1.1)
    elif color_type == 2 and isinstance(sample, tuple):
        image.info["transparency"] = tuple(value >> 8 if depth == 16 else value & mask for value in sample)


def check_pixels(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` for a decoded PNG with faults that Pillow does not report: wrong checksums, missing pixels."""
    _check_checksums(data)
    _check_palette(image)
    _check_stream(image, data)


def _check_checksums(data: bytes) -> None:
    view = memoryview(data)
    for kind, start, end in png_chunks(data):
        if end > len(data):
            return
        if kind == b"IDAT" and zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DamagedImage("the image is damaged: a checksum of its pixels is wrong; send the file again")


def _check_palette(image: Image.Image) -> None:
    """Raises `DamagedImage` for an index beyond the palette, which is an error (section 11.2.2). Pillow makes it black."""
    if image.mode == "P" and image.palette:
        highest = max(value for value, count in enumerate(image.histogram()) if count)
        colors = len(image.palette.palette) // 3
        if highest >= colors:
            raise DamagedImage(
                f"the image is damaged: its palette has {colors} colours, and a pixel has number {highest}; save it again"
            )


def _check_stream(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` if the compressed stream is complete but ends before the last row.

    Pillow leaves the missing rows at zero. The stream is therefore inflated a second time only if the last row is zero, or if
    the image is interlaced.
    """
    width, height = image.size
    if not image.info.get("interlace") and np.asarray(image.crop((0, height - 1, width, height))).any():
        return
    bits, size = data[24] * SAMPLES[data[25]], 0  # size: bytes of all rows before compression
    for left, top, across, down in PASSES if data[28] else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        size += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0  # 1: the filter of each row
    if (stream_bytes := _stream_bytes(data, size)) < size:
        raise DamagedImage(
            f"the image is damaged: its rows take {size:,} bytes, and its stream ends after {stream_bytes:,}; save it again"
        )


def _stream_bytes(data: bytes, row_bytes: int) -> int:
    """Number of bytes in the image's inflated stream. Counting stops once `row_bytes` are reached."""
    inflate, total = zlib.decompressobj(), 0
    for kind, start, end in png_chunks(data):
        piece = data[start + 8 : end - 4] if kind == b"IDAT" else b""
        while piece and total < row_bytes and not inflate.eof:
            total += len(inflate.decompress(piece, INFLATE_BYTES))
            piece = inflate.unconsumed_tail
    return total
