"""A map from names to 8-byte numbers that takes 16 bytes of memory for each name."""

from __future__ import annotations

import os
from hashlib import sha256

import numpy as np

BLOCK = 65_536  # entries in a dict, before they go to the arrays


def hash_of(text: str) -> int:
    """The first 8 bytes of the text's sha256. Bytes that are not UTF-8 count as they are."""
    return int.from_bytes(sha256(os.fsencode(text)).digest()[:8], "big")


class HashMap:
    """Maps the hashes of names to numbers, 0 to 2^64 - 1. A later number replaces an earlier one.

    Two of n names share a hash with a probability of about n^2 / 2^65: 3 in 10^8 for a million. For one thread while it
    changes; after that any thread may read it.
    """

    def __init__(self) -> None:
        self._names, self._numbers = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._recent: dict[int, int] = {}

    def set(self, name: str, number: int) -> None:
        """Sets the number of a name."""
        self._recent[hash_of(name)] = number
        if len(self._recent) >= max(BLOCK, len(self._names) // 8):
            self._merge()

    def get(self, name: str) -> int | None:
        """The number of a name; None if it has none."""
        key = hash_of(name)
        if (number := self._recent.get(key)) is not None:
            return number
        index = int(np.searchsorted(self._names, value := np.uint64(key)))
        if index < len(self._names) and self._names[index] == value:
            return int(self._numbers[index])
        return None

    def _merge(self) -> None:
        """Moves the dict's entries to the arrays, which stay sorted."""
        names = np.concatenate([np.fromiter(self._recent, np.uint64, len(self._recent)), self._names])
        numbers = np.concatenate([np.fromiter(self._recent.values(), np.uint64, len(self._recent)), self._numbers])
        self._names, first = np.unique(names, return_index=True)  # of equal names, the first is the recent one
        self._numbers = numbers[first]
        self._recent.clear()
