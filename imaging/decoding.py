"""Bytes to an upright uint8 RGB array, within limits that are checked before any pixel is decoded."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from imaging.arrow import copy_rgb, view_rgb
from imaging.errors import DamagedImage, EmptyImage, ImageError, ImageTooLarge, UnknownImageType

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# our own limit, which is checked right after the header, replaces Pillow's
Image.MAX_IMAGE_PIXELS = None
JPEG = b"\xff\xd8\xff"
SIGNATURES = (b"\x89PNG\r\n\x1a\n", JPEG, b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
ORIENTATION = 0x0112
SWAPPING = (5, 6, 7, 8)
PNG_EXIF = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # what an orientation in a PNG stands under
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
BAND_PIXELS = 1 << 20
BLOCK = 1 << 20  # bytes for the decoder at once: between blocks, threads wait for each other's interpreter
SHORT = 1 << 12  # bytes of a header that takes no more than some milliseconds, whatever stands there
DRAFT = 2  # times the working size: what a reduced JPEG keeps at least
PILLOW = re.compile(r"PIL\.")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Limits:
    """megapixels: of 10^6 pixels, the most that an image may announce."""

    megapixels: float = 100.0


def decode(data: bytes, limits: Limits, working_size: Size | None = None) -> Pixels:
    """The first frame as uint8 RGB (H, W, 3), upright after its EXIF orientation.

    Transparent pixels lie over white, 16-bit samples are scaled to 8, colour profiles are ignored. The array may be a view of
    one with a fourth sample a pixel that means nothing. With a working (height, width), a JPEG may come smaller than it is
    (libjpeg leaves out the highest frequencies), yet at least twice as large as that: what is left to average costs a
    fraction. Raises `EmptyImage`, `UnknownImageType`, `ImageTooLarge` or `DamagedImage`.
    """
    with _open(data, limits) as image:
        if working_size and image.format == "JPEG":
            height, width = working_size if not _turned(image, data) else working_size[::-1]
            image.draft(None, (DRAFT * width, DRAFT * height))
        if isinstance(image, ImageFile.ImageFile):
            image.decodermaxblock = BLOCK
        image.load()
        orientation = image.getexif().get(ORIENTATION, 1)
        return _upright_array(_to_rgb(image), orientation)


def read_size(data: bytes, limits: Limits) -> tuple[int, int]:
    """The upright (height, width) that the header announces; raises as `decode` does, bar damage behind the header."""
    with _open(data, limits) as image:
        width, height = image.size
        return (width, height) if _turned(image, data) else (height, width)


def peek_size(data: bytes, limits: Limits) -> tuple[int, int] | None:
    """As `read_size`, for a thread that must not be held up: None where it is not a JPEG with all of its header in the first
    `SHORT` bytes."""
    if not data.startswith(JPEG):
        return None
    with suppress(DamagedImage):
        return read_size(data[:SHORT], limits)
    return None


def _turned(image: Image.Image, data: bytes) -> bool:
    """Whether EXIF swaps the announced sides: Pillow's TIFF size is upright already, and it decodes a PNG to find EXIF."""
    if image.format == "TIFF":
        return False
    if image.format == "PNG" and not any(name in data for name in PNG_EXIF):
        return False
    return image.getexif().get(ORIENTATION, 1) in SWAPPING


@contextmanager
def _open(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """The opened image; whatever the decoder raises inside becomes an `ImageError`."""
    if not data:
        raise EmptyImage("the image is empty (0 bytes); send the bytes of an image file")
    try:
        _silence_pillow()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, limits)
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        if data.startswith(SIGNATURES):
            raise DamagedImage("the image is damaged: its header cannot be read; is the file complete?") from error
        raise UnknownImageType(f"these bytes are none of {', '.join(FORMATS)}; send one of those") from error
    except Exception as error:
        raise DamagedImage(f"the image is damaged: {error}; is the file complete?") from error


def _silence_pillow() -> None:
    """What Pillow warns of is either refused here or harmless. For good: `catch_warnings` would undo what other threads set."""
    if not any(module == PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW.pattern)


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    megapixels = size[0] * size[1] / 1e6
    if megapixels > limits.megapixels:
        stated = f"{size[0]}x{size[1]} pixels ({megapixels:.1f} megapixels)"
        raise ImageTooLarge(f"the image has {stated}; at most {limits.megapixels:g} megapixels are taken, scale it down")


def _upright_array(image: Image.Image, orientation: int) -> Pixels:
    """The pixels of an RGB image, turned as EXIF says: where they lie, if they may stay there; else copied in bands, so that no
    second whole large image is ever held."""
    if orientation not in STORED and (found := view_rgb(image)) is not None:
        return found
    width, height = image.size
    upright = np.empty((width, height, 3) if orientation in SWAPPING else (height, width, 3), np.uint8)
    stored = STORED[orientation](upright) if orientation in STORED else upright
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = image if rows >= height else image.crop((0, top, width, bottom))
        copy_rgb(band, stored[top:bottom])
    return upright


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BIT or image.mode == "I":
        image = _eight_bit(image)
    if image.mode == "F":
        image = image.convert("L")
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
