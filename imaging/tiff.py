"""What a TIFF's tags declare, compared with what Pillow reads (TIFF 6.0)."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2, TiffImageFile

from imaging.errors import DamagedImage, ImageError, UnknownImageType

WIDTH, LENGTH, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES_PER_PIXEL, ROWS_PER_STRIP, STRIP_BYTE_COUNTS, PLANAR, COLOR_MAP = 273, 277, 278, 279, 284, 320
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTE_COUNTS, INK_SET, EXTRA_SAMPLES = 322, 323, 324, 325, 332, 338
SAMPLE_FORMAT, SUBSAMPLING, REFERENCE = 339, 530, 532
SINGLE = (WIDTH, LENGTH, COMPRESSION, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH)
WHOLE_NUMBERS = (1, 3, 4, 16)  # types of tags: BYTE, SHORT, LONG, LONG8
NEW_SUBFILE, SUB_DIRECTORIES, DNG_VERSION = 254, 330, 50706
WHITE_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 2, 3, 5, 6
MOST_8_BIT = 255
UNSPECIFIED, PREMULTIPLIED = 0, 1  # of extra samples
CMYK = 1  # of ink sets
REDUCED = 1  # of subfiles: a smaller version of another image in the file
PHOTOMETRICS = (0, 1, 2, 3, 5, 6, 8)  # grey, RGB, palette, CMYK, YCbCr, CIE L*a*b*
SAMPLE_FORMATS = {2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}
RAW, FAX = 1, (2, 3, 4, 32771)  # compressions: none, CCITT's
UNREAD = (50001,)  # WebP in a TIFF: Pillow knows the name, and its wheels' libtiff lacks the codec
BITS = (1, 2, 4, 8, 16)
FULL_RANGE = (0, 255, 128, 255, 128, 255)  # of YCbCr, black and white of each


def tiff_problem(tags: Mapping[int, Any]) -> str | None:
    """What of a TIFF's samples is not read, and how to convert it."""
    bits, formats = _numbers(tags, BITS_PER_SAMPLE, 1), _numbers(tags, SAMPLE_FORMAT, 1)
    photometric, compression = tags.get(PHOTOMETRIC, 0), tags.get(COMPRESSION, RAW)
    if names := [SAMPLE_FORMATS[each] for each in formats if each in SAMPLE_FORMATS]:
        return f"the image has {names[0]} samples of an unknown range; save it in 8 or 16 bits"
    if unknown := [each for each in bits if each not in BITS]:
        return f"the image has samples of {unknown[0]} bits, of which white is not known; save it in 8 or 16 bits"
    if DNG_VERSION in tags or (SUB_DIRECTORIES in tags and tags.get(NEW_SUBFILE, 0) & REDUCED):
        return "the file is a camera's raw file, of which a TIFF's reader sees the preview; save it as JPEG or TIFF"
    if PHOTOMETRIC not in tags and compression not in FAX:
        return "the TIFF does not say whether 0 is black or white; save it as grey or RGB"
    if photometric not in PHOTOMETRICS:
        return f"the TIFF has photometric interpretation {photometric}, which is not read; save it as grey or RGB"
    if compression not in COMPRESSION_INFO or compression in UNREAD:
        return f"the TIFF has compression {compression}, which is not read; save it with LZW or Deflate"
    if photometric == WHITE_IS_ZERO and max(bits) > 8:
        return "the TIFF has 16-bit samples whose 0 is white, which are not read; save it with 0 as black"
    if photometric == PALETTE and max(_numbers(tags, COLOR_MAP, MOST_8_BIT + 1), default=0) <= MOST_8_BIT:
        return "the TIFF has a palette of 8 bits, where TIFF has 16, and would be black; save it as RGB"
    if photometric == SEPARATED and tags.get(INK_SET, CMYK) != CMYK:
        return "the TIFF has inks other than CMYK, which are not read; save it as RGB"
    extra = _numbers(tags, EXTRA_SAMPLES, UNSPECIFIED)
    raw = compression == RAW and (set(bits) != {8} or PREMULTIPLIED in extra or tags.get(FILL_ORDER, 1) != 1)
    opacity_and_more = len(extra) > 1 and any(extra)
    if _is_apart(tags) and (raw or opacity_and_more or photometric not in (RGB, SEPARATED)):
        return "the TIFF has its planes apart, which is read for 8-bit RGB and CMYK alone; save it with its planes together"
    if compression == RAW and photometric == YCBCR and not _is_plain_ycbcr(tags):
        return "the TIFF has YCbCr of its own sampling or range without compression, which is not read; save it as RGB"
    return None


def check_single_tags(data: bytes) -> None:
    """Raises `DamagedImage` where a tag that says what pieces hold comes twice, or with several values.

    Of those libtiff may take another than Pillow does.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] == b"+\0"
    head, entry = (f"{order}Q", f"{order}HHQ8x") if big else (f"{order}H", f"{order}HHI4x")
    position = struct.calcsize(head)
    start = int.from_bytes(data[8:16] if big else data[4:8], "little" if order == "<" else "big")
    if start + position > len(data):
        return
    (count,) = struct.unpack_from(head, data, start)
    directory = data[start + position : start + position + count * struct.calcsize(entry)]
    whole = len(directory) // struct.calcsize(entry) * struct.calcsize(entry)
    single = [each for each in struct.iter_unpack(entry, directory[:whole]) if each[0] in SINGLE]
    for tag, kind, values in single:
        if values != 1 or kind not in WHOLE_NUMBERS or sum(each[0] == tag for each in single) > 1:
            raise DamagedImage(f"the image is damaged: its tag {tag} is not one whole number; save it anew")


def piece_pixels(tags: Mapping[int, Any]) -> int:
    """Pixels of a strip or tile, which libtiff decodes as a whole."""
    if TILE_OFFSETS in tags:
        return int(tags[TILE_WIDTH] * tags[TILE_LENGTH])
    return int(tags[WIDTH] * min(tags.get(ROWS_PER_STRIP, tags[LENGTH]), tags[LENGTH]))


def check_strips(tags: Mapping[int, Any]) -> None:
    """Raises `DamagedImage` where the strips or tiles do not hold all rows. libtiff sees it, Pillow's own reader does not."""
    width, length, bits = tags[WIDTH], tags[LENGTH], _numbers(tags, BITS_PER_SAMPLE, 1)
    tiled = TILE_OFFSETS in tags
    if tiled and STRIP_OFFSETS in tags:
        raise DamagedImage("the image is damaged: it has strips as well as tiles; save it anew")
    if tiled:
        across, down = tags[TILE_WIDTH], tags[TILE_LENGTH]
    else:
        across, down = width, min(tags.get(ROWS_PER_STRIP, length), length)
    if across < 1 or down < 1:
        raise DamagedImage(f"the image is damaged: its strips or tiles have {across}x{down} pixels; save it anew")
    rows = -(-length // down)
    apart = _is_apart(tags)
    expected = rows * -(-width // across) * (tags[SAMPLES_PER_PIXEL] if apart else 1)
    offsets = _numbers(tags, TILE_OFFSETS if tiled else STRIP_OFFSETS, 0)
    counts = _numbers(tags, TILE_BYTE_COUNTS if tiled else STRIP_BYTE_COUNTS, -1)
    pieces = "tiles" if tiled else "strips"
    if len(offsets) != expected or 0 in offsets or 0 in counts:
        lengths = counts if len(counts) == len(offsets) else (-1,) * len(offsets)
        present = sum(offset != 0 and count != 0 for offset, count in zip(offsets, lengths, strict=True))
        raise DamagedImage(
            f"the image is damaged: its rows need {expected} {pieces}, and it has {present}; is the file complete?"
        )
    if tags.get(COMPRESSION, RAW) != RAW or tags.get(PHOTOMETRIC) == YCBCR or expected == 1 or len(counts) != expected:
        return
    row_bytes = -(-across * (bits[0] if apart else _pixel_bits(tags)) // 8)
    last = down if tiled else length - (rows - 1) * down
    needed = (row_bytes * (last if (index + 1) % rows == 0 else down) for index in range(expected))
    if any(count < least for count, least in zip(counts, needed, strict=True)):
        raise DamagedImage(f"the image is damaged: its {pieces} hold fewer bytes than its rows; is the file complete?")


def check_fourth_sample(image: TiffImageFile) -> None:
    """Raises `UnknownImageType` for a fourth sample of a decoded RGB image that Pillow takes for opacity, and may be infrared.

    Where it is full everywhere, both are the same.
    """
    if image.mode == "RGBA" and EXTRA_SAMPLES not in image.tag_v2 and image.getextrema()[-1] != (MOST_8_BIT, MOST_8_BIT):
        raise UnknownImageType("the TIFF has a fourth sample and does not say whether it is opacity; save it as RGB")


def tiff_refusal(data: bytes) -> ImageError | None:
    """Says why Pillow cannot open a TIFF: a kind of samples that it does not read; None for damage."""
    try:
        tags, file = ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8]), io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        if not {WIDTH, LENGTH} < set(tags) or {STRIP_OFFSETS, TILE_OFFSETS}.isdisjoint(tags):
            return None
        bits = ", ".join(map(str, _numbers(tags, BITS_PER_SAMPLE, 1)))
        kind = f"samples of {bits} bits in photometric interpretation {tags.get(PHOTOMETRIC, 0)}"
        return UnknownImageType(tiff_problem(tags) or f"the TIFF has {kind}, which are not read; save it as 8-bit RGB")
    except Exception:  # as around the decoder: Pillow's readers raise what they come upon
        return None


def _numbers(tags: Mapping[int, Any], tag: int, default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value,)


def _is_apart(tags: Mapping[int, Any]) -> bool:
    """Whether the samples of a pixel lie in planes of their own."""
    return bool(tags.get(PLANAR, 1) == 2 and tags.get(SAMPLES_PER_PIXEL, 1) > 1)


def _pixel_bits(tags: Mapping[int, Any]) -> int:
    """Bits of all samples of a pixel; a single number of bits counts for each of them."""
    bits = _numbers(tags, BITS_PER_SAMPLE, 1)
    return sum(bits) if len(bits) > 1 else int(bits[0] * tags.get(SAMPLES_PER_PIXEL, 1))


def _is_plain_ycbcr(tags: Mapping[int, Any]) -> bool:
    """Whether each pixel has colours of its own, in the full range: all that Pillow's own reader knows."""
    sampling, reference = tags.get(SUBSAMPLING, (2, 2)), tags.get(REFERENCE, FULL_RANGE)
    return tuple(sampling) == (1, 1) and tuple(map(float, reference)) == FULL_RANGE
