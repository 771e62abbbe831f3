"""Checks that Pillow reads what a TIFF's tags declare (TIFF 6.0)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2, TiffImageFile

from imaging.errors import DamagedImage, ImageError, UnknownImageType
from imaging.opacity import is_opacity

WIDTH, LENGTH, BITS_PER_SAMPLE, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES_PER_PIXEL, ROWS_PER_STRIP, STRIP_BYTE_COUNTS, PLANAR, COLOR_MAP = 273, 277, 278, 279, 284, 320
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTE_COUNTS, INK_SET, EXTRA_SAMPLES = 322, 323, 324, 325, 332, 338
SAMPLE_FORMAT, SUBSAMPLING, REFERENCE = 339, 530, 532
NEW_SUBFILE, SUB_DIRECTORIES, DNG_VERSION = 254, 330, 50706
WHITE_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 2, 3, 5, 6
MOST_8_BIT = 255
UNSPECIFIED, PREMULTIPLIED = 0, 1  # values of EXTRA_SAMPLES
CMYK = 1  # value of INK_SET
PLACES = {33550, 34264, 34735}  # tags of GeoTIFF 1.1: ModelPixelScale, ModelTransformation, GeoKeyDirectory
REDUCED_IMAGE = 1  # bit of NEW_SUBFILE: a smaller version of another image in the file
PHOTOMETRICS = (0, 1, 2, 3, 5, 6, 8)  # grey, RGB, palette, CMYK, YCbCr, CIE L*a*b*
SAMPLE_FORMATS = {2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}
RAW, FAX = 1, (2, 3, 4, 32771)  # compressions: none, CCITT's
UNREAD_COMPRESSIONS = (50001,)  # WebP: Pillow knows the number, but the libtiff in its wheels lacks the codec
BITS = (1, 2, 4, 8, 16)
RAW_FILE = "the file is a camera's raw file, of which a TIFF reader sees only the preview; save it as JPEG or TIFF"
FULL_RANGE = (0, 255, 128, 255, 128, 255)  # of YCbCr: black and white of each component


def tiff_problem(tags: Mapping[int, Any]) -> str | None:
    """A message that says which sample type or layout of the TIFF is not read, and how to convert it; None if all is read."""
    bits, formats = _numbers(tags, BITS_PER_SAMPLE, 1), _numbers(tags, SAMPLE_FORMAT, 1)
    photometric, compression = tags.get(PHOTOMETRIC, 0), tags.get(COMPRESSION, RAW)
    if names := [SAMPLE_FORMATS[number] for number in formats if number in SAMPLE_FORMATS]:
        return f"the image has {names[0]} samples of an unknown range; save it in 8 or 16 bits"
    if unread_bits := [count for count in bits if count not in BITS]:
        return f"the image has samples of {unread_bits[0]} bits, whose value of white is unknown; save it in 8 or 16 bits"
    if DNG_VERSION in tags or (SUB_DIRECTORIES in tags and tags.get(NEW_SUBFILE, 0) & REDUCED_IMAGE):
        return RAW_FILE
    if PHOTOMETRIC not in tags and compression not in FAX:
        return "the TIFF does not say whether 0 is black or white; save it as grey or RGB"
    if photometric not in PHOTOMETRICS:
        return f"the TIFF has photometric interpretation {photometric}, which is not read; save it as grey or RGB"
    if compression not in COMPRESSION_INFO or compression in UNREAD_COMPRESSIONS:
        return f"the TIFF has compression {compression}, which is not read; save it with LZW or Deflate"
    if photometric == WHITE_IS_ZERO and max(bits) > 8:
        return "the TIFF has 16-bit samples whose 0 is white, which are not read; save it with 0 as black"
    if photometric == PALETTE and max(_numbers(tags, COLOR_MAP, MOST_8_BIT + 1), default=0) <= MOST_8_BIT:
        return "the TIFF has a palette of 8 bits where 16 are required, and would be black; save it as RGB"
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


def piece_pixels(tags: Mapping[int, Any]) -> int:
    """Number of pixels in a strip or tile. libtiff decodes each as a whole."""
    if TILE_OFFSETS in tags:
        return int(tags[TILE_WIDTH] * tags[TILE_LENGTH])
    return int(tags[WIDTH] * min(tags.get(ROWS_PER_STRIP, tags[LENGTH]), tags[LENGTH]))


def check_strips(tags: Mapping[int, Any]) -> None:
    """Raises `DamagedImage` if the strips or tiles do not hold all rows. Pillow's own reader, unlike libtiff, misses this."""
    bits, apart = _numbers(tags, BITS_PER_SAMPLE, 1), _is_apart(tags)
    has_tiles = TILE_OFFSETS in tags
    if has_tiles and STRIP_OFFSETS in tags:
        raise DamagedImage("the image is damaged: it has strips as well as tiles; save it again")
    need, pieces = piece_count(tags, has_tiles=has_tiles)
    offsets = _numbers(tags, TILE_OFFSETS if has_tiles else STRIP_OFFSETS, 0)
    counts = _numbers(tags, TILE_BYTE_COUNTS if has_tiles else STRIP_BYTE_COUNTS, -1)
    if len(offsets) != need or 0 in offsets or 0 in counts:
        lengths = counts if len(counts) == len(offsets) else (-1,) * len(offsets)
        present = sum(offset != 0 and count != 0 for offset, count in zip(offsets, lengths, strict=True))
        raise DamagedImage(f"the image is damaged: its rows need {need} {pieces}, and it has {present}; is the file complete?")
    if tags.get(COMPRESSION, RAW) != RAW or tags.get(PHOTOMETRIC) == YCBCR or need == 1 or len(counts) != need:
        return
    across, down = _piece_sides(tags, has_tiles=has_tiles)
    rows = -(-tags[LENGTH] // down)
    row_bytes = -(-across * (bits[0] if apart else _pixel_bits(tags)) // 8)
    last_rows = down if has_tiles else tags[LENGTH] - (rows - 1) * down
    minimums = (row_bytes * (last_rows if (index + 1) % rows == 0 else down) for index in range(need))
    if any(count < minimum for count, minimum in zip(counts, minimums, strict=True)):
        raise DamagedImage(f"the image is damaged: its {pieces} hold fewer bytes than its rows; is the file complete?")


def piece_count(tags: Mapping[int, Any], *, has_tiles: bool) -> tuple[int, str]:
    """How many strips or tiles the rows need, and which of the two they are. Raises `DamagedImage` for those without pixels."""
    across, down = _piece_sides(tags, has_tiles=has_tiles)
    if across < 1 or down < 1:
        raise DamagedImage(f"the image is damaged: its strips or tiles have {across}x{down} pixels; save it again")
    count = -(-tags[LENGTH] // down) * -(-tags[WIDTH] // across) * (tags[SAMPLES_PER_PIXEL] if _is_apart(tags) else 1)
    return count, "tiles" if has_tiles else "strips"


def _piece_sides(tags: Mapping[int, Any], *, has_tiles: bool) -> tuple[int, int]:
    """The (width, height) of a strip or tile in pixels."""
    if has_tiles:
        return tags[TILE_WIDTH], tags[TILE_LENGTH]
    return tags[WIDTH], min(tags.get(ROWS_PER_STRIP, tags[LENGTH]), tags[LENGTH])


def check_fourth_sample(image: TiffImageFile) -> None:
    """Raises `UnknownImageType` for a decoded image with a last sample of undeclared meaning, or of one that is not believed.

    Pillow treats it as opacity, but it may be infrared, also in a file with coordinates that calls it opacity, as GDAL writes
    any fourth band. If it is 255 everywhere, it does not affect the result.
    """
    if image.mode not in ("LA", "La", "RGBA", "RGBa"):
        return
    clear, *between, full = image.histogram()[-MOST_8_BIT - 1 :]
    if not PLACES.isdisjoint(image.tag_v2) and not is_opacity(sum(between), full, image.width * image.height):
        raise UnknownImageType(
            "the TIFF has coordinates, and what it calls opacity is neither none nor full in many pixels, as near infrared is; "
            "save it without that band, or ask for an answer with coordinates"
        )
    if image.mode == "RGBA" and EXTRA_SAMPLES not in image.tag_v2 and (clear or any(between)):
        raise UnknownImageType("the TIFF has a fourth sample and does not say whether it is opacity; save it as RGB")


def tiff_refusal(data: bytes) -> ImageError | None:
    """The error for a TIFF that Pillow cannot open because it does not read its kind of samples; None for a damaged file."""
    try:
        tags, file = ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8]), io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        if not {WIDTH, LENGTH} < set(tags) or {STRIP_OFFSETS, TILE_OFFSETS}.isdisjoint(tags):
            return None
        bits = ", ".join(map(str, _numbers(tags, BITS_PER_SAMPLE, 1)))
        kind = f"samples of {bits} bits in photometric interpretation {tags.get(PHOTOMETRIC, 0)}"
        return UnknownImageType(tiff_problem(tags) or f"the TIFF has {kind}, which are not read; save it as 8-bit RGB")
    except Exception:  # Pillow's tag reader raises many types on damaged data
        return None


def _numbers(tags: Mapping[int, Any], tag: int, default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value,)


def _is_apart(tags: Mapping[int, Any]) -> bool:
    """Whether the file stores each sample of a pixel in a separate plane."""
    return bool(tags.get(PLANAR, 1) == 2 and tags.get(SAMPLES_PER_PIXEL, 1) > 1)


def _pixel_bits(tags: Mapping[int, Any]) -> int:
    """Bits of all samples of a pixel. If the tag holds a single number, it applies to every sample."""
    bits = _numbers(tags, BITS_PER_SAMPLE, 1)
    return sum(bits) if len(bits) > 1 else int(bits[0] * tags.get(SAMPLES_PER_PIXEL, 1))


def _is_plain_ycbcr(tags: Mapping[int, Any]) -> bool:
    """Whether YCbCr is not subsampled and uses the full range. Pillow's own reader supports nothing else."""
    sampling, reference = tags.get(SUBSAMPLING, (2, 2)), tags.get(REFERENCE, FULL_RANGE)
    return tuple(sampling) == (1, 1) and tuple(map(float, reference)) == FULL_RANGE
