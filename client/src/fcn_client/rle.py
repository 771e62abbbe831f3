"""COCO's compressed run-length encoding: the runs of a mask, column by column, each as the difference to the last but one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

BITS, MORE, SIGN, FIRST = 5, 0x20, 0x10, 48


def runs(text: str) -> list[int]:
    """Lengths of the runs, outside and inside in turn, of a string as COCO's `counts` holds."""
    lengths: list[int] = []
    value = shift = 0
    for byte in text.encode("ascii"):
        chunk = byte - FIRST
        value |= (chunk & (MORE - 1)) << shift
        shift += BITS
        if chunk & MORE:
            continue
        if chunk & SIGN:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def class_map(counts: Mapping[str, str], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The uint8 class map (H, W) of one string a class id; raises `ValueError` where runs do not fill it."""
    height, width = size
    flat = np.zeros(height * width, np.uint8)
    for id, text in counts.items():
        lengths = runs(text)
        if sum(lengths) != flat.size or min(lengths, default=0) < 0:
            raise ValueError(f"runs of class {id} cover {sum(lengths)} pixels, the image has {flat.size}")
        flat[np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)] = int(id)
    return np.ascontiguousarray(flat.reshape(width, height).T)
