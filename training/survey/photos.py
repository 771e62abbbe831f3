"""Tells what a photo looks like: nothing, cut off, grey, CMYK; and which photos look alike, such as copies.

Photos that look alike are a photo and its recompressed or mirrored copy; a hash of brightness differences finds them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from common.arrays import Integers16, Mask, Pixels
from imaging.formats.signatures import JPEG, TIFF, ignore_pillow_warnings

Appearance = Literal["one colour", "cut off", "grey", "colour"]
SIDE = 128  # cells of a photo's width and of its height
# Of 3,348 photographs of Pascal VOC and 468 of CamVid, each differs by 92 levels or more between two of its cells. In 83 of
# them, the channels of no cell differ by more than 8; in 79 of these, by none.
FLAT = 16  # levels, of 255, by which cells differ at most if a photo is of one colour; noise does not reach it
GREY = 8  # levels by which the channels of a cell differ at most if a photo is grey; compression adds some
# What decoders leave of a file that ends too early: black, or 128, the grey of a JPEG's empty blocks.
FILLS, FILL_NOISE = (0, 128), 2
CUT = SIDE // 4  # rows of cells that are filled at least
STEP = 8  # rows of cells above these, which the last blocks of a small JPEG fill in part
SHOWN = 0.9  # share of the cells of the row above the last blocks that show something
HASH_SIDE = 8  # of the grid of a hash
# Of 1,017 photographs of Pascal VOC no two differed in fewer than 24 bits, and none in fewer than 19 from another one that was
# mirrored or turned. Of the copies of 300, 99% in JPEG of quality 50, 97% that were brightened by 40%, and 90% that lost 3% at
# each side differed in at most 18 bits from their original.
MOST_BITS, MOST_BITS_TURNED = 18, 14


def mean_colors(pixels: Pixels) -> Pixels:
    """The mean colours of 128x128 cells of an RGB image (H, W, 3), uint8 (128, 128, 3)."""
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))


def appearance(colors: Pixels) -> Appearance:
    """What an image of these `mean_colors` looks like.

    `one colour`: no two cells differ by more than `FLAT`. `cut off`: the lower quarter or more is black or of the grey 128, and
    its edge is straight. `grey`: the channels of no cell differ by more than `GREY`.
    """
    planes = colors.transpose(2, 0, 1).astype(np.int16, order="C")  # numpy takes far longer along an axis of three
    if (planes.max((1, 2)) - planes.min((1, 2)) <= FLAT).all():
        return "one colour"
    if any(_is_cut_off(planes, fill) for fill in FILLS):
        return "cut off"
    return "grey" if (planes.max(0) - planes.min(0) <= GREY).all() else "colour"


def is_cmyk(data: bytes) -> bool:
    """Whether an image file that can be decoded holds CMYK; reads its header alone."""
    if not data.startswith((JPEG, *TIFF)):
        return False
    ignore_pillow_warnings()
    with Image.open(io.BytesIO(data)) as image:
        return image.mode == "CMYK"


def _is_cut_off(planes: Integers16, fill: int) -> bool:
    """Whether the lower rows of (3, 128, 128) have the colour `fill`, and nearly the whole width shows something above."""
    is_photo = np.abs(planes - fill).max(0) > FILL_NOISE
    rows = np.flatnonzero(is_photo.any(1))
    last = int(rows[-1]) if len(rows) else -1
    return STEP <= last < SIDE - CUT and float(is_photo[last - STEP].mean()) >= SHOWN


def image_hash(pixels: Pixels) -> str:
    """The difference hash (dHash, Krawetz 2013) of an RGB image (H, W, 3): 128 bits as 32 hexadecimal digits.

    64 bits say where brightness rises to the right, and 64 where it rises downwards, on a grid of 8x8.
    """
    grey = Image.fromarray(pixels).convert("L")
    across = np.asarray(grey.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX))
    down = np.asarray(grey.resize((HASH_SIDE, HASH_SIDE + 1), Image.Resampling.BOX))
    bits = np.concatenate([(across[:, 1:] > across[:, :-1]).ravel(), (down[1:] > down[:-1]).ravel()])
    return np.packbits(bits).tobytes().hex()


def look_alike(first: Sequence[str], second: Sequence[str]) -> dict[tuple[int, int], int]:
    """The index pairs of hashes of two lists whose images look alike, in order, also mirrored or turned by right angles.

    The values are the numbers of bits in which they differ, the least over all orientations.
    """
    if not first or not second:
        return {}
    others = _words(_bits(second))
    pairs: dict[tuple[int, int], int] = {}
    for turn, bits in enumerate(_turned(_bits(first))):
        most = MOST_BITS_TURNED if turn else MOST_BITS
        for index, words in enumerate(_words(bits)):
            bits_apart = np.bitwise_count(words ^ others).sum(1)
            for other in np.flatnonzero(bits_apart <= most).tolist():
                pairs[index, other] = min(int(bits_apart[other]), pairs.get((index, other), MOST_BITS))
    return dict(sorted(pairs.items()))


def _bits(hashes: Sequence[str]) -> Mask:
    """Hashes as booleans (n, 2, 8, 8): rises to the right, and downwards."""
    data = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8)
    return np.unpackbits(data).reshape(len(hashes), 2, HASH_SIDE, HASH_SIDE).astype(bool)


def _turned(bits: Mask) -> Iterator[Mask]:
    """The hashes of the images in all eight orientations, first as they are."""
    for upright in (bits, bits[:, ::-1].swapaxes(2, 3)):
        for flips in product((False, True), repeat=2):  # across, down
            columns, rows = (slice(None, None, -1 if flip else 1) for flip in flips)
            yield upright[:, :, rows, columns] ^ np.array(flips)[:, None, None]


def _words(bits: Mask) -> npt.NDArray[np.uint64]:
    """Hashes as uint64 (n, 2)."""
    return np.packbits(bits.reshape(len(bits), -1), axis=1).view(np.uint64)
