"""Converts a decoded Pillow image of any mode to an upright array of RGB pixels, by the orientation that its EXIF says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from common.arrays import Box, Pixels
from imaging.formats.boxes import has_turn

ORIENTATION = 0x0112  # a tag of EXIF
UPRIGHT = 1  # the orientation of an image that is not turned
TURNED_BY_PROPERTIES = ("AVIF", "HEIF")  # alone, whatever EXIF says
TIFF_STARTS, EXIF_BYTES = (b"II*\0", b"MM\0*"), 1 << 16  # of EXIF, and its most bytes
TURN_REMARK = (
    "EXIF says that the image is turned, and the file lacks the property (irot or imir) that alone turns it; "
    "it is read as it lies"
)
EXIF_REMARK = "EXIF cannot be read; if it says that the image is turned, it is read as it lies"
XMP = ("xmp", "XML:com.adobe.xmp")
SWAPPING = (5, 6, 7, 8)  # EXIF orientations that swap height and width
# for each EXIF orientation: a view of the upright array in the layout that the file stores (Exif 3.0, section 4.6.5.1.6)
STORED_LAYOUTS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}
BAND_PIXELS = 1 << 20
RGB_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "P")  # those whose numbers stay the same, apart from transparency
PROFILE_HEADER = 128
PROFILE_BYTES = 1 << 16  # phones' profiles have 0.5 to 4 kB, ICC's own for sRGB 61 kB; those of printers have megabytes
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def rgb_profile(image: Image.Image) -> bytes | None:
    """The ICC profile of an RGB image, for pictures of its pixels; None without one, or for one that does not fit them.

    Reads the profile's header alone (ICC.1:2022, section 7.2): its length, the signature, and the colour space of its numbers.
    """
    profile: bytes | None = image.info.get("icc_profile")
    if not profile or image.mode not in RGB_MODES or not PROFILE_HEADER <= len(profile) <= PROFILE_BYTES:
        return None
    is_whole = int.from_bytes(profile[:4], "big") == len(profile) and profile[36:40] == b"acsp"
    return profile if is_whole and profile[16:20] == b"RGB " else None


def orientation_of(image: Image.Image, data: bytes) -> tuple[int, str]:
    """The orientation by which the pixels of an image are turned, and what to tell of it, if anything. Decodes no pixels."""
    if image.format in TURNED_BY_PROPERTIES and not has_turn(data) and _exif_turns(data):
        return UPRIGHT, TURN_REMARK
    if image.format in ("TIFF", "HEIF"):  # their readers turn it, and report the upright size
        return UPRIGHT, ""
    if exif := image.info.get("exif"):
        return exif_orientation(exif)
    return _orientation(lambda: Image.Image.getexif(image))  # the method of a PNG decodes the pixels


def _exif_turns(data: bytes) -> bool:
    """Whether EXIF somewhere in an AVIF or HEIF says that the image is turned."""
    places = [data.find(start) for start in TIFF_STARTS]
    return any(place >= 0 and exif_orientation(data[place : place + EXIF_BYTES])[0] != UPRIGHT for place in places)


def exif_orientation(content: bytes) -> tuple[int, str]:
    """The orientation in the bytes of an EXIF block, and what to tell of it, as `orientation_of`."""
    exif = Image.Exif()

    def read() -> Image.Exif:
        exif.load(content)
        return exif

    return _orientation(read)


def _orientation(read_exif: Callable[[], Image.Exif]) -> tuple[int, str]:
    """The EXIF orientation; 1 if EXIF cannot be read or its value is invalid, since the pixels may still be correct."""
    try:
        value = read_exif().get(ORIENTATION, UPRIGHT)
    except Exception:  # Pillow's EXIF reader raises many types on damaged data
        return UPRIGHT, EXIF_REMARK
    return (value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT), ""


def forget_xmp(image: Image.Image) -> None:
    """Removes XMP, where Pillow looks for an orientation if EXIF has none. The reported size would not show such a turn."""
    for name in XMP:
        image.info.pop(name, None)


def frame_box(image: Image.Image) -> Box | None:
    """The part of a GIF's canvas that its first frame covers; None if it covers all, or for other formats.

    Call it before the image is loaded.
    """
    if not isinstance(image, GifImageFile) or not image.tile:
        return None
    left, top, right, bottom = image.tile[0][1] or (0, 0, *image.size)
    box = left, top, right, bottom
    return None if box == (0, 0, *image.size) else box


def upright_array(image: Image.Image, orientation: int, frame: Box | None = None) -> Pixels:
    """The image's RGB pixels, turned upright by the EXIF orientation.

    Copies in bands: one copy of the whole image would hold the interpreter's lock for long and need more memory.
    """
    width, height = image.size
    upright = np.empty((width, height, 3) if orientation in SWAPPING else (height, width, 3), np.uint8)
    file_view = STORED_LAYOUTS[orientation](upright) if orientation in STORED_LAYOUTS else upright
    for top, band in _rgb_bands(image, frame):
        file_view[top : top + band.height] = np.asarray(band)
    return upright


def rgb_image(image: Image.Image, frame: Box | None) -> Image.Image:
    """The image as RGB without transparency. If a conversion is needed, the source image is closed to free its memory."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rgb = Image.new("RGB", image.size)
    for top, band in _rgb_bands(image, frame):
        rgb.paste(band, (0, top))
    image.close()
    return rgb


def _rgb_bands(image: Image.Image, frame: Box | None) -> Iterator[tuple[int, Image.Image]]:
    """Yields horizontal bands of the image as RGB, each with the index of its first row; white outside the frame."""
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
    if image.mode == "La":  # grey, premultiplied by its opacity; Pillow converts this mode only to LA
        image = image.convert("LA")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey samples by 255/65535. Pillow's own conversion would clip them at 255."""
    samples = np.asarray(image).astype(np.float32)
    grey = np.clip(samples * (255 / 65535) + 0.5, 0, 255).astype(np.uint8)
    if (transparent := image.info.get("transparency")) is not None:
        grey[samples == transparent] = 255
    return Image.fromarray(grey)
