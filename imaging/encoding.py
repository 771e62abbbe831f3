"""Class maps, confidence and pictures as PNG, JPEG and WebP files."""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Palette = Sequence[tuple[int, int, int]]
ImageFormat = Literal["png", "jpeg", "webp"]
COLORS = 256
BAND_PIXELS = 1 << 18  # of a photo that are blended at once
# class maps are runs: looking for nothing else takes half the time or less
RUNS: dict[str, Any] = {"compress_type": zlib.Z_RLE}
PHOTOGRAPHS: dict[ImageFormat, dict[str, Any]] = {
    "png": {"compress_level": 1},  # of photographs, a third less than `RUNS`, in a tenth more time
    "jpeg": {"quality": 90, "subsampling": 0},  # colour at full resolution, as borders are of colour
    "webp": {"quality": 80, "method": 0},
}
FLAT: dict[ImageFormat, dict[str, Any]] = {
    "png": RUNS,
    "jpeg": {"quality": 90, "subsampling": 0},
    "webp": {"lossless": True, "quality": 0, "method": 0},
}


def mask_png(class_map: Pixels, palette: Palette) -> bytes:
    """Palette PNG (mode P, bit depth 8) whose pixel values are class ids; the palette needs 256 colours."""
    return _file(_palette_image(class_map, palette), "png", RUNS)


def grey_png(values: Pixels) -> bytes:
    """8-bit grey PNG of (H, W)."""
    return _file(Image.fromarray(values), "png", RUNS)


def binary_png(class_map: Pixels, shown: Collection[int]) -> bytes:
    """8-bit grey PNG: 255 where the class is one of `shown`, else 0."""
    return _file(Image.fromarray(class_map).point([255 * (id in shown) for id in range(COLORS)]), "png", RUNS)


def color_picture(class_map: Pixels, palette: Palette, shown: Collection[int], image_format: ImageFormat = "png") -> bytes:
    """Each pixel's class colour, black where its class is not one of `shown`: a palette PNG (mode P), or RGB."""
    image = _palette_image(class_map, [color if id in shown else (0, 0, 0) for id, color in enumerate(palette)])
    return _file(image if image_format == "png" else image.convert("RGB"), image_format, FLAT[image_format])


def overlay_picture(
    image: Pixels,
    class_map: Pixels,
    palette: Palette,
    alpha: float,
    shown: Collection[int],
    image_format: ImageFormat = "png",
) -> bytes:
    """The photo (H, W, 3) with class colours over it where the class is one of `shown`; alpha is their opacity, 0 to 1."""
    height, width = class_map.shape
    overlay = Image.new("RGB", (width, height))
    opacities = [round(255 * alpha) if id in shown else 0 for id in range(COLORS)]
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        band, classes = Image.fromarray(image[top : top + rows]), class_map[top : top + rows]
        band.paste(_palette_image(classes, palette).convert("RGB"), mask=Image.fromarray(classes).point(opacities))
        overlay.paste(band, (0, top))
    return _file(overlay, image_format, PHOTOGRAPHS[image_format])


def _palette_image(class_map: Pixels, palette: Palette) -> Image.Image:
    if len(palette) != COLORS:
        raise ValueError(f"a palette needs {COLORS} colours, so that its bit depth is 8; got {len(palette)}")
    image = Image.fromarray(class_map)
    image.putpalette(bytes(chain.from_iterable(palette)))
    return image


def _file(image: Image.Image, image_format: ImageFormat, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()
