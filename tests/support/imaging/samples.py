"""Image files made on the spot, with what decoding must give."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from benchmarks.harness.image_files import chunk, file_of
from tests.support.images import Pixels, exif_of, make_photo

ORIENTATION = 0x0112
SIZE = (21, 34)


@dataclass(frozen=True)
class Sample:
    """A file, the RGB pixels that it stands for, and by how much a lossy format may miss them."""

    data: bytes
    pixels: Pixels
    tolerance: int = 0


def deep_avif(pixels: Pixels, bits: int) -> bytes:
    """An AVIF of these 8-bit pixels (H, W, 3) in samples of 10 or 12 bits."""
    samples = np.round(pixels.astype(np.float32) * (((1 << bits) - 1) / 255)).astype(np.uint16)
    return bytes(imagecodecs.avif_encode(samples, bitspersample=bits, level=90, speed=10, pixelformat="444"))


def samples() -> dict[str, Sample]:
    """One file of each kind that the contract names."""
    photo = make_photo(*SIZE)
    grey, alpha = photo[..., 0], photo[..., 1].copy()
    alpha[:4], alpha[-4:] = 0, 255
    wide = (np.arange(grey.size, dtype=np.uint32) * 65535 // (grey.size - 1)).astype(np.uint16).reshape(SIZE)
    ids = (grey // 32).astype(np.uint8)
    bits = grey > 127
    palette = np.random.default_rng(1).integers(0, 256, (8, 3), dtype=np.uint8)
    palette_image = Image.fromarray(ids)
    palette_image.putpalette(palette.tobytes())
    colors = palette[ids]
    colors[ids == 3] = 255
    color = Image.fromarray(photo)
    return {
        "rgb png": Sample(file_of(color, "PNG"), photo),
        "rgb bmp": Sample(file_of(color, "BMP"), photo),
        "rgb tiff": Sample(file_of(color, "TIFF"), photo),
        "deflated tiff": Sample(file_of(color, "TIFF", compression="tiff_deflate"), photo),
        "lossless webp": Sample(file_of(color, "WEBP", lossless=True), photo),
        "jpeg": Sample(file_of(color, "JPEG", quality=95, subsampling=0), photo, 24),
        "cmyk jpeg": Sample(file_of(color.convert("CMYK"), "JPEG", quality=95), photo, 24),
        "rgba png": Sample(file_of(Image.fromarray(np.dstack([photo, alpha])), "PNG"), over_white(photo, alpha), 1),
        "rgba webp": Sample(
            file_of(Image.fromarray(np.dstack([photo, alpha])), "WEBP", lossless=True), over_white(photo, alpha), 1
        ),
        "la png": Sample(file_of(Image.fromarray(np.dstack([grey, alpha])), "PNG"), over_white(rgb(grey), alpha), 1),
        "grey png": Sample(file_of(Image.fromarray(grey), "PNG"), rgb(grey)),
        "grey jpeg": Sample(file_of(Image.fromarray(grey), "JPEG", quality=95), rgb(grey), 24),
        "16-bit grey png": Sample(file_of(Image.fromarray(wide), "PNG"), rgb(eight_bit(wide))),
        "16-bit grey tiff": Sample(file_of(Image.fromarray(wide), "TIFF"), rgb(eight_bit(wide))),
        "big-endian 16-bit tiff": Sample(file_of(Image.fromarray(wide.astype(">u2")), "TIFF"), rgb(eight_bit(wide))),
        "1-bit png": Sample(file_of(Image.fromarray(bits), "PNG"), rgb(bits * np.uint8(255))),
        "1-bit tiff": Sample(file_of(Image.fromarray(bits), "TIFF", compression="group4"), rgb(bits * np.uint8(255))),
        "palette png": Sample(file_of(palette_image, "PNG"), palette[ids]),
        "palette gif": Sample(file_of(palette_image, "GIF"), palette[ids]),
        "transparent palette png": Sample(file_of(palette_image, "PNG", transparency=3), colors),
        "transparent gif": Sample(file_of(palette_image, "GIF", transparency=3), colors),
        "avif": Sample(file_of(color, "AVIF", quality=95, subsampling="4:4:4"), photo, 24),
        "grey avif": Sample(file_of(Image.fromarray(grey), "AVIF", quality=95), rgb(grey), 24),
        "rgba avif": Sample(
            file_of(Image.fromarray(np.dstack([photo, alpha])), "AVIF", quality=95, subsampling="4:4:4"),
            over_white(photo, alpha),
            24,
        ),
        "10-bit avif": Sample(deep_avif(photo, 10), photo, 24),
        "12-bit avif": Sample(deep_avif(photo, 12), photo, 24),
        "animated avif": Sample(
            file_of(color, "AVIF", quality=95, subsampling="4:4:4", save_all=True, append_images=[solid()]), photo, 24
        ),
        "animated gif": Sample(file_of(palette_image, "GIF", save_all=True, append_images=[solid()]), palette[ids]),
        "animated webp": Sample(file_of(color, "WEBP", lossless=True, save_all=True, append_images=[solid()]), photo),
        "two-page tiff": Sample(file_of(color, "TIFF", save_all=True, append_images=[solid()]), photo),
    }


def rgb(grey: Pixels) -> Pixels:
    return np.dstack([grey] * 3)


def solid() -> Image.Image:
    """A second frame, unlike any first one."""
    return Image.new("RGB", (SIZE[1], SIZE[0]), (255, 0, 255))


def eight_bit(values: npt.NDArray[np.uint16]) -> Pixels:
    return np.round(values * (255 / 65535)).astype(np.uint8)


def over_white(pixels: Pixels, alpha: Pixels) -> Pixels:
    opacity = alpha[..., None] / 255
    return np.round(pixels * opacity + 255 * (1 - opacity)).astype(np.uint8)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """What an image stored so shows under this EXIF orientation."""
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def oriented(pixels: Pixels, format: str, orientation: int) -> bytes:
    options = {"tiffinfo": {ORIENTATION: orientation}} if format == "TIFF" else {"exif": exif_of(orientation)}
    return file_of(Image.fromarray(pixels), format, **options)


def late_exif_png(pixels: Pixels, orientation: int) -> bytes:
    """A PNG whose EXIF stands behind its pixels, as the format allows."""
    data = file_of(Image.fromarray(pixels), "PNG")
    end = data.rindex(b"IEND") - 4
    return data[:end] + chunk(b"eXIf", exif_of(orientation).tobytes().removeprefix(b"Exif\0\0")) + data[end:]


def with_chunk(data: bytes, kind: bytes, content: bytes, *, checksum: int = 1, late: bool = False) -> bytes:
    """The PNG with this chunk before or behind its pixels. checksum: times the right one."""
    place = data.rindex(b"IEND") - 4 if late else 33
    right = zlib.crc32(kind + content)
    return data[:place] + chunk(kind, content)[:-4] + (right ^ 1 - checksum).to_bytes(4, "big") + data[place:]
