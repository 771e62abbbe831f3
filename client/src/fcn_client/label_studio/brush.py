"""Encodes masks in the format of Label Studio's brush labels.

Source of the format: `label_studio_sdk/converter/brush.py` (`decode_rle`) of label-studio-sdk 2.1. The bits are: the number of
values (32), the bits of a value less one (5), four sizes of lengths less one (4 each), then the runs. A run is: 1, the index of
its size (2), its length less one (that size), its value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CHANNELS = 4  # a brush label is an RGBA image
VALUE_BITS = 8
SIZES = (3, 6, 10, 16)
INSIDE, OUTSIDE = f"{255:08b}", f"{0:08b}"


def encode(mask: npt.NDArray[np.bool_], *, left: int, top: int, size: tuple[int, int]) -> list[int]:
    """The bytes of a mask, as a list of integers.

    mask: bool (h, w), a part of the image. left, top: the position of this part, in pixels. size: (height, width) of the
    image.
    """
    height, width = size
    rows, columns = mask.shape
    lines = np.zeros((rows, width), bool)
    lines[:, left : left + columns] = mask
    flags = np.concatenate([[False], lines.ravel(), [False]])
    edges = np.flatnonzero(flags[1:] != flags[:-1]) + top * width  # where runs inside begin, and where they end, alternately
    lengths = np.diff(np.concatenate([[0], edges, [height * width]])).tolist()
    bits = [f"{height * width * CHANNELS:032b}", f"{VALUE_BITS - 1:05b}", *(f"{bits - 1:04b}" for bits in SIZES)]
    bits += [_run(length * CHANNELS, (OUTSIDE, INSIDE)[turn % 2]) for turn, length in enumerate(lengths)]
    text = "".join(bits)
    data = np.packbits(np.frombuffer(text.encode("ascii"), np.uint8) - ord("0"))
    return [int(byte) for byte in data]


def _run(length: int, value: str) -> str:
    """The bits of a run, in several pieces where its length needs more bits than the largest size has."""
    largest = 1 << SIZES[-1]
    whole, rest = divmod(length, largest)
    pieces = [_piece(largest, value)] * whole + ([_piece(rest, value)] if rest else [])
    return "".join(pieces)


def _piece(length: int, value: str) -> str:
    index = next(index for index, bits in enumerate(SIZES) if length <= 1 << bits)
    return f"1{index:02b}{length - 1:0{SIZES[index]}b}{value}"
