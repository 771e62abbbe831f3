"""Lists the images below a folder, one folder at a time, or below a URL of an object store, a page at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cli.image_names import APPLE_FOLDER, ENDINGS, AnswerNames, Pattern, kind_of, matches_any, problem_of
from cli.input import Input
from cli.places import real
from cli.stores import is_below, list_objects, split_url


@dataclass
class _Tree:
    """All images below a folder or a URL, or those that one of the patterns matches.

    out: the output folder or URL, which is left out. below: the folder of the answers in it; empty for `out` itself.
    """

    root: str
    out: str | None = None
    patterns: Sequence[Pattern] = ()
    below: str = ""

    def answer_stem(self, relative: str) -> str:
        """The path of an answer, as `Input` has it."""
        return f"{self.below}/{relative}".strip("/")

    def inputs(
        self, name: str, relative: str, names: AnswerNames, version: str = "", is_file: Callable[[], bool] = lambda: True
    ) -> Iterator[Input]:
        """The image of this name; or a photograph of a type that is not accepted, with its problem. names: of its folder."""
        kind = kind_of(relative.rpartition("/")[2])
        if kind == "other" or not matches_any(self.patterns, relative):
            return
        if kind == "image":
            # a file that cannot be read, such as a broken link, counts as an image: its outcome says so
            yield Input(name, relative, self.answer_stem(names.name(relative)), version)
        elif is_file():
            yield Input(name, relative, self.answer_stem(relative), version, problem_of(relative.rpartition("/")[2]))


@dataclass
class Folder(_Tree):
    """A folder as an input. It follows a link to a folder, unless it lists that folder anyway; so circles of links end.

    It keeps in memory the names of one folder, and of the folders that it has not listed yet.
    """

    _behind_links: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._real = real(self.root)
        out = real(self.out) if self.out is not None else None
        self._output = out if out and not self._real.is_relative_to(out) else None

    def __iter__(self) -> Iterator[Input]:
        """Yields the images, and inputs with a problem: unreadable folders, photographs of types that are not accepted."""
        self._behind_links = set()
        stack = [self.root]
        while stack:
            path = stack.pop()
            below = self._relative(path)
            try:
                with os.scandir(path) as scan:
                    entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                yield Input(path, below or ".", self.answer_stem(below), problem=f"{error.strerror}; it is not listed")
                continue
            names = AnswerNames()
            for entry in entries:
                if not _is_folder(entry):
                    relative = f"{below}/{entry.name}".lstrip("/")
                    yield from self.inputs(entry.path, relative, names, is_file=partial(os.path.isfile, entry.path))
            stack += [entry.path for entry in reversed(entries) if _is_folder(entry) and self._is_listed(entry)]

    def _relative(self, path: str) -> str:
        """The path of a folder below the root, which has none."""
        relative = os.path.relpath(path, self.root)
        return "" if relative == os.curdir else relative

    def holds(self, path: Path) -> bool:
        """Whether an existing file is one of the images."""
        place = real(path.parent) / path.name
        if path.suffix.lower() not in ENDINGS or not place.is_relative_to(self._real) or not os.path.lexists(place):
            return False
        inside = self._output is not None and place.is_relative_to(self._output)
        return not inside and matches_any(self.patterns, place.relative_to(self._real).as_posix())

    def _is_listed(self, entry: os.DirEntry[str]) -> bool:
        """Whether the folder of this entry is to be listed."""
        place, relative = real(entry.path), self._relative(entry.path)
        if entry.name == APPLE_FOLDER or not matches_any(self.patterns, relative, is_folder=True):
            return False
        if self._output and place.is_relative_to(self._output):
            return False
        if place != self._real / relative:  # behind a link
            if place.is_relative_to(self._real) or self._real.is_relative_to(place) or place in self._behind_links:
                return False
            self._behind_links.add(place)
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


@dataclass
class Bucket(_Tree):
    """The objects below a URL as an input. Stores list them in the order of their keys, so nothing is kept in memory."""

    def __iter__(self) -> Iterator[Input]:
        bucket, prefix = split_url(self.root)
        start = len(prefix) + 1 if prefix else 0
        names = AnswerNames()
        for entry in list_objects(self.root):
            relative, url = entry.key[start:], f"{bucket}/{entry.key}"
            if APPLE_FOLDER in relative.split("/") or (self.out is not None and is_below(url, self.out)):
                continue
            # an empty object without an ending stands for a folder
            yield from self.inputs(url, relative, names, entry.version, partial(bool, entry.size))
