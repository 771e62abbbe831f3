"""Compares a file's declarations with what Pillow opens, and refuses files that Pillow would misread without an error."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import TiffImageFile

from imaging.errors import DamagedImage, ImageError, UnknownImageType
from imaging.formats.avif import is_avif, is_cut_off
from imaging.formats.headers import JPEG, TIFF, png_chunks
from imaging.formats.jpeg import check_restarts, check_scans, jpeg_problem, read_jpeg_header
from imaging.formats.tiff import check_fourth_sample, check_strips, tiff_problem, tiff_refusal

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom lie outside."""
# passes of an interlaced PNG: first column, first row, column step, row step (PNG, third edition, section 8.1)
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples per pixel, by colour type
INFLATE_BYTES = 1 << 20  # inflated in one step
# the first words of Pillow's messages for kinds of files that it does not read
UNSUPPORTED_KINDS = ("Unsupported BMP", "unknown raw mode")


def check_declarations(image: Image.Image, data: bytes) -> None:
    """Raises `UnknownImageType` for samples that Pillow misreads, and `DamagedImage` if the file lacks pixels."""
    if isinstance(image, TiffImageFile):
        if problem := tiff_problem(image.tag_v2):
            raise UnknownImageType(problem)
        check_strips(image.tag_v2)
    elif image.format == "PNG":
        _check_first_frame(image, data)
        _scale_transparency(image, data)
    elif data.startswith(JPEG) and (header := read_jpeg_header(data)):
        if problem := jpeg_problem(header):
            raise UnknownImageType(problem)
        check_restarts(header, data)


def refusal(data: bytes) -> ImageError:
    """The error for a file of an accepted format that Pillow cannot open.

    It is `UnknownImageType` for a kind of samples that Pillow does not read, and `DamagedImage` otherwise.
    """
    problem = jpeg_problem(read_jpeg_header(data)) if data.startswith(JPEG) else None
    error = tiff_refusal(data) if data.startswith(TIFF) else UnknownImageType(problem) if problem else None
    reason = "the file ends early" if is_avif(data) and is_cut_off(data) else "its header cannot be read"
    return error or DamagedImage(f"the image is damaged: {reason}; is the file complete?")


def unsupported_kind(error: Exception) -> ImageError | None:
    """`UnknownImageType` if Pillow raised this error because it does not read this kind of file; None for other errors."""
    if str(error).startswith(UNSUPPORTED_KINDS):
        return UnknownImageType(f"the image is of a kind that is not read ({error}); save it as 8-bit RGB")
    return None


def check_pixels(image: Image.Image, data: bytes) -> None:
    """Checks a decoded image for faults that Pillow does not report.

    Raises `DamagedImage` if pixels are missing, and `UnknownImageType` if the file does not say what a sample means.
    """
    if image.format == "PNG":
        _check_checksums(data)
        _check_palette(image)
        _check_stream(image, data)
    elif data.startswith(JPEG):
        check_scans(image, data)
    elif isinstance(image, TiffImageFile):
        check_fourth_sample(image)


def _check_checksums(data: bytes) -> None:
    """Raises `DamagedImage` if a checksum of the pixel chunks is wrong. Pillow does not verify them."""
    view = memoryview(data)
    for kind, start, end in png_chunks(data):
        if kind == b"IEND" or end > len(data):
            return
        if kind == b"IDAT" and zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise DamagedImage("the image is damaged: a checksum of its pixels is wrong; send the file again")


def _check_palette(image: Image.Image) -> None:
    """Raises `DamagedImage` if a PNG's pixel has an index beyond its palette.

    Section 11.2.2 calls this an error; Pillow makes such pixels black.
    """
    if image.mode == "P" and image.palette:
        highest = max(value for value, count in enumerate(image.histogram()) if count)
        colors = len(image.palette.palette) // 3
        if highest >= colors:
            raise DamagedImage(
                f"the image is damaged: its palette has {colors} colours, and a pixel has number {highest}; save it again"
            )


def _check_stream(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` if a PNG's compressed stream is complete but ends before the last row.

    Pillow leaves the missing rows at zero. The stream is therefore inflated a second time only if the last row is zero, or if
    the image is interlaced.
    """
    width, height = image.size
    if not image.info.get("interlace") and np.asarray(image.crop((0, height - 1, width, height))).any():
        return
    size = _png_bytes(width, height, depth=data[24], color_type=data[25], interlace=bool(data[28]))
    if (stream_bytes := _stream_bytes(data, size)) < size:
        raise DamagedImage(
            f"the image is damaged: its rows take {size:,} bytes, and its stream ends after {stream_bytes:,}; save it again"
        )


def frame_box(image: Image.Image) -> Box | None:
    """The part of a GIF's canvas that its first frame covers; None if it covers all, or for other formats.

    Call it before the image is loaded.
    """
    if not isinstance(image, GifImageFile) or not image.tile:
        return None
    left, top, right, bottom = image.tile[0][1] or (0, 0, *image.size)
    box = left, top, right, bottom
    return None if box == (0, 0, *image.size) else box


def _check_first_frame(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` if an animated PNG's first frame does not cover the image (section 11.3.6.2)."""
    for kind, start, _ in png_chunks(data):
        if kind == b"IDAT":
            return
        if kind == b"fcTL":
            width, height, left, top = struct.unpack_from(">4I", data, start + 12)
            if (width, height, left, top) != (*image.size, 0, 0):
                size = f"{image.width}x{image.height}"
                raise DamagedImage(f"the image is damaged: its first frame covers {width}x{height} of {size}; save it again")


def _scale_transparency(image: Image.Image, data: bytes) -> None:
    """Scales a PNG's transparent sample to the 8 bits of Pillow's pixels. Of a 16-bit RGB sample, the upper 8 bits are used."""
    depth, color_type, sample = data[24], data[25], image.info.get("transparency")
    mask = (1 << depth) - 1
    if color_type == 0 and depth < 16 and isinstance(sample, int):
        # Pillow drops some of the sample's bits, so it is read from the chunk
        sample = next(data[start + 9] for kind, start, _ in png_chunks(data) if kind == b"tRNS")
        image.info["transparency"] = (sample & mask) * 255 // mask  # the upper bits are ignored (section 11.3.1.1)
    elif color_type == 2 and isinstance(sample, tuple):
        image.info["transparency"] = tuple(value >> 8 if depth == 16 else value & mask for value in sample)


def _png_bytes(width: int, height: int, *, depth: int, color_type: int, interlace: bool) -> int:
    """Number of bytes of all rows before compression, with one filter byte for each row."""
    bits = depth * PNG_SAMPLES[color_type]
    total = 0
    for left, top, across, down in PASSES if interlace else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total


def _stream_bytes(data: bytes, row_bytes: int) -> int:
    """Number of bytes in the image's inflated stream. Counting stops once `row_bytes` are reached."""
    inflate, total = zlib.decompressobj(), 0
    for kind, start, end in png_chunks(data):
        piece = data[start + 8 : end - 4] if kind == b"IDAT" else b""
        while piece and total < row_bytes and not inflate.eof:
            total += len(inflate.decompress(piece, INFLATE_BYTES))
            piece = inflate.unconsumed_tail
        if kind == b"IEND" or total >= row_bytes:
            break
    return total
