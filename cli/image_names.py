"""Which names are images, which of them a pattern such as `in/**/*.jpg` matches, and how their answers are named."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

from imaging.decoding import IMAGE_ENDINGS, ending_problem

ENDINGS = frozenset(IMAGE_ENDINGS)
# macOS writes such files and folders next to images, on other file systems and in archives
APPLE_DOUBLE, APPLE_FOLDER = "._", "__MACOSX"
ANY_DEPTH = "**"
Kind = Literal["image", "not accepted", "other"]
Pattern = tuple[str, ...]
"""The parts of a pattern below a folder. It means what it means in Python's `glob`."""


def kind_of(name: str) -> Kind:
    """What a file's name says: an accepted image; a photograph of another type, or no ending at all; or something else."""
    if name.startswith(APPLE_DOUBLE):
        return "other"
    ending = os.path.splitext(name)[1].lower()
    if ending in ENDINGS:
        return "image"
    return "not accepted" if ending_problem(ending) or not (ending or name.startswith(".")) else "other"


def problem_of(name: str) -> str:
    """Says why a file of the kind `not accepted` is not read, and what to do."""
    ending = os.path.splitext(name)[1]
    if problem := ending_problem(ending):
        return problem
    subject = f"{ending} is" if ending else "a name without an ending is"
    return f"not an accepted type: {subject} none of {', '.join(sorted(ENDINGS))}; save it as one of them"


def split_pattern(name: str) -> tuple[str, str]:
    """The leading folders of a pattern, up to the first part with a wildcard, and the rest."""
    parts = PurePosixPath(name).parts
    count = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return str(PurePosixPath(*parts[:count])), "/".join(parts[count:])


def matches_any(patterns: Sequence[Pattern], relative: str, *, is_folder: bool = False) -> bool:
    """Whether one of the patterns matches the path; without patterns every path does.

    is_folder: whether one of them matches anything that may be below the path.
    """
    return not patterns or any(_matches(pattern, tuple(relative.split("/")), is_folder) for pattern in patterns)


def _matches(pattern: Pattern, names: tuple[str, ...], is_folder: bool) -> bool:
    if not names:
        return bool(pattern) if is_folder else set(pattern) <= {ANY_DEPTH}
    if not pattern:
        return False
    part, rest = pattern[0], pattern[1:]
    if part == ANY_DEPTH and _matches(rest, names, is_folder):
        return True
    if names[0].startswith(".") and not part.startswith("."):
        return False
    if part == ANY_DEPTH:
        return _matches(pattern, names[1:], is_folder)
    return fnmatchcase(names[0], part) and _matches(rest, names[1:], is_folder)


class AnswerNames:
    """Names the answers of a folder's images. Call `name` in the order of the images' names, by their bytes.

    An answer has the name of its image without the ending. If an earlier image has taken that name, the answer keeps the
    image's ending: `same.jpg` becomes `same`, and then `same.png` becomes `same.png`. The names depend only on the images of
    the folder. No two answers have the same name. Memory does not grow with the number of images.
    """

    def __init__(self) -> None:
        self._last = b""
        self._answers: list[bytes] = []

    def name(self, image: str) -> str:
        """Returns the answer's name, without the ending of its format. Raises `OSError` for a name out of order."""
        name = os.fsencode(image)
        if name < self._last:
            raise OSError(f"{image} is listed after a name that follows it in order; give the names with --from-file")
        self._last = name
        # every name S.ENDING sorts before S/, since . sorts before /: a stem S can be forgotten once a name sorts after S/
        self._answers = [earlier for earlier in self._answers if name < earlier + b"/"]
        stem = os.path.splitext(image)[0]
        answer = image if os.fsencode(stem) in self._answers else stem
        self._answers.append(os.fsencode(answer))
        return answer
