"""Looks up the classes of a label set by the names and ids that answers and parameters use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Protocol

from imaging.errors import UnknownClass

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


def class_id(text: str, labels: Sequence[Label]) -> int:
    """The id of a class, given its name in any case, or its id in digits. An exact name takes precedence.

    Raises `UnknownClass`.
    """
    exact = {label.name: label.id for label in labels}
    fallbacks = {str(label.id): label.id for label in labels} | {label.name.casefold(): label.id for label in labels}
    if (id := exact.get(text, fallbacks.get(text.casefold()))) is not None:
        return id
    matches = get_close_matches(text, [label.name for label in labels], 1) if len(text) <= LONGEST_NAME else []
    hint = f"; did you mean {matches[0]!r}?" if matches else ";"
    raise UnknownClass(f"this model has no class {text[:40]!r}{hint} {class_list(labels)}")


def object_ids(names: Collection[str], labels: Sequence[Label]) -> frozenset[int]:
    """The ids of the classes of these names and ids; without any, of all but the background. Raises `UnknownClass`."""
    if names:
        return frozenset(class_id(name, labels) for name in names)
    return frozenset(label.id for label in labels if not is_background(label.name))


def class_list(labels: Sequence[Label]) -> str:
    """The part of an error message that lists the classes' names."""
    return f"its classes are {', '.join(label.name for label in labels)}"
