"""Decodes an image file to an upright uint8 RGB array. Size limits are checked before any pixel is decoded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
from PIL import AvifImagePlugin, Image, UnidentifiedImageError, features
from PIL.TiffImagePlugin import TiffImageFile

from common.arrays import Mask, Pixels, Size
from imaging.conversion import (
    EXIF_REMARK,
    ORIENTATION,
    SWAPPING,
    UPRIGHT,
    exif_orientation,
    forget_xmp,
    frame_box,
    orientation_of,
    rgb_image,
    rgb_profile,
    upright_array,
)
from imaging.decoding_memory import FIXED_BYTES, RUN_LENGTHS, decoding_costs, webp_costs
from imaging.errors import DamagedImage, EmptyImage, ImageError, ImageTooLarge, UnknownImageType
from imaging.formats import heif, signatures
from imaging.formats.boxes import read_webp_header
from imaging.formats.declarations import check_header, check_pixels
from imaging.formats.jpeg import LOSSLESS, REPAIR, check_closed, close_scans, read_jpeg_header
from imaging.formats.png import EMPTY_PIXELS, head_of, scale_transparency, with_pixels

ENDINGS_OF_FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff", ".btf", ".tf8"),
    "AVIF": (".avif", ".avifs"),
    **({heif.NAME: heif.ENDINGS} if heif.IS_INSTALLED else {}),
}
"""The formats that this installation reads. For each, the endings of names, in lower case, by which commands find images."""
IMAGE_FORMATS = tuple(ENDINGS_OF_FORMATS)
NONE_OF_THEM = f"this file is none of {', '.join(IMAGE_FORMATS)}"
"""The beginning of the error for a file that cannot be named."""
IMAGE_ENDINGS = tuple(ending for endings in ENDINGS_OF_FORMATS.values() for ending in endings)
# `check_size` replaces Pillow's limit; it runs right after the header is read
Image.MAX_IMAGE_PIXELS = None
# by default a thread for each core, each with a stack in the worker's limit on memory
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
RUN_LENGTH_MEGAPIXELS = 4.0  # of a BMP in run lengths, which Pillow expands in Python, byte by byte
LONGEST_SIDE = 100_000  # pixels; each row costs memory in Pillow and time in later steps, however short it is
REDUCTIONS = (8, 4, 2, 1)  # by which libjpeg can divide an image's sides
# first words of the decoders' errors for kinds that they do not read, and what is said instead of them
UNSUPPORTED_KINDS = ("Unsupported BMP", "unknown raw mode", *heif.UNSUPPORTED)
REASONS = {"TIFF": "its samples and layout", heif.NAME: "its codec"}


@dataclass(frozen=True)
class Limits:
    """megapixels: the largest size that an image's header may announce, in units of 10^6 pixels.

    advice: what to do about a larger image, for the error.
    """

    megapixels: float = 100.0
    advice: str = "scale it down"


class DecodedPhoto(NamedTuple):
    """pixels: upright uint8 RGB (H, W, 3), at the working size. photo: at the answer's size, None if not asked for.

    profile: the ICC profile to write into pictures of the pixels, as `rgb_profile` gives it. valid: of a scene, which of its
    pixels have data, bool (H, W). remark: what to tell of its bands, as in `Bands`, or of the photo's orientation.
    """

    pixels: Pixels
    photo: Pixels | None
    profile: bytes | None
    valid: Mask | None = None
    remark: str = ""


class OpenImage:
    """An image file whose header has been read and checked, and whose pixels have not been decoded.

    size: upright (height, width). stored_size: (width, height), as the file's pixels lie. format: its name. orientation: by
    which `decode` turns the pixels. turn: the same, or that by which a TIFF's reader turns them. remark: what to tell of it, if
    anything. data: the file; of a JPEG without what follows its pixels. Belongs to one thread at a time. Raises `EmptyImage`,
    `UnknownImageType`, `ImageTooLarge` or `DamagedImage`.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        if not data:
            raise EmptyImage("the image is empty (0 bytes); send the bytes of an image file")
        self.data, self.limits, self.format = data, limits, signatures.format_of(data)
        self._image: Image.Image | None = None
        with decoder_errors(data):
            self._jpeg = read_jpeg_header(data) if self.format == "JPEG" else None
            lacks_exif = False
            if self._jpeg:
                self.data = close_scans(self._jpeg, data)
            elif self.format == "PNG":
                self._head, lacks_exif = head_of(data)
            self._is_changed, self._frame = self.data is not data or self.format == "PNG", None
            if self.format == "WEBP" and (webp := read_webp_header(data)):
                self.stored_size, exif, self._frame = webp
                check_size(self.stored_size, limits)
                self.orientation, self.remark = exif_orientation(exif)
                self.turn = self.orientation
                self._costs = webp_costs(self.stored_size, len(data))
            else:
                self._image = image = self._open(with_data=False)
                self.stored_size = image.size
                self.orientation, self.remark = orientation_of(image, data)
                self.turn = image.tag_v2.get(ORIENTATION, UPRIGHT) if isinstance(image, TiffImageFile) else self.orientation
                self.remark = EXIF_REMARK if lacks_exif else self.remark
                self._costs = decoding_costs(image, self.data, self._jpeg, is_changed=self._is_changed)
                if self.format == "PNG":  # its pixels are copied only when they are decoded
                    self._image = None
        self.size = self.stored_size if self.orientation in SWAPPING else self.stored_size[::-1]

    def decoding_bytes(self, working_size: Size | None = None, answer: Size | None = None, *, with_photo: bool = False) -> int:
        """Upper bound, in bytes, of the memory that `decode` needs besides the file's own bytes; includes its results.

        The bound depends on format and mode. In measurements with one image in the process it was 16 to 64 MiB above the real
        use; for a TIFF, the file's length more.
        """
        whole, target, photo_size = self.stored_size, self._stored(working_size), self._stored(answer)
        size = self._reduced_size(target)
        most = self._costs.most_bytes(size, target)
        if with_photo and (target or whole) != (photo_size or whole):
            pixels, again = 3 * prod(target or whole), whole if size == whole else self._reduced_size(photo_size)
            again_bytes = pixels + self._costs.most_bytes(again, photo_size)
            most = most + 3 * prod(whole) if size == whole and photo_size in (None, whole) else max(most, again_bytes)
        return FIXED_BYTES + most

    def decode(self, working_size: Size | None = None, answer: Size | None = None, *, with_photo: bool = False) -> DecodedPhoto:
        """Decodes the first frame and turns it upright by its EXIF orientation.

        Transparent pixels are blended with white. 16-bit samples are scaled to 8 bits. Colour profiles change no pixel.
        `working_size` is (height, width): the result is scaled to it with a bilinear filter, which averages when it shrinks; so
        is the photo to `answer`, if it is smaller than the image. libjpeg first reduces a JPEG that is at least twice as
        large, to no less than that size; this takes a fraction of the time. libjpeg decodes at one size only: such a JPEG is
        opened again for its photo, as is any file that is decoded again. Raises `UnknownImageType` or `DamagedImage`.
        """
        target, photo_size = self._stored(working_size), self._stored(answer) or self.stored_size
        with decoder_errors(self.data), self._image or self._open() as image:
            self._image = None
            # if libjpeg cannot divide a side evenly, its last pixel reaches beyond the photo: box is the photo's extent
            box = self._reduce(image, target)
            profile, frame = rgb_profile(image), self._frame or frame_box(image)
            is_reduced, photo, scaling = image.size != self.stored_size, None, Image.Resampling.BILINEAR
            self._load(image)
            if not target or (image.size == target and not box):
                pixels = upright_array(image, self.orientation, frame)
            else:
                rgb = rgb_image(image, frame)
                pixels = upright_array(rgb.resize(target, scaling, box), self.orientation)
                if with_photo and photo_size != target and not is_reduced:
                    photo = upright_array(rgb if rgb.size == photo_size else rgb.resize(photo_size, scaling), self.orientation)
                del rgb
        if with_photo and photo is None:
            photo = pixels if photo_size == (target or self.stored_size) else self.decode(answer).pixels
        return DecodedPhoto(pixels, photo if with_photo else None, profile, remark=self.remark)

    def load(self) -> Image.Image:
        """The decoded image as Pillow holds it, neither converted nor turned. Raises as `decode` does."""
        with decoder_errors(self.data):
            image, self._image = self._image or self._open(), None
            self._load(image)
        return image

    def _open(self, *, with_data: bool = True) -> Image.Image:
        """Opens the file with Pillow, whose header is checked before. Raises errors of any type.

        with_data: whether its pixels can be decoded; else a PNG may lack them.
        """
        if self.format not in IMAGE_FORMATS or (self.format == "AVIF" and not features.check("avif")):
            raise _unknown_type(self.data)
        page = check_header(self.data, self.format, self._jpeg)
        if self.format == heif.NAME:
            image = heif.open_heif(self.data)
        else:
            data = self.data
            if self.format == "PNG":
                data = with_pixels(self._head, data) if with_data else self._head + EMPTY_PIXELS
            image = Image.open(io.BytesIO(data), formats=(self.format,))
        if page:
            image.seek(page)
        check_size(image.size, self.limits)
        if self.format == "BMP" and image.info.get("compression") in RUN_LENGTHS:
            check_size(image.size, Limits(RUN_LENGTH_MEGAPIXELS, "save it without run lengths, such as a PNG"))
        forget_xmp(image)
        if self.format == "PNG":
            scale_transparency(image, self.data)
        return image

    def _load(self, image: Image.Image) -> None:
        """Decodes the pixels, and checks them. Raises errors of any type."""
        size = image.size
        if self._is_changed and self._jpeg:
            check_closed(self._jpeg, self.data)
        image.load()
        if image.size != size:
            sizes = f"its header says {size[0]}x{size[1]} pixels, but it has {image.width}x{image.height}"
            raise DamagedImage(f"the image is damaged: {sizes}; save it again")
        check_pixels(image, self.data, self._jpeg)

    def _stored(self, working_size: Size | None) -> Size | None:
        """Converts an upright (height, width) to the (width, height) that the file's pixels have before they are turned."""
        return working_size if working_size is None or self.orientation in SWAPPING else working_size[::-1]

    @property
    def _may_be_reduced(self) -> bool:
        return self.format == "JPEG" and not (self._jpeg and self._jpeg.process in LOSSLESS)

    def _reduced_size(self, target: Size | None) -> Size:
        """The (width, height) to which `_reduce` reduces the image."""
        (width, height), (across, down) = self.stored_size, target or self.stored_size
        factors = (factor for factor in REDUCTIONS if factor * across <= width and factor * down <= height)
        factor = next(factors, 1) if self._may_be_reduced else 1
        return -(-width // factor), -(-height // factor)

    def _reduce(self, image: Image.Image, target: Size | None) -> tuple[float, float, float, float] | None:
        """Makes libjpeg decode a much larger JPEG at a reduced size, no less than the target (width, height).

        Returns the extent of the photo in pixels of the reduced image; None if that is all of it. If libjpeg cannot divide a
        side evenly, the last pixel reaches beyond the photo.
        """
        draft = image.draft(None, target) if target and self._may_be_reduced else None
        return None if draft is None or draft[1] == (0, 0, *image.size) else draft[1]


def decode(data: bytes, limits: Limits, working_size: Size | None = None) -> Pixels:
    """Decodes an image as `OpenImage.decode`, which says what it returns and raises; without its profile."""
    return OpenImage(data, limits).decode(working_size).pixels


def read_size(data: bytes, limits: Limits) -> Size:
    """The upright (height, width) that the header announces. Raises as `OpenImage` does."""
    return OpenImage(data, limits).size


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


@contextmanager
def decoder_errors(data: bytes) -> Iterator[None]:
    """Makes errors of checks and decoders an `ImageError`; `MemoryError` passes."""
    signatures.ignore_pillow_warnings()
    try:
        yield
    except (UnknownImageType, ImageTooLarge, MemoryError):
        raise
    except Exception as error:
        raise _image_error(data, error) from None if isinstance(error, ImageError) else error


def _image_error(data: bytes, error: Exception) -> ImageError:
    """The error to raise for a file instead of this one, which reading it has raised."""
    if signatures.lacks_line_breaks(data):
        return DamagedImage(f"the image is damaged: {signatures.WITHOUT_LINE_BREAKS}")
    if isinstance(error, ImageError):
        return error
    format, text = signatures.format_of(data), str(error)
    if text.startswith(UNSUPPORTED_KINDS) or (format == "TIFF" and isinstance(error, UnidentifiedImageError)):
        reason = REASONS.get(format, text)
        return UnknownImageType(f"the image is of a kind that is not read ({reason}); save it as 8-bit RGB")
    problem = "the file ends early" if "truncated" in text.lower() else f"the {format} cannot be decoded"
    advice = REPAIR if format == "JPEG" else "is the file complete?"
    return DamagedImage(f"the image is damaged: {problem}; {advice}")


def _unknown_type(data: bytes) -> UnknownImageType:
    """The error for bytes of a format that is not read."""
    if foreign := signatures.foreign_format(data):
        return UnknownImageType(_foreign_problem(foreign))
    advice = "it is text; send the file of an image" if signatures.is_text(data) else "send one of those"
    advice = signatures.WITHOUT_LINE_BREAKS if signatures.lacks_line_breaks(data) else advice
    return UnknownImageType(f"{NONE_OF_THEM}; {advice}")


def ending_problem(ending: str) -> str | None:
    """The message of `decode` for files with an ending of a format that is not read; None for other endings."""
    foreign = signatures.foreign_ending(ending)
    return _foreign_problem(foreign) if foreign else None


def _foreign_problem(foreign: signatures.Foreign) -> str:
    return f"this file is {foreign.name}; accepted are {', '.join(IMAGE_FORMATS)}; {foreign.advice}"


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Raises `DamagedImage` or `ImageTooLarge` for a (width, height) that no image may have."""
    if min(size) < 1:
        raise DamagedImage(f"the image is damaged: it announces {size[0]}x{size[1]} pixels; save it again")
    if max(size) > LONGEST_SIDE:
        problem = f"{size[0]}x{size[1]} pixels; a side may have at most {LONGEST_SIDE:,}"
        raise ImageTooLarge(f"the image has {problem}; scale it down or cut it")
    megapixels = size[0] * size[1] / 1e6
    if megapixels > limits.megapixels:
        problem = f"{size[0]}x{size[1]} pixels ({megapixels:.1f} megapixels)"
        raise ImageTooLarge(f"the image has {problem}; at most {limits.megapixels:g} megapixels are accepted; {limits.advice}")
