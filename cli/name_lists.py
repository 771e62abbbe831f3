"""Lists the images that a file, or standard input, names: a path or a URL on each line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import BinaryIO

from cli.hashes import HashMap, hash_of
from cli.image_names import ENDINGS, AnswerNames, kind_of, problem_of
from cli.input import STDIO, Input
from cli.places import real
from cli.stores import folder_names, is_below, is_url
from cli.web import is_web, web_path

FOLDERS = 10_000  # most folders in the cache of `_kept_endings`


@dataclass(frozen=True)
class NameList:
    """The images that a file names; `-` for standard input. It reads the lines as the run needs them.

    Answers keep the folders of their images: `a/1.jpg` becomes `a/1.png` below the output folder, `/data/1.jpg` becomes
    `data/1.png`, `s3://bucket/1.jpg` becomes `bucket/1.png`, and `https://host/a/1.jpg` becomes `host/a/1.png`. If two images
    would share an answer, as `/data/1.jpg` and `data/1.jpg` do, the second is an input with a problem; this takes 16 bytes of
    memory for each name. So is an image inside the output folder, since another image's answer could overwrite it.
    """

    source: str
    out: str | None = None

    def __iter__(self) -> Iterator[Input]:
        owners = HashMap()
        _kept_endings.cache_clear()  # folders may have changed since an earlier list, and the working directory
        with _open(self.source) as lines:
            for line in lines:
                name = os.fsdecode(line.rstrip(b"\r\n"))
                if name and (image := _alone(self._input(name), owners)):
                    yield image

    def _input(self, name: str) -> Input:
        try:
            return Input(name, *self._places(name))
        except OSError as error:
            text = name.replace("\0", "\\0")
            return Input(text, text, text, problem=str(error))

    def _places(self, name: str) -> tuple[str, str]:
        """The paths of the image and of its answer, as `Input` has them. Raises `OSError` for what is not read."""
        if "\0" in name:
            raise OSError("its name has a null byte; write the list in UTF-8, one name on each line")
        if is_web(name):  # what it is is not judged by its name
            relative = web_path(name)
            stem, ending = os.path.splitext(relative)
            return relative, stem if ending.lower() in ENDINGS else relative
        relative = _relative(name)
        last = relative.rpartition("/")[2]
        if kind_of(last) != "image":
            raise OSError(problem_of(last))
        if self.out is not None and is_url(name) == is_url(self.out) and _is_inside(name, self.out):
            raise OSError(f"it lies in the output folder {self.out}; give another -o")
        keeps_ending = last in _kept_endings(os.path.dirname(name) or ".")
        return relative, relative if keeps_ending else os.path.splitext(relative)[0]


def _is_inside(name: str, folder: str) -> bool:
    return is_below(name, folder) if is_url(name) else real(name).is_relative_to(real(folder))


@lru_cache(maxsize=FOLDERS)
def _kept_endings(folder: str) -> frozenset[str]:
    """The names of a folder's images whose answers keep the image's ending. folder: a path or a URL."""
    names = folder_names(folder) if is_url(folder) else os.listdir(folder)
    images = sorted((name for name in names if os.path.splitext(name)[1].lower() in ENDINGS), key=os.fsencode)
    answers = AnswerNames()
    return frozenset(name for name in images if kind_of(name) == "image" and answers.name(name) == name)


def _alone(image: Input, owners: HashMap) -> Input | None:
    """The image; with a problem if an earlier one has its answer; None if the list has named it before.

    owners: the hash of the image of each answer so far.
    """
    if image.problem:
        return image
    owner = hash_of(image.full_name)
    earlier = owners.get(image.answer_stem)
    if earlier == owner:
        return None
    if earlier is not None:
        problem = f"an earlier name of the list has its answer, {image.answer_stem}; put it in another list, with another -o"
        return replace(image, problem=problem)
    owners.set(image.answer_stem, owner)
    return image


def _relative(name: str) -> str:
    """The path below the output folder for the answer of this name, with the image's ending."""
    if is_url(name):
        return name.partition("://")[2]
    path = os.path.normpath(name)
    return (os.path.abspath(name) if path.startswith("..") else path).lstrip("/")


@contextmanager
def _open(source: str) -> Iterator[BinaryIO]:
    if source == STDIO:
        if sys.stdin is None:
            raise OSError("--from-file - reads stdin, and it is closed; give a file")
        yield sys.stdin.buffer
        return
    with open(source, "rb") as file:
        yield file
