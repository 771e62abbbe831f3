"""Decodes an image file to an upright uint8 RGB array. Size limits are checked before any pixel is decoded."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import AvifImagePlugin, Image, PngImagePlugin, UnidentifiedImageError, features

from imaging.conversion import SWAPPING, Pixels, rgb_image, rgb_profile, upright_array
from imaging.errors import DamagedImage, EmptyImage, ImageError, ImageTooLarge, UnknownImageType
from imaging.formats.avif import avif_problem, is_avif
from imaging.formats.damage import WITHOUT_LINE_BREAKS, damage_of, lacks_line_breaks
from imaging.formats.declarations import check_declarations, check_pixels, frame_box, refusal, unsupported_kind
from imaging.formats.foreign import foreign_ending, foreign_format
from imaging.formats.headers import GIF, JPEG, PNG, TIFF, check_header, png_chunks
from imaging.formats.jpeg import check_scan_count, is_lossless
from imaging.formats.tiff_pages import choose_page
from imaging.formats.webp import read_webp_header

Size = tuple[int, int]
Extent = tuple[float, float, float, float]
ENDINGS_OF_FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff", ".btf", ".tf8"),
    "AVIF": (".avif", ".avifs"),
}
"""The accepted formats. For each, the endings of file names, in lower case, by which commands find images in folders."""
IMAGE_FORMATS = tuple(ENDINGS_OF_FORMATS)
NONE_OF_THEM = f"this file is none of {', '.join(IMAGE_FORMATS)}"
"""The beginning of the error for a file that cannot be named."""
IMAGE_ENDINGS = tuple(ending for endings in ENDINGS_OF_FORMATS.values() for ending in endings)
JPEG_FORMATS = ("JPEG", "MPO")  # MPO: several JPEGs in one file, as phones write them; only the first is read
# `check_size` replaces Pillow's limit; it runs right after the header is read
Image.MAX_IMAGE_PIXELS = None
# limit in bytes for a PNG's inflated text chunks, of which only EXIF is used
PngImagePlugin.MAX_TEXT_MEMORY = 8 << 20
# by default a thread for each core, each with a stack in the worker's limit on memory
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
SIGNATURES = (PNG, JPEG, *GIF, *TIFF)
ORIENTATION = 0x0112
PNG_EXIF = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
XMP = ("xmp", "XML:com.adobe.xmp")
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
LONGEST_SIDE = 100_000  # pixels; each row costs memory in Pillow and time in later steps, however short it is
RUN_LENGTHS = (1, 2)  # run-length compressions of a BMP; Pillow expands them in Python, byte by byte
RUN_LENGTH_MEGAPIXELS = 4.0
PILLOW = re.compile(r"PIL\.")


@dataclass(frozen=True)
class Limits:
    """megapixels: the largest size that an image's header may announce, in units of 10^6 pixels.

    advice: what to do about a larger image, for the error.
    """

    megapixels: float = 100.0
    advice: str = "scale it down"


def decode(data: bytes, limits: Limits, working_size: Size | None = None) -> Pixels:
    """Decodes an image as `decode_photo`, without its profile."""
    return decode_photo(data, limits, working_size)[0]


def decode_photo(data: bytes, limits: Limits, working_size: Size | None = None) -> tuple[Pixels, bytes | None]:
    """Decodes the first frame to uint8 RGB (H, W, 3) and turns it upright by its EXIF orientation.

    Transparent pixels are blended with white. 16-bit samples are scaled to 8 bits. Colour profiles change
    no pixel. The second value is the profile to write into pictures of the pixels, as `rgb_profile` gives it.
    `working_size` is (height, width): the result is scaled to it with a bilinear filter, which averages when it shrinks.
    libjpeg first reduces a JPEG that is at least twice as large, to no less than that size; this takes a fraction of the time.
    Raises `EmptyImage`, `UnknownImageType`, `ImageTooLarge` or `DamagedImage`.
    """
    with open_image(data, limits) as image:
        orientation = read_orientation(image, data)
        target, box = reduce_jpeg(image, data, orientation, working_size)
        header_size, frame, profile = image.size, frame_box(image), rgb_profile(image)
        image.load()
        if image.size != header_size:
            sizes = f"its header says {header_size[0]}x{header_size[1]} pixels, but it has {image.width}x{image.height}"
            raise DamagedImage(f"the image is damaged: {sizes}; save it again")
        check_pixels(image, data)
        if target and (image.size != target or box):
            rgb = rgb_image(image, frame).resize(target, Image.Resampling.BILINEAR, box)
            return upright_array(rgb, orientation), profile
        return upright_array(image, orientation, frame), profile


def read_size(data: bytes, limits: Limits) -> Size:
    """The upright (height, width) that the header announces.

    Raises the same errors as `decode`, except for damage after the header. A WebP is read without its decoder, which
    allocates memory for the whole canvas when it opens a file.
    """
    if webp := read_webp(data, limits):
        (width, height), orientation = webp
    else:
        with open_image(data, limits) as image:
            (width, height), orientation = image.size, read_orientation(image, data)
    return (width, height) if orientation in SWAPPING else (height, width)


def scale(image: Pixels, size: Size) -> Pixels:
    """Scales an image (H, W, bands) to this (height, width), with the same filter as `decode`."""
    if image.shape[:2] == size:
        return image
    if image.shape[2] != 3:
        result = np.empty((*size, image.shape[2]), np.uint8)
        for band in range(image.shape[2]):
            grey = Image.fromarray(np.ascontiguousarray(image[:, :, band]))
            result[:, :, band] = np.asarray(grey.resize(size[::-1], Image.Resampling.BILINEAR))
        return result
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def read_orientation(image: Image.Image, data: bytes) -> int:
    """The EXIF orientation, read without decoding the pixels.

    Pillow reads the chunks after a PNG's pixels only when it decodes. A copy without the pixels is therefore opened here.
    """
    if image.format == "TIFF":  # Pillow turns it itself and reports the upright size
        return 1
    if image.format == "PNG":
        try:
            with Image.open(io.BytesIO(_without_pixels(data)), formats=("PNG",)) as header:
                _forget_xmp(header)
                return _exif_orientation(lambda: Image.Image.getexif(header))
        except UnidentifiedImageError:  # the full file opened, so the unreadable part lies after the pixels
            return 1
    return _exif_orientation(image.getexif)


def _exif_orientation(read_exif: Callable[[], Image.Exif]) -> int:
    """The EXIF orientation; 1 if EXIF cannot be read or its value is invalid, since the pixels may still be correct."""
    try:
        value = read_exif().get(ORIENTATION, 1)
    except Exception:  # Pillow's EXIF reader raises many types on damaged data
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read_webp(data: bytes, limits: Limits) -> tuple[tuple[int, int], int] | None:
    """A WebP's (width, height) as the file stores it, and its orientation; None for other files.

    Raises `ImageTooLarge` or `DamagedImage` for a size outside the limits.
    """
    header = read_webp_header(data)
    if header is None:
        return None
    check_size(header.size, limits)
    return header.size, _exif_orientation(lambda: _exif(header.exif))


def _exif(content: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(content)
    return exif


def _forget_xmp(image: Image.Image) -> None:
    """Removes XMP, where Pillow looks for an orientation if EXIF has none. The reported size would not show such a turn."""
    for name in XMP:
        image.info.pop(name, None)


def _without_pixels(png: bytes) -> bytes:
    """The PNG without its pixels: the chunks before them, and those after them that may hold EXIF.

    Chunks: PNG, third edition, section 5.3.
    """
    pieces, after_pixels = [png[:8]], False
    for kind, start, end in png_chunks(png):
        if kind == b"IEND" or end > len(png):
            break
        after_pixels = after_pixels or kind == b"IDAT"
        if not after_pixels or kind in PNG_EXIF:
            pieces.append(png[start:end])
    return b"".join([*pieces, PNG_END])


@contextmanager
def open_image(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """Opens an image. Errors of the decoder, here or in the body, become an `ImageError`; `MemoryError` passes."""
    if not data:
        raise EmptyImage("the image is empty (0 bytes); send the bytes of an image file")
    try:
        _silence_pillow()
        check_header(data)
        page = 0
        if data.startswith(JPEG):
            check_scan_count(data)
        elif data.startswith(TIFF):
            page = choose_page(data)
        elif header := read_webp_header(data):
            check_size(header.size, limits)
        elif is_avif(data):
            _check_avif(data)
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            if page:
                image.seek(page)
            check_size(image.size, limits)
            _forget_xmp(image)
            check_declarations(image, data)
            if image.format == "BMP" and image.info.get("compression") in RUN_LENGTHS:
                check_size(image.size, Limits(min(limits.megapixels, RUN_LENGTH_MEGAPIXELS)), "in run lengths ")
            yield image
    except (ImageTooLarge, MemoryError):
        raise
    except Exception as error:
        raise _image_error(data, error) from None if isinstance(error, ImageError) else error


def _image_error(data: bytes, error: Exception) -> ImageError:
    """The error to raise for a file instead of this one, which reading it has raised."""
    if isinstance(error, UnknownImageType):
        return error
    if isinstance(error, UnidentifiedImageError) and not (data.startswith(SIGNATURES) or is_avif(data)):
        return _unknown_type(data)
    if lacks_line_breaks(data):
        return DamagedImage(f"the image is damaged: {WITHOUT_LINE_BREAKS}")
    if isinstance(error, ImageError):
        return error
    if isinstance(error, UnidentifiedImageError):
        return refusal(data)
    problem = f"the image is damaged: {damage_of(data, error)}; is the file complete?"
    return unsupported_kind(error) or DamagedImage(problem)


def _unknown_type(data: bytes) -> UnknownImageType:
    """The error for bytes of a format that is not read."""
    if foreign := foreign_format(data):
        return UnknownImageType(_foreign_problem(*foreign))
    advice = WITHOUT_LINE_BREAKS if lacks_line_breaks(data) else "send one of those"
    return UnknownImageType(f"{NONE_OF_THEM}; {advice}")


def ending_problem(ending: str) -> str | None:
    """The message of `decode` for files with an ending of a format that is not read; None for other endings."""
    foreign = foreign_ending(ending)
    return _foreign_problem(*foreign) if foreign else None


def _foreign_problem(name: str, advice: str) -> str:
    return f"this file is {name}; accepted are {', '.join(IMAGE_FORMATS)}; {advice}"


def _check_avif(data: bytes) -> None:
    """Raises `UnknownImageType` for an AVIF that Pillow would read wrong, and for any AVIF if Pillow has no decoder for it."""
    if problem := avif_problem(data):
        raise UnknownImageType(problem)
    if not features.check("avif"):
        raise _unknown_type(data)


def _silence_pillow() -> None:
    """Ignores Pillow's warnings, which are harmless or lead to an error here.

    The filter stays for the process's life: `catch_warnings` would undo the filters that other threads set.
    """
    if not any(module == PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW.pattern)


def check_size(size: tuple[int, int], limits: Limits, kind: str = "") -> None:
    """Raises `DamagedImage` or `ImageTooLarge` for a (width, height) that no image may have. kind: which images, in words."""
    if min(size) < 1:
        raise DamagedImage(f"the image is damaged: it announces {size[0]}x{size[1]} pixels; save it again")
    if max(size) > LONGEST_SIDE:
        problem = f"{size[0]}x{size[1]} pixels; a side may have at most {LONGEST_SIDE:,}"
        raise ImageTooLarge(f"the image has {problem}; scale it down or cut it")
    megapixels = size[0] * size[1] / 1e6
    if megapixels > limits.megapixels:
        problem = f"{size[0]}x{size[1]} pixels ({megapixels:.1f} megapixels)"
        raise ImageTooLarge(
            f"the image has {problem}; at most {limits.megapixels:g} megapixels {kind}are accepted; {limits.advice}"
        )


def stored_size(orientation: int, working_size: Size | None) -> Size | None:
    """Converts an upright (height, width) to the (width, height) that the file's pixels have before they are turned."""
    return working_size if working_size is None or orientation in SWAPPING else working_size[::-1]


def reduce_jpeg(
    image: Image.Image, data: bytes, orientation: int, working_size: Size | None
) -> tuple[Size | None, Extent | None]:
    """The working (width, height) in the file's layout, and the part of the reduced image that the photo covers.

    Makes Pillow decode a much larger JPEG at a reduced size, unless it is lossless. If libjpeg cannot divide a side evenly,
    the reduced image's last pixel reaches beyond the photo. The second value then gives the photo's extent in pixels of the
    reduced image; otherwise it is None.
    """
    if working_size is None:
        return None, None
    target = stored_size(orientation, working_size)
    draft = image.draft(None, target) if image.format in JPEG_FORMATS and not is_lossless(data) else None
    box = draft[1] if draft else None
    return target, None if box is None or box == (0, 0, *image.size) else box
