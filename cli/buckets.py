"""Lists the images below a URL of an object store, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.image_names import APPLE_FOLDER, AnswerNames, kind_of, problem_of
from cli.input import Input
from cli.patterns import Pattern, matches_any
from cli.stores import list_objects, split_url


@dataclass(frozen=True)
class Bucket:
    """The objects below a URL as an input: all images, or those that one of the patterns matches.

    Objects below the output's URL are left out. Stores list objects in the order of their keys, so nothing is kept in memory.
    """

    root: str
    out: str | None = None
    patterns: Sequence[Pattern] = ()

    def __iter__(self) -> Iterator[Input]:
        bucket, prefix = split_url(self.root)
        start = len(prefix) + 1 if prefix else 0
        names = AnswerNames()
        for entry in list_objects(self.root):
            relative, name = entry.key[start:], entry.key.rpartition("/")[2]
            kind, url = kind_of(name), f"{bucket}/{entry.key}"
            outside = APPLE_FOLDER in relative.split("/") or (self.out is not None and is_below(url, self.out))
            if entry.problem and not outside:
                yield Input(url, relative or ".", relative, problem=entry.problem)
            if entry.problem:
                continue
            if kind == "other" or outside or not matches_any(self.patterns, relative):
                continue
            if kind == "image":
                yield Input(url, relative, names.name(relative), entry.version)
            elif entry.size:  # an empty object without an ending stands for a folder
                yield Input(url, relative, relative, entry.version, problem_of(name))

    def holds(self, path: Path) -> bool:
        """False for every path: a bucket has no files."""
        return False


def is_below(url: str, folder: str) -> bool:
    """Whether a URL names something in a folder, or the folder itself."""
    return f"{url.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
