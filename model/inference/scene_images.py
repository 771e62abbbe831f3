"""Decodes georeferenced TIFFs, and encodes answers with their coordinates.

It imports what needs the extra `geo` when a request asks for it: the extra may be missing, and the front process never does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy.typing as npt

from imaging.answer import SegmentedImage
from imaging.decoding import Limits
from imaging.errors import UnknownImageType
from imaging.rendering import Rendering
from model.inference.tiling import Size

if TYPE_CHECKING:
    from imaging.georeferenced.place import Place
    from imaging.georeferenced.whole import WholeScene

PACKAGES = ("affine", "pyogrio", "rasterio")
MISSING = (
    "an answer with coordinates needs rasterio, which is not installed here: install this package with its extra geo, or ask "
    "for another format"
)


def load() -> None:
    """Imports what the other functions need, which takes memory and a moment. Raises `UnknownImageType` without the extra."""
    with _told_if_missing():
        import imaging.georeferenced.answer
        import imaging.georeferenced.whole  # noqa: F401


def scene_sizes(data: bytes, limits: Limits, gsd: float | None) -> tuple[Size, int | None]:
    """The (height, width) of a georeferenced TIFF, and the longer side at which its pixels measure `gsd` metres.

    The side is None without a gsd, or if the scene's pixels have no size in metres. Raises an `ImageError`.
    """
    with _told_if_missing():
        from imaging.georeferenced.whole import longer_side, read_whole_place
    place = read_whole_place(data, limits)
    return place.size, None if gsd is None else longer_side(place, gsd)


def scene_bytes(data: bytes, limits: Limits, channels: int) -> int:
    """Upper bound, in bytes, of the memory that `decode_scene` needs besides the file's own bytes."""
    with _told_if_missing():
        from imaging.georeferenced.whole import whole_bytes
    return whole_bytes(data, limits, channels)


def decode_scene(data: bytes, limits: Limits, channels: int, fill: npt.ArrayLike | None = None) -> WholeScene:
    """The pixels of a georeferenced TIFF with so many bands, which have data, and where they lie. Raises an `ImageError`.

    fill: uint8 (bands,), of pixels without data; None for what the file has there.
    """
    with _told_if_missing():
        from imaging.georeferenced.whole import read_whole
    return read_whole(data, limits, channels, fill)


def encode_scene(image: SegmentedImage, place: Place, rendering: Rendering) -> bytes:
    """The answer's bytes. Raises `AnswerTooLarge` or an `ImageError`."""
    with _told_if_missing():
        from imaging.georeferenced.answer import encode_scene as encode
    return encode(image, place, rendering)


@contextmanager
def _told_if_missing() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] in PACKAGES:
            raise UnknownImageType(MISSING) from error
        raise
