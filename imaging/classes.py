"""Looks up the classes of a label set by the names and ids that answers and parameters use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Protocol

from imaging.errors import WrongParameter

BACKGROUND = "background"
VOID = 255
"""The id of pixels that belong to no class."""
LONGEST_NAME = 100  # characters of a name for which a similar one is searched, which takes time by their square


class Label(Protocol):
    """A class: its id, its name, and its colour as `#rrggbb`."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def hex_color(self) -> str: ...


def is_background(name: str) -> bool:
    """Whether a class of this name is the background: `background`, `Background`, labelme's `_background_`."""
    return name.strip().strip("_").casefold() == BACKGROUND


def object_ids(names: Collection[str], labels: Sequence[Label]) -> frozenset[int]:
    """The ids of the classes of these names, in any case, or ids in digits; without any, of all but the background.

    An exact name takes precedence. Raises `WrongParameter`.
    """
    if not names:
        return frozenset(label.id for label in labels if not is_background(label.name))
    exact, ids = {label.name: label.id for label in labels}, set[int]()
    fallbacks = {str(label.id): label.id for label in labels} | {label.name.casefold(): label.id for label in labels}
    for text in names:
        if (id := exact.get(text, fallbacks.get(text.casefold()))) is None:
            matches = get_close_matches(text, [label.name for label in labels], 1) if len(text) <= LONGEST_NAME else []
            hint = f"; did you mean {matches[0]!r}?" if matches else ";"
            raise WrongParameter(f"this model has no class {text[:40]!r}{hint} {class_list(labels)}")
        ids.add(id)
    return frozenset(ids)


def class_list(labels: Sequence[Label]) -> str:
    """The part of an error message that lists the classes' names."""
    return f"its classes are {', '.join(label.name for label in labels)}"
