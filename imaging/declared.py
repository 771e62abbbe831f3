"""Compares what a file declares with what Pillow opens, and refuses what Pillow would read wrong without a word."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2, TiffImageFile

from imaging.errors import DamagedImage, ImageError, UnknownImageType
from imaging.headers import JPEG, TIFF, png_chunks
from imaging.jpeg import check_end_of_scan, check_restarts, jpeg_problem, read_jpeg_header

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom lie outside."""
# tags of TIFF 6.0
WIDTH, LENGTH, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES_PER_PIXEL, ROWS_PER_STRIP, STRIP_BYTE_COUNTS, PLANAR, COLOR_MAP = 273, 277, 278, 279, 284, 320
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTE_COUNTS, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
WHITE_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 2, 3, 5, 6
MOST_8_BIT = 255
PREMULTIPLIED = 1  # of extra samples
PHOTOMETRICS = (0, 1, 2, 3, 5, 6, 8)  # grey, RGB, palette, CMYK, YCbCr, CIE L*a*b*
SAMPLE_FORMATS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
UNREAD = (50001,)  # WebP in a TIFF: Pillow knows the name, and its wheels' libtiff lacks the codec
BITS = (1, 2, 4, 8, 16)
# passes of an interlaced PNG: first column and row, and the steps to the next ones (PNG, third edition, section 8.1)
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
INFLATED_AT_ONCE = 1 << 20


def check_declared(image: Image.Image, data: bytes) -> None:
    """Raises `UnknownImageType` for samples that Pillow reads wrong, `DamagedImage` where the file lacks pixels."""
    if isinstance(image, TiffImageFile):
        if problem := _tiff_problem(image.tag_v2):
            raise UnknownImageType(problem)
        _check_strips(image.tag_v2)
    elif image.format == "PNG":
        _check_first_frame(image, data)
        _scale_transparency(image, data)
    elif data.startswith(JPEG) and (header := read_jpeg_header(data)):
        if problem := jpeg_problem(header):
            raise UnknownImageType(problem)
        check_restarts(header, data)


def refusal(data: bytes) -> ImageError:
    """Says why Pillow cannot open a file of an accepted format: a kind of samples that it does not read, or damage."""
    damaged = DamagedImage("the image is damaged: its header cannot be read; is the file complete?")
    if data.startswith(JPEG):
        return UnknownImageType(problem) if (problem := jpeg_problem(read_jpeg_header(data))) else damaged
    if not data.startswith(TIFF):
        return damaged
    try:
        tags, file = ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8]), io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        if not {WIDTH, LENGTH} < set(tags) or {STRIP_OFFSETS, TILE_OFFSETS}.isdisjoint(tags):
            return damaged
        bits = ", ".join(map(str, _numbers(tags, BITS_PER_SAMPLE, 1)))
        kind = f"samples of {bits} bits in photometric interpretation {tags.get(PHOTOMETRIC, 0)}"
        return UnknownImageType(_tiff_problem(tags) or f"the TIFF has {kind}, which are not read; save it as 8-bit RGB")
    except Exception:  # as around the decoder: Pillow's readers raise what they come upon
        return damaged


def check_rows(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` where a decoded image lacks rows, or has wrong ones, and Pillow does not miss them."""
    if image.format == "PNG":
        _check_checksums(data)
        _check_stream(image, data)
    elif data.startswith(JPEG):
        check_end_of_scan(image, data)


def _check_checksums(data: bytes) -> None:
    """Raises `DamagedImage` where the bytes of a PNG's pixels are not those of their checksums: Pillow passes over these."""
    view = memoryview(data)
    for kind, start, end in png_chunks(data):
        if kind == b"IDAT" and zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DamagedImage("the image is damaged: its pixels do not fit their checksum; is the file complete?")
        if kind == b"IEND":
            return


def _check_stream(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` where a PNG's stream ended, whole, before its last row.

    Pillow leaves such rows at zero. So the stream is inflated a second time only where the last row is zero, or where the
    image is interlaced.
    """
    width, height = image.size
    if not image.info.get("interlace") and np.asarray(image.crop((0, height - 1, width, height))).any():
        return
    expected = _png_bytes(width, height, depth=data[24], color_type=data[25], interlaced=bool(data[28]))
    if (inflated := _inflated_bytes(data, expected)) < expected:
        raise DamagedImage(
            f"the image is damaged: its rows take {expected:,} bytes, and its stream ends after {inflated:,}; save it anew"
        )


def frame_box(image: Image.Image) -> Box | None:
    """The part of a GIF's canvas that its first frame covers, where that is not all; call it before the image is loaded."""
    if not isinstance(image, GifImageFile) or not image.tile:
        return None
    left, top, right, bottom = image.tile[0][1] or (0, 0, *image.size)
    box = left, top, right, bottom
    return None if box == (0, 0, *image.size) else box


def _numbers(tags: Mapping[int, Any], tag: int, default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value,)


def _tiff_problem(tags: Mapping[int, Any]) -> str | None:
    """What of a TIFF's samples is not read, and how to convert it."""
    bits, formats = _numbers(tags, BITS_PER_SAMPLE, 1), _numbers(tags, SAMPLE_FORMAT, 1)
    photometric, compression = tags.get(PHOTOMETRIC, 0), tags.get(COMPRESSION, 1)
    if names := [SAMPLE_FORMATS[each] for each in formats if each in SAMPLE_FORMATS]:
        return f"the image has {names[0]} samples of an unknown range; save it in 8 or 16 bits"
    if unknown := [each for each in bits if each not in BITS]:
        return f"the image has samples of {unknown[0]} bits, of which white is not known; save it in 8 or 16 bits"
    if photometric not in PHOTOMETRICS:
        return f"the TIFF has photometric interpretation {photometric}, which is not read; save it as grey or RGB"
    if compression not in COMPRESSION_INFO or compression in UNREAD:
        return f"the TIFF has compression {compression}, which is not read; save it with LZW or Deflate"
    if photometric == WHITE_IS_ZERO and max(bits) > 8:
        return "the TIFF has 16-bit samples whose 0 is white, which are not read; save it with 0 as black"
    apart = tags.get(PLANAR, 1) == 2 and tags.get(SAMPLES_PER_PIXEL, 1) > 1
    if photometric == PALETTE and max(_numbers(tags, COLOR_MAP, MOST_8_BIT + 1), default=0) <= MOST_8_BIT:
        return "the TIFF has a palette of 8 bits, where TIFF has 16, and would be black; save it as RGB"
    raw = compression == 1 and (set(bits) != {8} or PREMULTIPLIED in _numbers(tags, EXTRA_SAMPLES, 0))
    if apart and (raw or photometric not in (RGB, SEPARATED)):
        return "the TIFF has its planes apart, which is read for 8-bit RGB and CMYK alone; save it with its planes together"
    return None


def _check_strips(tags: Mapping[int, Any]) -> None:
    """Raises `DamagedImage` where the strips or tiles do not hold all rows. libtiff sees it, Pillow's own reader does not."""
    width, length, bits = tags[WIDTH], tags[LENGTH], _numbers(tags, BITS_PER_SAMPLE, 1)
    apart = tags.get(PLANAR, 1) == 2 and len(bits) > 1
    if tiled := TILE_OFFSETS in tags and STRIP_OFFSETS not in tags:
        across, down = tags[TILE_WIDTH], tags[TILE_LENGTH]
    else:
        across, down = width, min(tags.get(ROWS_PER_STRIP, length), length)
    if across < 1 or down < 1:
        raise DamagedImage(f"the image is damaged: its strips or tiles have {across}x{down} pixels; save it anew")
    rows = -(-length // down)
    expected = rows * -(-width // across) * (len(bits) if apart else 1)
    offsets = _numbers(tags, TILE_OFFSETS if tiled else STRIP_OFFSETS, 0)
    counts = _numbers(tags, TILE_BYTE_COUNTS if tiled else STRIP_BYTE_COUNTS, -1)
    pieces = "tiles" if tiled else "strips"
    if len(offsets) != expected or 0 in offsets or 0 in counts:
        present = sum(map(bool, offsets[:expected]))
        raise DamagedImage(
            f"the image is damaged: it has {present} of the {expected} {pieces} of its rows; is the file complete?"
        )
    if tags.get(COMPRESSION, 1) != 1 or tags.get(PHOTOMETRIC) == YCBCR or expected == 1 or len(counts) != expected:
        return
    row_bytes = -(-across * (bits[0] if apart else sum(bits)) // 8)
    last = down if tiled else length - (rows - 1) * down
    needed = (row_bytes * (last if (index + 1) % rows == 0 else down) for index in range(expected))
    if any(count < least for count, least in zip(counts, needed, strict=True)):
        raise DamagedImage(f"the image is damaged: its {pieces} hold fewer bytes than its rows; is the file complete?")


def _check_first_frame(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` where an animated PNG's first frame, which is its image, does not cover it (section 11.3.6.2)."""
    for kind, start, _ in png_chunks(data):
        if kind == b"IDAT":
            return
        if kind == b"fcTL":
            width, height, left, top = struct.unpack_from(">4I", data, start + 12)
            if (width, height, left, top) != (*image.size, 0, 0):
                size = f"{image.width}x{image.height}"
                raise DamagedImage(f"the image is damaged: its first frame has {width}x{height} of {size} pixels; save it anew")


def _scale_transparency(image: Image.Image, data: bytes) -> None:
    """Brings a PNG's transparent sample to the 8 bits in which Pillow gives the pixels; of 16 bits, the upper 8 count."""
    depth, color_type, sample = data[24], data[25], image.info.get("transparency")
    if color_type == 0 and depth in (2, 4) and isinstance(sample, int):
        most = (1 << depth) - 1
        image.info["transparency"] = (sample & most) * 255 // most
    elif color_type == 2 and depth == 16 and isinstance(sample, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in sample)


def _png_bytes(width: int, height: int, *, depth: int, color_type: int, interlaced: bool) -> int:
    """Bytes of all rows with their filters."""
    bits = depth * PNG_SAMPLES[color_type]
    total = 0
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total


def _inflated_bytes(data: bytes, most: int) -> int:
    """How many bytes the image's stream holds, counted up to `most`."""
    inflate, total = zlib.decompressobj(), 0
    for kind, start, end in png_chunks(data):
        piece = data[start + 8 : end - 4] if kind == b"IDAT" else b""
        while piece and total < most and not inflate.eof:
            total += len(inflate.decompress(piece, INFLATED_AT_ONCE))
            piece = inflate.unconsumed_tail
        if kind == b"IEND" or total >= most:
            break
    return total
