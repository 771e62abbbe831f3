"""Bytes to an upright uint8 RGB array, within limits that are checked before any pixel is decoded."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from imaging.declared import Box, check_declared, check_pixels, frame_box, refusal, unread_kind
from imaging.errors import DamagedImage, EmptyImage, ImageError, ImageTooLarge, UnknownImageType
from imaging.foreign import foreign_format
from imaging.headers import GIF, JPEG, PNG, TIFF, check_header, png_chunks
from imaging.jpeg import check_scan_count, coefficient_bytes, is_lossless
from imaging.tiff import check_single_tags, piece_pixels
from imaging.webp import read_webp_header

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
Extent = tuple[float, float, float, float]
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
JPEG_FORMATS = ("JPEG", "MPO")  # MPO: what phones make, several JPEGs of which the first counts
# our own limit, which is checked right after the header, replaces Pillow's
Image.MAX_IMAGE_PIXELS = None
# of a PNG's texts when inflated: none but EXIF counts here
PngImagePlugin.MAX_TEXT_MEMORY = 8 << 20
SIGNATURES = (PNG, JPEG, *GIF, *TIFF)
ORIENTATION = 0x0112
SWAPPING = (5, 6, 7, 8)
PNG_EXIF = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
XMP = ("xmp", "XML:com.adobe.xmp")
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# per EXIF orientation, the upright array seen as the file stores it (Exif 3.0, section 4.6.5.1.6)
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}
LONGEST_SIDE = 100_000  # Pillow takes memory for each row, however short, and what follows takes time for each
BAND_PIXELS = 1 << 20
RUN_LENGTHS = (1, 2)  # of a BMP: Pillow expands them in Python, a byte at a time
RUN_LENGTH_MEGAPIXELS = 4.0
FIXED_BYTES = 48 << 20  # bands with their conversions, rows, what Pillow keeps of a header
PILLOW = re.compile(r"PIL\.")
# of Pillow's pixels in memory, where not 4
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
BITS_PER_SAMPLE = 258
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Limits:
    """megapixels: of 10^6 pixels, the most that an image may announce."""

    megapixels: float = 100.0


def decode(data: bytes, limits: Limits, working_size: Size | None = None) -> Pixels:
    """The first frame as uint8 RGB (H, W, 3), upright after its EXIF orientation.

    Transparent pixels lie over white, 16-bit samples are scaled to 8, colour profiles are ignored. With a working (height,
    width) the image comes scaled to it: bilinear, averaging where it shrinks; a JPEG that is twice as large or more
    is reduced by libjpeg first, to no less than that size, which takes a fraction of the time.
    Raises `EmptyImage`, `UnknownImageType`, `ImageTooLarge` or `DamagedImage`.
    """
    with _open(data, limits) as image:
        orientation = _orientation(image, data)
        stored, box = _reduce(image, data, orientation, working_size)
        announced, frame = image.size, frame_box(image)
        image.load()
        if image.size != announced:
            raise DamagedImage(f"the image is damaged: it announces {announced} pixels, and has {image.size}; save it anew")
        check_pixels(image, data)
        if stored and (image.size != stored or box):
            scaled = _rgb_image(image, frame).resize(stored, Image.Resampling.BILINEAR, box)
            return _upright_array(scaled, orientation)
        return _upright_array(image, orientation, frame)


def decoding_bytes(data: bytes, limits: Limits, working_size: Size | None = None) -> int:
    """At most so many bytes does `decode` take beside the file's own, its result among them; by the header alone.

    A bound by format and mode, for an image alone in its process measured to be 16 to 64 MiB above what is taken, and more for
    a TIFF by its file's length. Raises as `read_size` does.
    """
    if webp := _read_webp(data, limits):
        size, orientation = webp
        return FIXED_BYTES + _webp_bytes(size, len(data), _stored_size(orientation, working_size))
    with _open(data, limits) as image:
        orientation = _orientation(image, data)
        stored, _ = _reduce(image, data, orientation, working_size)
        return FIXED_BYTES + _taken_bytes(image, data, stored)


def read_size(data: bytes, limits: Limits) -> Size:
    """The upright (height, width) that the header announces; raises as `decode` does, bar damage behind the header.

    A WebP's decoder is not asked: it takes memory for the whole canvas as it opens a file.
    """
    if webp := _read_webp(data, limits):
        (width, height), orientation = webp
    else:
        with _open(data, limits) as image:
            (width, height), orientation = image.size, _orientation(image, data)
    return (width, height) if orientation in SWAPPING else (height, width)


def scale(image: Pixels, size: Size) -> Pixels:
    """An RGB image (H, W, 3) at this (height, width), as `decode` scales."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


def _orientation(image: Image.Image, data: bytes) -> int:
    """The EXIF orientation, without decoding: of a PNG, Pillow reads what stands behind the pixels only after them."""
    if image.format == "TIFF":  # Pillow turns it, and announces the upright size
        return 1
    if image.format == "PNG":
        try:
            with Image.open(io.BytesIO(_without_pixels(data)), formats=("PNG",)) as header:
                _forget_xmp(header)
                return _of_exif(lambda: Image.Image.getexif(header))
        except UnidentifiedImageError:  # the image itself was opened: what cannot be read stands behind its pixels
            return 1
    return _of_exif(image.getexif)


def _of_exif(read: Callable[[], Image.Exif]) -> int:
    """The orientation, 1 where EXIF cannot be read or says what is none: the pixels may still be right."""
    try:
        value = read().get(ORIENTATION, 1)
    except Exception:  # as around the decoder: Pillow's readers raise what they come upon
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _read_webp(data: bytes, limits: Limits) -> tuple[tuple[int, int], int] | None:
    """A WebP's (width, height) as its file stores it, within the limits, and its orientation; None for other files."""
    header = read_webp_header(data)
    if header is None:
        return None
    _check_size(header.size, limits)
    return header.size, _of_exif(lambda: _exif(header.exif))


def _exif(content: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(content)
    return exif


def _forget_xmp(image: Image.Image) -> None:
    """Pillow would turn an image by its XMP, too, where EXIF says nothing, and not announce that."""
    for name in XMP:
        image.info.pop(name, None)


def _without_pixels(png: bytes) -> bytes:
    """The PNG's header and what may hold EXIF behind the pixels (PNG, third edition, section 5.3), without them."""
    kept, seen = [png[:8]], False
    for kind, start, end in png_chunks(png):
        if kind == b"IEND" or end > len(png):
            break
        seen = seen or kind == b"IDAT"
        if not seen or kind in PNG_EXIF:
            kept.append(png[start:end])
    return b"".join([*kept, PNG_END])


@contextmanager
def _open(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """The opened image; whatever the decoder raises inside becomes an `ImageError`, but for a lack of memory."""
    if not data:
        raise EmptyImage("the image is empty (0 bytes); send the bytes of an image file")
    try:
        _silence_pillow()
        check_header(data)
        if data.startswith(JPEG):
            check_scan_count(data)
        elif data.startswith(TIFF):
            check_single_tags(data)
        elif header := read_webp_header(data):
            _check_size(header.size, limits)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, limits)
            _forget_xmp(image)
            check_declared(image, data)
            if image.format == "BMP" and image.info.get("compression") in RUN_LENGTHS:
                _check_size(image.size, Limits(min(limits.megapixels, RUN_LENGTH_MEGAPIXELS)), "in run lengths ")
            yield image
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        if data.startswith(SIGNATURES):
            raise refusal(data) from error
        name, accepted = foreign_format(data), ", ".join(FORMATS)
        came = f"these bytes are {name}, none of {accepted}; convert it, for instance to JPEG"
        raise UnknownImageType(came if name else f"these bytes are none of {accepted}; send one of those") from error
    except Exception as error:
        reason = f": {text}" if (text := str(error)) else ""
        raise unread_kind(error) or DamagedImage(f"the image is damaged{reason}; is the file complete?") from error


def _silence_pillow() -> None:
    """What Pillow warns of is either refused here or harmless. For good: `catch_warnings` would undo what other threads set."""
    if not any(module == PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW.pattern)


def _check_size(size: tuple[int, int], limits: Limits, kind: str = "") -> None:
    if min(size) < 1:
        raise DamagedImage(f"the image is damaged: it announces {size[0]}x{size[1]} pixels; save it anew")
    if max(size) > LONGEST_SIDE:
        stated = f"{size[0]}x{size[1]} pixels; at most {LONGEST_SIDE:,} are taken a side"
        raise ImageTooLarge(f"the image has {stated}, scale it down or cut it")
    megapixels = size[0] * size[1] / 1e6
    if megapixels > limits.megapixels:
        stated = f"{size[0]}x{size[1]} pixels ({megapixels:.1f} megapixels)"
        raise ImageTooLarge(f"the image has {stated}; at most {limits.megapixels:g} megapixels {kind}are taken, scale it down")


def _stored_size(orientation: int, working_size: Size | None) -> Size | None:
    """A working (height, width) as the file stores it: (width, height) of its pixels before they are turned."""
    return working_size if working_size is None or orientation in SWAPPING else working_size[::-1]


def _reduce(image: Image.Image, data: bytes, orientation: int, working_size: Size | None) -> tuple[Size | None, Extent | None]:
    """The working (width, height) as the file stores it; a JPEG that is far larger, and not lossless, will be decoded reduced.

    Where libjpeg cannot divide a side evenly, the last pixel of the reduced image reaches beyond the photo: the second value is
    then the part of the reduced image, in its pixels, that the photo covers.
    """
    if working_size is None:
        return None, None
    stored = _stored_size(orientation, working_size)
    reduced = image.draft(None, stored) if image.format in JPEG_FORMATS and not is_lossless(data) else None
    box = reduced[1] if reduced else None
    return stored, None if box is None or box == (0, 0, *image.size) else box


def _upright_array(image: Image.Image, orientation: int, frame: Box | None = None) -> Pixels:
    """An image's RGB pixels, turned as EXIF says; in bands, since a copy holds the interpreter's lock and takes memory."""
    width, height = image.size
    upright = np.empty((width, height, 3) if orientation in SWAPPING else (height, width, 3), np.uint8)
    stored = STORED[orientation](upright) if orientation in STORED else upright
    for top, band in _rgb_bands(image, frame):
        stored[top : top + band.height] = np.asarray(band)
    return upright


def _rgb_image(image: Image.Image, frame: Box | None) -> Image.Image:
    """An image as RGB without transparency; the memory of one that is neither is given back."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rgb = Image.new("RGB", image.size)
    for top, band in _rgb_bands(image, frame):
        rgb.paste(band, (0, top))
    image.close()
    return rgb


def _rgb_bands(image: Image.Image, frame: Box | None) -> Iterator[tuple[int, Image.Image]]:
    """Bands of an image as RGB, each with its first row; white outside the frame."""
    width, height = image.size
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = _to_rgb(image if rows >= height else image.crop((0, top, width, bottom)))
        yield top, band if frame is None else _over_white(band, top, frame)


def _over_white(band: Image.Image, top: int, frame: Box) -> Image.Image:
    white = Image.new("RGB", band.size, "white")
    left, first, right, last = frame[0], max(0, frame[1] - top), frame[2], min(band.height, frame[3] - top)
    if first < last:
        white.paste(band.crop((left, first, right, last)), (left, first))
    return white


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BIT:
        image = _eight_bit(image)
    if image.mode == "La":  # grey, multiplied by its opacity: Pillow converts it to nothing but LA
        image = image.convert("LA")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey samples, which Pillow's own conversion would clip at 255, scaled by 255/65535."""
    samples = np.asarray(image).astype(np.float32)
    grey = np.clip(samples * (255 / 65535) + 0.5, 0, 255).astype(np.uint8)
    if (transparent := image.info.get("transparency")) is not None:
        grey[samples == transparent] = 255
    return Image.fromarray(grey)


def _webp_bytes(size: tuple[int, int], length: int, stored: tuple[int, int] | None) -> int:
    """As `_taken_bytes`: the decoder's two canvases and copies of the file; the frame as bytes while it is loaded."""
    pixels = size[0] * size[1]
    return _most_bytes(size, stored, own=4 * pixels, kept=8 * pixels + 3 * length, loading=4 * pixels, converting=8 * pixels)


def _taken_bytes(image: Image.Image, data: bytes, stored: tuple[int, int] | None) -> int:
    """The most bytes that pixels take at once: the decoder's, Pillow's and our copies of them."""
    pixels = image.width * image.height
    own = pixels * MODE_BYTES.get(image.mode, 4)
    kept = loading = 0  # until the image is closed; while it is loaded
    if data.startswith(JPEG):
        loading = coefficient_bytes(data)
    elif image.format == "GIF":  # what the frame leaves behind
        kept = pixels
    elif image.info.get("compression") in RUN_LENGTHS:
        loading = 3 * pixels
    elif isinstance(image, TiffImageFile):  # a strip as it is read or decoded; a copy that is upright
        whole = image.tile[0][0] == "libtiff"
        piece = piece_pixels(image.tag_v2) * max(4, sum(image.tag_v2.get(BITS_PER_SAMPLE, (1,))) // 8) if whole else 0
        loading = 3 * len(data) + max(piece, own if image.tag_v2.get(ORIENTATION, 1) != 1 else 0)
    converting = 0 if image.mode == "RGB" and not image.has_transparency_data else own + 4 * pixels
    return _most_bytes(image.size, stored, own=own, kept=kept, loading=loading, converting=converting)


def _most_bytes(
    size: tuple[int, int], stored: tuple[int, int] | None, *, own: int, kept: int, loading: int, converting: int
) -> int:
    """Of Pillow's `own` pixels, what is `kept` until the image is closed, and what loading, converting and scaling take."""
    pixels = size[0] * size[1]
    if not stored or stored == size:
        return kept + own + max(loading, 3 * pixels)
    result = stored[0] * stored[1]
    scaling = 4 * (pixels + stored[0] * size[1] + result)
    return kept + max(own + loading, converting, scaling, 4 * pixels + 8 * result)
