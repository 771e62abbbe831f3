"""Lists the images of a folder and of the folders below it, one folder at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.image_names import APPLE_FOLDER, ENDINGS, AnswerNames, kind_of, problem_of
from cli.input import Input
from cli.patterns import Pattern, Positions, matches_any
from cli.places import real


@dataclass(frozen=True)
class _Level:
    """path: as listed. relative: below the root. real: without links. states: of each pattern. below_link: behind a link."""

    path: str
    relative: str
    real: Path
    states: tuple[Positions, ...]
    below_link: bool = False


@dataclass
class Folder:
    """A folder as an input: all its images, or those that one of the patterns matches.

    It leaves out the output folder. It follows a link to a folder, unless it lists that folder anyway; so circles of links end.
    It keeps in memory the names of one folder, and of the folders that it has not listed yet.
    """

    root: str
    out: str | None = None
    patterns: Sequence[Pattern] = ()
    _link_targets: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._real = real(self.root)
        out = real(self.out) if self.out is not None else None
        self._output = out if out and not self._real.is_relative_to(out) else None

    def __iter__(self) -> Iterator[Input]:
        """Yields the images, and inputs with a problem: unreadable folders, photographs of types that are not accepted."""
        self._link_targets = set()
        stack = [_Level(self.root, "", self._real, tuple(pattern.start for pattern in self.patterns))]
        while stack:
            folder = stack.pop()
            try:
                with os.scandir(folder.path) as scan:
                    entries = sorted(scan, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                yield Input(folder.path, folder.relative or ".", folder.relative, problem=f"{error.strerror}; it is not listed")
                continue
            below = [entry for entry in entries if _is_folder(entry)]
            names = AnswerNames()
            for entry in entries:
                if not _is_folder(entry):
                    yield from self._image(folder, entry, names)
            stack += [inner for entry in reversed(below) if (inner := self._inner(folder, entry))]

    def holds(self, path: Path) -> bool:
        """Whether an existing file is one of the images."""
        place = real(path.parent) / path.name
        if path.suffix.lower() not in ENDINGS or not place.is_relative_to(self._real) or not os.path.lexists(place):
            return False
        inside = self._output is not None and place.is_relative_to(self._output)
        return not inside and matches_any(self.patterns, place.relative_to(self._real).as_posix())

    def _image(self, folder: _Level, entry: os.DirEntry[str], names: AnswerNames) -> Iterator[Input]:
        kind = kind_of(entry.name)
        if kind == "other" or not self._complete(self._step(folder, entry.name)):
            return
        relative = f"{folder.relative}/{entry.name}".lstrip("/")
        if kind == "image":
            # a file that cannot be read, such as a broken link, counts as an image: its outcome says so
            yield Input(entry.path, relative, f"{folder.relative}/{names.name(entry.name)}".lstrip("/"))
        elif os.path.isfile(entry.path):
            yield Input(entry.path, relative, relative, problem=problem_of(entry.name))

    def _inner(self, folder: _Level, entry: os.DirEntry[str]) -> _Level | None:
        """The folder of this entry; None if it is not to be listed."""
        states = self._step(folder, entry.name)
        if entry.name == APPLE_FOLDER or (self.patterns and not any(states)):
            return None
        link = entry.is_symlink()
        place = real(entry.path) if link else folder.real / entry.name
        if self._output and place.is_relative_to(self._output):
            return None
        if link or folder.below_link:
            if place.is_relative_to(self._real) or self._real.is_relative_to(place) or place in self._link_targets:
                return None
            if link and any(place.is_relative_to(each) for each in self._link_targets):
                return None
            if link:
                self._link_targets.add(place)
        return _Level(entry.path, f"{folder.relative}/{entry.name}".lstrip("/"), place, states, link or folder.below_link)

    def _step(self, folder: _Level, name: str) -> tuple[Positions, ...]:
        return tuple(pattern.step(positions, name) for pattern, positions in zip(self.patterns, folder.states, strict=True))

    def _complete(self, states: tuple[Positions, ...]) -> bool:
        if not self.patterns:
            return True
        return any(pattern.complete(positions) for pattern, positions in zip(self.patterns, states, strict=True))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False
