"""Matches the classes of a model with the labels of a label tool, by their names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from fcn_client.results import Label

BACKGROUND = "background"


def parse_aliases(text: str) -> dict[str, str]:
    """Reads `CLASS=LABEL,CLASS=LABEL`: the label of the tool for a class of the model. Raises `ValueError`."""
    aliases: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, sign, label = (each.strip() for each in part.partition("="))
        if not (name and sign and label):
            raise ValueError(f"aliases are CLASS=LABEL with commas between, such as cat=Kitten,dog=Puppy, got {part!r}")
        aliases[name] = label
    return aliases


def check_aliases(aliases: Mapping[str, str], labels: Sequence[Label]) -> None:
    """Raises `ValueError` for an alias of a class that the model lacks, with the nearest name."""
    names = {label.name.casefold(): label.name for label in labels}
    for name in aliases:
        if name.casefold() not in names:
            near = difflib.get_close_matches(name.casefold(), names, 1)
            choices = f"did you mean {names[near[0]]!r}?" if near else f"there are {', '.join(names.values())}"
            raise ValueError(f"aliases name the class {name!r}, which the model lacks; {choices}")


def match(labels: Sequence[Label], names: Mapping[str, str], aliases: Mapping[str, str]) -> dict[int, str]:
    """The tool's label for each class id: the label of the class's alias, or else of its name, upper or lower case.

    names: the tool's labels, by each of their names. Classes without a label, and labels without a class, are left out.
    """
    own = {name.casefold(): label for name, label in aliases.items()}
    lower_names = {name.casefold(): label for name, label in reversed(list(names.items()))}
    matches = {}
    for label in labels:
        name = own.get(label.name.casefold(), label.name)
        if choice := names.get(name, lower_names.get(name.casefold())):
            matches[label.id] = choice
    return matches


def is_background(label: Label) -> bool:
    """Whether the class is named `background`, `Background` or `_background_`."""
    return label.name.strip().strip("_").casefold() == BACKGROUND
