"""HEIF and HEIC (ISO/IEC 23008-12): read by libheif, through the package pillow-heif of the extra `heif`.

libheif applies the image's own properties `clap`, `irot` and `imir`. By the standard they alone turn it: EXIF's orientation
counts no more. It reads one image and its opacity, so other images beside it (thumbnails, depth, gain maps) change nothing.
"""

from __future__ import annotations

import io
from importlib.util import find_spec

import numpy as np
from PIL import Image

from imaging.errors import DamagedImage, UnknownImageType
from imaging.formats.boxes import boxes_of

NAME = "HEIF"
ENDINGS = (".heic", ".heif", ".hif")
IS_INSTALLED = find_spec("pillow_heif") is not None
UNSUPPORTED = ("Unsupported f", "Error while loading plugin")  # first words of libheif's errors for codecs that it lacks
HIDDEN = 1  # a flag of an item
PLACE = 4  # pixels of the sides of the smallest place that is taken for a missing tile
if IS_INSTALLED:
    import pillow_heif

    # libheif decodes tiles in the calling thread; its HEVC decoder still starts one thread, which the worker's limits count
    pillow_heif.options.DECODE_THREADS = 0
    pillow_heif.options.THUMBNAILS = pillow_heif.options.DEPTH_IMAGES = pillow_heif.options.AUX_IMAGES = False


def open_heif(data: bytes) -> Image.Image:
    """The primary image, whose pixels are not decoded.

    Raises `SyntaxError` with libheif's words, and `UnknownImageType` if libheif reads other images of the file alone.
    """
    image: Image.Image = pillow_heif.HeifImageFile(io.BytesIO(data))
    if not image.info["primary"]:
        raise UnknownImageType("the main image of the HEIF is of a kind that is not read; save it as JPEG")
    return image


def check_tiles(image: Image.Image, data: bytes) -> None:
    """Raises `DamagedImage` if a tile of the decoded image cannot be decoded: libheif leaves it green or black, without a word.

    Such a tile is 0 everywhere, in YCbCr or grey. If the image has such a place, each tile is decoded once more.
    """
    if image.mode in ("RGB", "L"):
        places = np.atleast_3d(np.asarray(image.reduce(PLACE)))
        if (places[..., ::2] != 0).any(-1).all():  # red and blue; green depends on the matrix that the file names
            return
    copy, count = _tiles_alone(data, with_alpha=image.mode in ("RGBA", "RGBa"))
    tiles = pillow_heif.open_heif(copy) if count else ()
    whole = 0
    for tile in tiles:
        try:
            tile.load()
        except (EOFError, OSError, RuntimeError, SyntaxError, ValueError):
            break
        whole += 1
    if whole < count:
        raise DamagedImage("the image is damaged: some of its tiles cannot be decoded; is the file complete?")


def _tiles_alone(data: bytes, *, with_alpha: bool) -> tuple[bytes, int]:
    """A copy of the file whose only images are the tiles of its primary image, and their number; 0 if it has no tiles.

    with_alpha: also the tiles of its auxiliary images. Boxes: ISO/IEC 14496-12, section 8.11; grids: 23008-12, 6.6.2.3.
    """
    result = bytearray(data)
    meta = next((start, end) for kind, start, end in boxes_of(data) if kind == b"meta")
    boxes = {kind: (start, end) for kind, start, end in boxes_of(data, meta[0] + 12, meta[1])}
    (pitm, _), (iinf, items_end) = boxes[b"pitm"], boxes[b"iinf"]

    def number(place: int, is_long: bool) -> int:
        return int.from_bytes(data[place : place + 2 + 2 * is_long], "big")

    primary = number(pitm + 12, data[pitm + 8] > 0)
    references = list[tuple[bytes, int, list[int]]]()
    if b"iref" in boxes:
        start, end = boxes[b"iref"]
        is_long = data[start + 8] > 0
        side = 2 + 2 * is_long
        result[start + 4 : start + 8] = b"free"
        for kind, place, _ in boxes_of(data, start + 12, end):
            ids = place + 10 + side
            count = number(ids - 2, is_long=False)
            references.append((kind, number(place + 8, is_long), [number(ids + side * at, is_long) for at in range(count)]))
    sources = {primary} | {item for kind, item, others in references if kind == b"auxl" and primary in others and with_alpha}
    entries = {}  # for each item, the places of its flags and its type
    for kind, place, _ in boxes_of(data, iinf + (14 if data[iinf + 8] == 0 else 16), items_end):
        if kind == b"infe":
            is_long = data[place + 8] > 2
            entries[number(place + 12, is_long)] = place + 11, place + 16 + 2 * is_long
    grids = {item for item in sources if data.startswith(b"grid", entries[item][1])}
    tiles = {tile for kind, item, others in references if kind == b"dimg" and item in grids for tile in others}
    for item, (flags, type_place) in entries.items():
        result[flags] = 0 if item in tiles else HIDDEN
        if item not in tiles:
            result[type_place : type_place + 4] = b"free"
    if tiles:
        side = 4 if data[pitm + 8] else 2
        result[pitm + 12 : pitm + 12 + side] = min(tiles).to_bytes(side, "big")
    return bytes(result), len(tiles)
