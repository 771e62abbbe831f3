"""A photograph of any size in every format and mode, as functions that make the files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from benchmarks.harness.image_files import file_of
from imaging.formats import heif
from tests.support.images import make_photo
from tests.support.imaging.heic_files import heic_of
from tests.support.imaging.samples import deep_avif

HEIGHT, WIDTH = 3000, 4000
PIXELS = HEIGHT * WIDTH


def photo(mode: str = "RGB", height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    image = Image.fromarray(make_photo(height // 10, width // 10)).resize((width, height))
    if mode in ("RGBA", "LA"):
        image.putalpha(image.getchannel("G"))
    return image.convert(mode)


def files(height: int, width: int) -> dict[str, Callable[[], bytes]]:
    """A photograph of this size in every format and mode."""

    def of(mode: str = "RGB") -> Image.Image:
        return photo(mode, height, width)

    result = {
        "jpeg": lambda: file_of(of(), "JPEG"),
        "progressive jpeg": lambda: file_of(of(), "JPEG", progressive=True, subsampling=0),
        "cmyk jpeg": lambda: file_of(of("CMYK"), "JPEG"),
        "grey jpeg": lambda: file_of(of("L"), "JPEG"),
        "rgb png": lambda: file_of(of(), "PNG", compress_level=1),
        "rgba png": lambda: file_of(of("RGBA"), "PNG", compress_level=1),
        "la png": lambda: file_of(of("LA"), "PNG", compress_level=1),
        "palette png": lambda: file_of(of("P"), "PNG", compress_level=1),
        "transparent palette png": lambda: file_of(of("P"), "PNG", transparency=3, compress_level=1),
        "16-bit grey png": lambda: file_of(Image.fromarray(np.asarray(of("L"), np.uint16) * 257), "PNG", compress_level=1),
        "gif": lambda: file_of(of("P"), "GIF"),
        "disposing gif": lambda: file_of(of("P"), "GIF", transparency=3, disposal=2, save_all=True, append_images=[of("P")]),
        "bmp": lambda: file_of(of(), "BMP"),
        "tiff": lambda: file_of(of(), "TIFF"),
        "tiff of one strip": lambda: file_of(of("RGBA"), "TIFF", compression="tiff_deflate", strip_size=1 << 30),
        "turned tiff": lambda: file_of(of(), "TIFF", compression="tiff_lzw", tiffinfo={274: 6}),
        "jpeg tiff": lambda: file_of(of(), "TIFF", compression="jpeg"),
        "webp": lambda: file_of(of(), "WEBP", method=0),
        "transparent webp": lambda: file_of(of("RGBA"), "WEBP", method=0),
        "avif": lambda: file_of(of(), "AVIF", speed=10),
        "full avif": lambda: file_of(of(), "AVIF", speed=10, subsampling="4:4:4"),
        "transparent avif": lambda: file_of(of("RGBA"), "AVIF", speed=10, subsampling="4:4:4"),
        "grey avif": lambda: file_of(of("L"), "AVIF", speed=10),
        "12-bit avif": lambda: deep_avif(np.asarray(of()), 12),
        "lossless webp": lambda: file_of(of("RGBA"), "WEBP", lossless=True, method=0, quality=0),
    }
    if heif.IS_INSTALLED:
        result |= {
            "heic": lambda: heic_of(of()),
            "heic of tiles": lambda: heic_of(of(), tile_size=512),
            "full heic": lambda: heic_of(of(), chroma=444),
            "transparent heic": lambda: heic_of(of("RGBA"), chroma=444),
            "grey heic": lambda: heic_of(of("L")),
            "10-bit heic": lambda: heic_of(of(), bits=10, chroma=422),
            "heic of two": lambda: heic_of(of(), append_images=[of()]),
        }
    return result


FILES = files(HEIGHT, WIDTH)
