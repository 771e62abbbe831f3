"""Bounds the memory that `imaging.decoding` needs for an image file, from the file's header alone."""

from __future__ import annotations

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from imaging.decoding import (
    ORIENTATION,
    RUN_LENGTHS,
    Limits,
    Size,
    open_image,
    read_orientation,
    read_webp,
    reduce_jpeg,
    stored_size,
)
from imaging.formats.headers import JPEG
from imaging.formats.jpeg import coefficient_bytes
from imaging.formats.tiff import piece_pixels

FIXED_BYTES = 48 << 20  # for bands and their conversions, memory per row, and the header data that Pillow keeps
# bytes per pixel in Pillow's memory, for modes that do not use 4
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
BITS_PER_SAMPLE = 258


def decoding_bytes(data: bytes, limits: Limits, working_size: Size | None = None) -> int:
    """Upper bound, in bytes, of the memory that `decode` needs besides the file's own bytes; includes its result.

    Reads only the header; the bound depends on format and mode. working_size: (height, width), as in `decode`. In measurements
    with one image in the process the bound was 16 to 64 MiB above the real use; for a TIFF, the file's length more.
    Raises the same errors as `read_size`.
    """
    if webp := read_webp(data, limits):
        size, orientation = webp
        return FIXED_BYTES + _webp_bytes(size, len(data), stored_size(orientation, working_size))
    with open_image(data, limits) as image:
        orientation = read_orientation(image, data)
        target, _ = reduce_jpeg(image, data, orientation, working_size)
        return FIXED_BYTES + _pixel_bytes(image, data, target)


def scaling_bytes(size: Size, target: Size) -> int:
    """Upper bound of the memory for scaling an image from one (height, width) to another, with Pillow's copy of it."""
    return 4 * (size[0] * size[1] + target[1] * size[0] + target[0] * target[1]) if size != target else 0


def _webp_bytes(size: tuple[int, int], length: int, target: tuple[int, int] | None) -> int:
    """As `_pixel_bytes`, for a WebP. The decoder keeps two canvases and copies of the file; loading adds the frame as bytes."""
    pixels = size[0] * size[1]
    return _most_bytes(
        size,
        target,
        image_bytes=4 * pixels,
        decoder_bytes=8 * pixels + 3 * length,
        load_bytes=4 * pixels,
        conversion_bytes=8 * pixels,
    )


def _pixel_bytes(image: Image.Image, data: bytes, target: tuple[int, int] | None) -> int:
    """The largest number of bytes in use at once for pixels: those of the decoder, of Pillow, and of copies made here."""
    pixels = image.width * image.height
    image_bytes = pixels * MODE_BYTES.get(image.mode, 4)
    decoder_bytes = load_bytes = 0  # the former until the image is closed, the latter only while it is loaded
    if data.startswith(JPEG):
        load_bytes = coefficient_bytes(data)
    elif image.format == "AVIF":  # the decoder keeps its planes, Pillow the frame as bytes; film grain makes another copy
        samples = len(image.getbands())
        decoder_bytes, load_bytes = (2 * samples + 4) * pixels, 2 * samples * pixels
    elif image.format == "GIF":  # Pillow keeps the image that will replace the frame
        decoder_bytes = pixels
    elif image.info.get("compression") in RUN_LENGTHS:
        load_bytes = 3 * pixels
    elif isinstance(image, TiffImageFile):  # the strip that is read or decoded; or an upright copy
        by_libtiff = image.tile[0][0] == "libtiff"
        piece = piece_pixels(image.tag_v2) * max(4, sum(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) // 8) if by_libtiff else 0
        load_bytes = 3 * len(data) + max(piece, image_bytes if image.tag_v2.get(ORIENTATION, 1) != 1 else 0)
    conversion_bytes = 0 if image.mode == "RGB" and not image.has_transparency_data else image_bytes + 4 * pixels
    return _most_bytes(
        image.size,
        target,
        image_bytes=image_bytes,
        decoder_bytes=decoder_bytes,
        load_bytes=load_bytes,
        conversion_bytes=conversion_bytes,
    )


def _most_bytes(
    size: tuple[int, int],
    target: tuple[int, int] | None,
    *,
    image_bytes: int,
    decoder_bytes: int,
    load_bytes: int,
    conversion_bytes: int,
) -> int:
    """The peak number of bytes over loading, converting and scaling.

    image_bytes: of Pillow's pixels. decoder_bytes: in use until the image is closed. load_bytes, conversion_bytes: of one step.
    """
    pixels = size[0] * size[1]
    if not target or target == size:
        return decoder_bytes + image_bytes + max(load_bytes, 3 * pixels)
    result = target[0] * target[1]
    scale_bytes = scaling_bytes(size[::-1], target[::-1])
    return decoder_bytes + max(image_bytes + load_bytes, conversion_bytes, scale_bytes, 4 * pixels + 8 * result)
