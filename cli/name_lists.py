"""Lists the images that a file, or standard input, names: a path or a URL on each line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from cli.buckets import is_below
from cli.image_names import ENDINGS, AnswerNames, kind_of, problem_of
from cli.input import STDIO, Input
from cli.places import real
from cli.stores import folder_names, is_url

FOLDERS = 10_000  # whose names of answers are remembered


@dataclass(frozen=True)
class NameList:
    """The names in a file as an input; `-` for standard input. They are read as the run needs them.

    Answers keep the folders of their images: `a/1.jpg` becomes `a/1.png` below the output folder, `/data/1.jpg` becomes
    `data/1.png`, and `s3://bucket/1.jpg` becomes `bucket/1.png`. An image inside the output folder is not read, as another's
    answer could overwrite it.
    """

    source: str
    out: str | None = None

    def __iter__(self) -> Iterator[Input]:
        with _opened(self.source) as lines:
            for line in lines:
                if name := os.fsdecode(line.rstrip(b"\r\n")):
                    yield self._input(name)

    def holds(self, path: Path) -> bool:
        """No image inside the output folder is read."""
        return False

    def _input(self, name: str) -> Input:
        relative = _relative(name)
        folder, _, last = relative.rpartition("/")
        problem = self._problem(name, last)
        if problem:
            return Input(name, relative, relative, problem=problem)
        try:
            kept = _kept_endings(os.path.dirname(name) or ".")
        except OSError as error:
            return Input(name, relative, relative, problem=str(error))
        stem = last if last in kept else os.path.splitext(last)[0]
        return Input(name, relative, f"{folder}/{stem}".lstrip("/"))

    def _problem(self, name: str, last: str) -> str | None:
        if kind_of(last) != "image":
            return problem_of(last)
        if self.out is None or is_url(name) != is_url(self.out):
            return None
        inside = is_below(name, self.out) if is_url(name) else real(name).is_relative_to(real(self.out))
        return f"it lies in the output folder {self.out}; give another -o" if inside else None


@lru_cache(maxsize=FOLDERS)
def _kept_endings(folder: str) -> frozenset[str]:
    """The images of a folder or of a bucket's folder whose answers keep their endings."""
    names = folder_names(folder) if is_url(folder) else os.listdir(folder)
    images = sorted((name for name in names if os.path.splitext(name)[1].lower() in ENDINGS), key=os.fsencode)
    answers = AnswerNames()
    return frozenset(name for name in images if kind_of(name) == "image" and answers.name(name) == name)


def _relative(name: str) -> str:
    """Where the answer of a name in a list goes below the output folder, with the image's ending."""
    if is_url(name):
        return name.partition("://")[2]
    path = os.path.normpath(name)
    return (os.path.abspath(name) if path.startswith("..") else path).lstrip("/")


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == STDIO:
        if sys.stdin is None:
            raise OSError("--from-file - reads stdin, and it is closed; give a file")
        yield sys.stdin.buffer
        return
    with open(source, "rb") as file:
        yield file
