"""Decodes Label Studio's brush labels.

Source of the format: `label_studio_sdk/converter/brush.py` (`decode_rle`) of label-studio-sdk 2.1. The bits are: the number of
values (32), the bits of a value less one (5), four sizes of lengths less one (4 each), then the runs. A run begins with a bit,
the index of its size (2) and its length less one (that size). After the bit 1 it has one value, after 0 as many as its length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CHANNELS = 4  # a brush label is an RGBA image; its alpha says what is painted
HALF = 128  # pixels at the edge of a stroke are painted in part


def decode_brush(values: Sequence[int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The painted pixels, bool (H, W): those whose alpha is at least 128.

    values: the bytes of `rle`, 0 to 255 each. size: (height, width). Raises `ValueError` if they are no brush label of this
    size.
    """
    height, width = size
    if not all(isinstance(value, int) and 0 <= value <= 255 for value in values):
        raise ValueError(f"a brush label must be a list of numbers from 0 to 255, got {str(values)[:60]}")
    reader = _Bits(np.unpackbits(np.array(values, np.uint8)))
    count, value_bits = reader.number(32), reader.number(5) + 1
    if count != height * width * CHANNELS or value_bits != 8:
        raise ValueError(
            f"a brush label of {height}x{width} pixels needs {height * width * CHANNELS} values of 8 bits, got {count} of "
            f"{value_bits}"
        )
    sizes = [reader.number(4) + 1 for _ in range(4)]
    mask = np.zeros(height * width, bool)
    start = 0
    while start < count:
        is_repeated = reader.number(1)
        length = reader.number(sizes[reader.number(2)]) + 1
        end = start + length
        if end > count:
            raise ValueError(f"a brush label of {count} values has runs of {end}")
        alphas = mask[start // CHANNELS : end // CHANNELS]  # the last channel of each pixel
        if is_repeated:
            alphas[:] = reader.number(8) >= HALF
        else:
            alphas[:] = reader.octets(length)[(CHANNELS - 1 - start) % CHANNELS :: CHANNELS] >= HALF
        start = end
    return mask.reshape(height, width)


class _Bits:
    """Reads numbers from an array of bits, one after the other."""

    def __init__(self, bits: npt.NDArray[np.uint8]) -> None:
        self._bits = bits
        self._position = 0

    def number(self, width: int) -> int:
        """The next number of so many bits, the highest first."""
        return int("".join(map(str, self._next(width).tolist())), 2)

    def octets(self, count: int) -> npt.NDArray[np.uint8]:
        """The next `count` numbers of 8 bits, uint8."""
        return np.packbits(self._next(8 * count))

    def _next(self, count: int) -> npt.NDArray[np.uint8]:
        bits = self._bits[self._position : self._position + count]
        if len(bits) < count:
            raise ValueError(f"a brush label ends after {len(self._bits) // 8} bytes, within a run")
        self._position += count
        return bits
