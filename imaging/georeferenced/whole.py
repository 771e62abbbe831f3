"""Decodes the bytes of a georeferenced TIFF as a whole, within the limits of images, and bounds the memory that this takes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.arrays import Size
from imaging.decoding import DecodedPhoto, Limits, check_size, scale
from imaging.decoding_memory import scaling_bytes
from imaging.errors import DamagedImage, EmptyImage, ImageError, UnknownImageType
from imaging.formats.signatures import TIFF
from imaging.formats.tiff import check_tables
from imaging.georeferenced.bands import SAMPLED_SIDE, Advice, choose_bands
from imaging.georeferenced.place import Window, metres_per_pixel
from imaging.georeferenced.scene import CACHE_MB, PIECE_COLUMNS, SAFE_DRIVERS, Scene, open_scene

OF_IMAGES = Advice(
    "give it 8 bits: gdal_translate -ot Byte -scale MIN MAX 0 255",
    "else make it a mask: gdal_translate -mask {alpha}",
    "send one of them: gdal_translate -b 1",
)
FIXED_BYTES = 64 << 20  # of GDAL beside its cache of blocks, and for small arrays


class OpenScene:
    """A georeferenced TIFF whose header has been read and checked, and whose pixels have not been decoded; as `OpenImage`.

    channels: the number of bands that the network sees. fill: uint8 (bands,), of pixels without data; None for what the file
    has there. size: (height, width). place: where its pixels lie. GDAL reads the bytes alone, and no other file and no address
    that they name. Raises `EmptyImage`, `UnknownImageType`, `ImageTooLarge` or `DamagedImage`.
    """

    def __init__(self, data: bytes, limits: Limits, channels: int = 3, fill: npt.ArrayLike | None = None) -> None:
        self.data, self.limits, self._channels, self._fill = data, limits, channels, fill
        with _opened(data, limits) as scene:
            self.size, self.place = scene.size, scene.place
            self._reading_bytes = _reading_bytes(scene, channels)

    def decoding_bytes(self, working_size: Size | None = None, answer: Size | None = None, *, with_photo: bool = False) -> int:
        """Upper bound, in bytes, of the memory that `decode` needs besides the file's own bytes; includes its results."""
        input_size, answer_size, pixels = working_size or self.size, answer or self.size, self.size[0] * self.size[1]
        results = self._channels * (pixels + input_size[0] * input_size[1]) + (1 + 3 * with_photo) * pixels
        results += (1 + 3 * with_photo) * answer_size[0] * answer_size[1] if answer_size != self.size else 0
        return self._reading_bytes + max(scaling_bytes(self.size, size) for size in (input_size, answer_size)) + results

    def decode(self, working_size: Size | None = None, answer: Size | None = None, *, with_photo: bool = False) -> DecodedPhoto:
        """Decodes it as `fcn-segment` reads a scene: its colours or first bands, scaled to 8 bits, at the working size.

        The photo and `valid` have the answer's size. Raises `DamagedImage`, also for damage after the header, and
        `UnknownImageType` for bands that the network cannot see.
        """
        with _opened(self.data, self.limits) as scene:
            bands = choose_bands(scene, channels=self._channels, advice=OF_IMAGES)
            pixels, valid = bands.read(scene, Window(0, 0, *scene.size), self._fill)
        answer_size = answer or self.size
        photo = scale(np.ascontiguousarray(pixels[:, :, :3]), answer_size) if with_photo else None
        if answer_size != self.size and valid is not None:
            valid = np.asarray(Image.fromarray(valid).resize(answer_size[::-1], Image.Resampling.NEAREST))
        return DecodedPhoto(scale(pixels, working_size or self.size), photo, None, valid, bands.remark)

    def longer_side(self, metres: float) -> int | None:
        """The longer side at which a pixel measures this many metres; None for a system that has no relation to the Earth.

        The scene keeps its proportions: of a pixel that is no square on the ground, the geometric mean of its sides counts.
        Raises `SceneError` for a middle that is not on the Earth.
        """
        if not self.place.is_on_earth:
            return None
        down, right = metres_per_pixel(self.place, "the image")
        return max(1, round(max(self.size) * math.sqrt(down * right) / metres))


def _reading_bytes(scene: Scene, channels: int) -> int:
    """Upper bound, in bytes, of the memory that reading the scene needs besides the file's own bytes and its results."""
    (height, width), (rows, columns) = scene.size, scene.block
    sample, count = scene.dtype.itemsize, len(scene.colors)
    block = rows * columns * sample * count  # GDAL decodes it whole, splits it into bands, and keeps it in its cache
    piece = min(rows, height) * min(width, max(columns, PIECE_COLUMNS)) * channels * (2 * sample + 10)
    is_sampled = scene.alpha or scene.dtype != np.uint8
    samples = min(SAMPLED_SIDE, max(height, width)) ** 2 * channels * (2 * sample + 17) if is_sampled else 0
    return FIXED_BYTES + (CACHE_MB << 20) + 3 * block + max(piece, samples)


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
