"""Bounds the memory that `imaging.decoding` needs for an image file, from the file's header alone."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import TiffImageFile

from common.arrays import Size
from imaging.formats.jpeg import JPEGHeader
from imaging.formats.tiff import piece_bytes

FIXED_BYTES = 48 << 20  # for bands and their conversions, memory per row, and the header data that Pillow keeps
# bytes per pixel in Pillow's memory, for modes that do not use 4
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
RUN_LENGTHS = (1, 2)  # run-length compressions of a BMP


@dataclass(frozen=True)
class DecodingCosts:
    """Bytes that decoding a file needs.

    pixel: of each pixel in Pillow's memory. decoder: until the image is closed. load: only while it is loaded. conversion: of
    each pixel of a copy as RGB, 0 if none is made.
    """

    pixel: int
    decoder: int
    load: int
    conversion: int = 4

    def most_bytes(self, size: Size, target: Size | None) -> int:
        """The peak over loading, converting and scaling; includes the result. size, target: (width, height) in the file.

        size: at which the decoder gives the image (a JPEG may be reduced). target: None if it is not scaled.
        """
        pixels = size[0] * size[1]
        if not target or target == size:
            return self.decoder + self.pixel * pixels + max(self.load, 3 * pixels)
        load_bytes = self.pixel * pixels + self.load
        conversion_bytes = (self.pixel + self.conversion) * pixels if self.conversion else 0
        resize_bytes = scaling_bytes(size[::-1], target[::-1])
        return self.decoder + max(load_bytes, conversion_bytes, resize_bytes, 4 * pixels + 8 * target[0] * target[1])


def webp_costs(size: Size, length: int) -> DecodingCosts:
    """For a WebP. The decoder keeps two canvases and copies of the file; loading adds the frame as bytes."""
    pixels = size[0] * size[1]
    return DecodingCosts(pixel=4, decoder=8 * pixels + 3 * length, load=4 * pixels)


def decoding_costs(image: Image.Image, data: bytes, jpeg: JPEGHeader | None, *, is_changed: bool) -> DecodingCosts:
    """For an image that Pillow has opened and not decoded. jpeg: its header, if it is one.

    is_changed: whether `data` is no longer the file itself. A JPEG is then decoded for a check, before it is decoded.
    """
    pixels, mode_bytes = image.width * image.height, MODE_BYTES.get(image.mode, 4)
    decoder = load = 0
    if jpeg and jpeg.several_scans:  # libjpeg keeps all coefficients, 2 bytes each
        load = 2 * len(jpeg.components) * pixels
    elif image.format == "AVIF":  # the decoder keeps its planes, Pillow the frame as bytes; film grain makes another copy
        samples = len(image.getbands())
        decoder, load = (2 * samples + 4) * pixels, 2 * samples * pixels
    elif image.format == "HEIF":
        decoder, load = heif_costs(image, data)
    elif image.format == "GIF":  # Pillow keeps the image that will replace the frame
        decoder = pixels
    elif image.format == "BMP" and image.info.get("compression") in RUN_LENGTHS:
        load = 3 * pixels
    elif isinstance(image, TiffImageFile):  # the strip that is read or decoded; or an upright copy
        piece = piece_bytes(image.tag_v2) if image.tile[0][0] == "libtiff" else 0
        load = 3 * len(data) + max(piece, mode_bytes * pixels if image.tag_v2.get(Tag.Orientation, 1) != 1 else 0)
    if is_changed:
        decoder += len(data)
        load += mode_bytes * pixels + 3 * len(data) if jpeg else 0
    return DecodingCosts(mode_bytes, decoder, load, 0 if image.mode == "RGB" and not image.has_transparency_data else 4)


def heif_costs(image: Image.Image, data: bytes) -> tuple[int, int]:
    """The bytes `decoder` and `load` of a HEIF: the HEVC decoder and libheif have its planes, then libheif the pixels.

    Of several images libheif keeps the pixels. It has its own copy of the file, and so has the check of tiles.
    """
    pixels, bands = image.width * image.height, len(image.getbands())
    wide = 2 if image.info["bit_depth"] > 8 else 1
    samples = 1.5 + bands - 3 if image.info.get("chroma") == 420 else bands
    decoder = len(data) + (bands * wide * pixels if getattr(image, "n_frames", 1) > 1 else 0)
    return decoder, int((2 * wide * samples + bands) * pixels) + 3 * len(data)


def scaling_bytes(size: Size, target: Size) -> int:
    """Upper bound of the memory for scaling an image from one (height, width) to another, with Pillow's copy of it."""
    return 4 * (size[0] * size[1] + target[1] * size[0] + target[0] * target[1]) if size != target else 0
