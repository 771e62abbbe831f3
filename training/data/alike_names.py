"""Finds names of classes that may mean one class, as of two people who labelled."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MARKS = " _-"


def alike_names(names: Iterable[str]) -> list[str]:
    """A line for each group of names that differ by case, blanks, hyphens, underscores or wide letters alone."""
    groups: dict[str, dict[str, None]] = {}
    for name in names:
        groups.setdefault(name_key(name), {})[unicodedata.normalize("NFC", name)] = None
    return [
        f"the classes {', '.join(map(repr, group))} have nearly one name: if they are one class, give them one name"
        for group in groups.values()
        if len(group) > 1
    ]


def name_key(name: str) -> str:
    """The name without what `alike_names` does not tell apart."""
    text = "".join(unicodedata.normalize("NFKC", name).split())
    return "".join(letter for letter in unicodedata.normalize("NFKC", text.casefold()) if letter not in MARKS)
