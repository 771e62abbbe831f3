"""Patterns of names, such as `in/**/*.jpg`, matched folder by folder. They mean what they mean in Python's `glob`."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

ANY_DEPTH = "**"
Positions = frozenset[int]
"""Parts of a pattern that the next name may match."""


class Pattern:
    """A pattern below a folder. `*` and `**` match no name that begins with a dot."""

    def __init__(self, text: str) -> None:
        self._parts = text.split("/")
        self.start = self._closure({0})

    def step(self, positions: Positions, name: str) -> Positions:
        """The positions after the name of a folder or file; none if nothing below it can match."""
        after = set[int]()
        for position in positions:
            if position == len(self._parts):
                continue
            part = self._parts[position]
            if part == ANY_DEPTH:
                after |= set() if name.startswith(".") else {position}
            elif fnmatchcase(name, part) and (part.startswith(".") or not name.startswith(".")):
                after.add(position + 1)
        return self._closure(after)

    def matches(self, relative: str) -> bool:
        """Whether the pattern matches a path below the folder."""
        positions = self.start
        for name in relative.split("/"):
            positions = self.step(positions, name)
        return self.complete(positions)

    def complete(self, positions: Positions) -> bool:
        return len(self._parts) in positions

    def _closure(self, positions: set[int]) -> Positions:
        """Adds the position after each `**`, because `**` also matches zero folders."""
        closure = set(positions)
        for position, part in enumerate(self._parts):
            if position in closure and part == ANY_DEPTH:
                closure.add(position + 1)
        return frozenset(closure)


def split_pattern(name: str) -> tuple[str, str]:
    """The leading folders of a pattern, up to the first part with a wildcard, and the rest."""
    parts = PurePosixPath(name).parts
    count = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return str(PurePosixPath(*parts[:count])), "/".join(parts[count:])


def matches_any(patterns: Sequence[Pattern], relative: str) -> bool:
    """Whether one of the patterns matches the path; without patterns every path does."""
    return not patterns or any(pattern.matches(relative) for pattern in patterns)
