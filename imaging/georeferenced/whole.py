"""Decodes the bytes of a georeferenced TIFF as a whole, within the limits of images, and bounds the memory that this takes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imaging.decoding import Limits, check_size
from imaging.errors import DamagedImage, EmptyImage, ImageError, UnknownImageType
from imaging.formats.signatures import TIFF
from imaging.formats.tiff import check_tables
from imaging.georeferenced.bands import SAMPLED_SIDE, Advice, choose_bands
from imaging.georeferenced.place import Place, Window, metres_per_pixel
from imaging.georeferenced.scene import CACHE_MB, PIECE_COLUMNS, SAFE_DRIVERS, Mask, Scene, open_scene

OF_IMAGES = Advice(
    "give it 8 bits: gdal_translate -ot Byte -scale MIN MAX 0 255", "else make it a mask: gdal_translate -mask {alpha}"
)
FIXED_BYTES = 64 << 20  # of GDAL beside its cache of blocks, and for small arrays


@dataclass(frozen=True)
class WholeScene:
    """A decoded scene: pixels uint8 (H, W, bands), which of them have data, bool (H, W), and where they lie.

    remark: what to tell of its bands, as in `Bands`.
    """

    pixels: npt.NDArray[np.uint8]
    valid: Mask
    place: Place
    remark: str = ""


def read_whole(data: bytes, limits: Limits, channels: int = 3, fill: npt.ArrayLike | None = None) -> WholeScene:
    """Decodes a georeferenced TIFF as `fcn-segment` reads a scene: its colours or first bands, scaled to 8 bits.

    channels: the number of bands. fill: uint8 (bands,), of pixels without data; None for what the file has there.

    GDAL reads the bytes alone, and no other file and no address that they name. Raises `EmptyImage`, `UnknownImageType`,
    `ImageTooLarge` or `DamagedImage`.
    """
    with _opened(data, limits) as scene:
        bands = choose_bands(scene, channels=channels, advice=OF_IMAGES)
        pixels, valid = bands.read(scene, Window(0, 0, *scene.size), fill)
        return WholeScene(pixels, valid, scene.place, bands.remark)


def read_whole_place(data: bytes, limits: Limits) -> Place:
    """The size and place of a georeferenced TIFF. Raises the errors of `read_whole`, except for damage after the header."""
    with _opened(data, limits) as scene:
        return scene.place


def longer_side(place: Place, metres: float) -> int | None:
    """The longer side at which a pixel measures this many metres; None for a system that has no relation to the Earth.

    The scene keeps its proportions: of a pixel that is no square on the ground, the geometric mean of its sides counts. Raises
    `SceneError` for a middle that is not on the Earth.
    """
    if not place.is_on_earth:
        return None
    down, right = metres_per_pixel(place, "the image")
    return max(1, round(max(place.size) * math.sqrt(down * right) / metres))


def whole_bytes(data: bytes, limits: Limits, channels: int = 3) -> int:
    """Upper bound, in bytes, of the memory that `read_whole` needs besides the file's own bytes; includes its result."""
    with _opened(data, limits) as scene:
        (height, width), (rows, columns) = scene.size, scene.block
        sample, count = scene.dtype.itemsize, len(scene.colors)
        block = rows * columns * sample * count  # GDAL decodes it whole, splits it into bands, and keeps it in its cache
        piece = min(rows, height) * min(width, max(columns, PIECE_COLUMNS)) * channels * (2 * sample + 10)
        is_sampled = scene.alpha or scene.dtype != np.uint8
        samples = min(SAMPLED_SIDE, max(height, width)) ** 2 * channels * (2 * sample + 17) if is_sampled else 0
        return FIXED_BYTES + (CACHE_MB << 20) + 3 * block + max(piece, samples) + (channels + 1) * height * width


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Scene]:
    """Opens the scene and checks its size; raises `NoCoordinates` if it does not say where it lies."""
    if not data:
        raise EmptyImage("the image is empty (0 bytes); send the bytes of a georeferenced TIFF")
    if not data.startswith(TIFF):
        raise UnknownImageType("this network or form of answer needs a georeferenced TIFF (GeoTIFF), and this file is no TIFF")
    try:
        check_tables(io.BytesIO(data))
        with open_scene(data, SAFE_DRIVERS, "the image") as scene:
            check_size(scene.size[::-1], limits)
            scene.place.require(scene.name)
            yield scene
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # as with Pillow: damage makes GDAL's bindings raise errors of many types
        raise DamagedImage(f"the image is damaged: {' '.join(str(error).split())}; is the file complete?") from error
