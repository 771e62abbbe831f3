"""Which of a network's classes are those of a data set, by name, and as what the others count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.arrays import Ids
from training.data.label_files import name_key, near_name
from training.data.problems import DataError, first_names
from training.data.split import Split

NEW = -1  # in place of a row: the network has no such class, and a training gives it random weights
BACKGROUND = "background"
OTHER = "another class"  # the name of what is none of the data's classes
MOST = 6  # names in a line


@dataclass(frozen=True)
class NetworkClasses:
    """As what the classes of a network count in a split.

    table: uint8 (256,), for each class of the network the split's; for one that is none of them, their number. names: the
    split's classes, and `OTHER` if the network has such classes. line: what was matched by name, and what was not; empty if
    the network has the split's classes, or those of its masks.
    """

    table: Ids
    names: list[str]
    line: str = ""

    def __call__(self, class_map: Ids) -> Ids:
        return self.table[class_map]


def network_classes(network: Sequence[str], split: Split) -> NetworkClasses:
    """Matches a network's classes, by these names, with those of the masks and with those that the split maps them to.

    A class of the network that is neither among the masks' classes nor among the split's counts as the mapping's `*`, else
    as the background; without one it is none of the data's classes. Raises `DataError` if the network lacks a class of the
    data, and `ValueError` if the mapping leaves out one of the masks' classes that the network has.
    """
    mapping, names, masks, sources = split.mapping, split.labels.names, split.source_labels, split.source_labels.names
    if network == names:
        return NetworkClasses(np.arange(256, dtype=np.uint8), scored_names(split))
    if network == sources:
        return NetworkClasses(mapping.require_complete(masks.classes).table, scored_names(split))
    rest = mapping.further.get("*", background_id(names))
    of_source, of_target = (
        {row: index for index, row in reversed(list(enumerate(match_rows(own, network)))) if row != NEW}
        for own in (sources, names)
    )
    mapping.require_complete(masks.classes[i] for row, i in of_source.items() if network[row] not in mapping.further)
    targets = of_target | {row: int(mapping.table[index]) for row, index in of_source.items()}
    targets |= {row: mapping.further[name] for row, name in enumerate(network) if name in mapping.further}
    table = np.full(256, rest, np.uint8)
    table[list(targets)] = list(targets.values())
    missing = {*range(len(names))} - {*table[: len(network)].tolist()}
    if unknown := [
        near_name(name, network) for name, to in zip(sources, mapping.table.tolist(), strict=False) if to in missing
    ]:
        raise DataError(
            f"the network has the classes {', '.join(network)}, and none of the labels' {first_names(unknown, MOST)}; give "
            "both one name (--labels names the masks' classes), or say with --class-map what the classes of both count as, "
            "such as cat=animal,animal=animal,*=background"
        )
    others = [name for row, name in enumerate(network) if row not in targets]
    line = "the network's classes are those of the labels by name"
    if others:
        what = names[rest] if rest < len(names) else f"{OTHER}, which is wrong where there is a label"
        line += f"; {len(others)} of its {len(network)} are none of them and count as {what}: {first_names(others, MOST)}"
    is_other = bool(others) and rest == len(names)
    return NetworkClasses(table, [*names, OTHER] if is_other else scored_names(split), line)


def background_id(names: Sequence[str]) -> int:
    """The class that is the background; their number if none is. Unlike `is_background`, it asks for no spelling."""
    return next((index for index, name in enumerate(names) if name_key(name) == BACKGROUND), len(names))


def scored_names(split: Split) -> list[str]:
    """The split's classes, and `OTHER` if a set labels some of them alone: on its frames, the others count as it."""
    return [*split.labels.names, OTHER] if split.is_partial else split.labels.names


def match_rows(names: Sequence[str], start_names: Sequence[str]) -> tuple[int, ...]:
    """For each class, the start's row of the same name, or `NEW`.

    A name that is spelled the same comes first; else case, blanks, hyphens and underscores do not count. `background` alone
    matches nothing: each label set means by it what it does not name.
    """
    by_key = {name_key(name): row for row, name in reversed(list(enumerate(start_names)))}
    exact = {name: row for row, name in reversed(list(enumerate(start_names)))}
    rows = tuple(exact.get(name, by_key.get(name_key(name), NEW)) for name in names)
    is_told = any(row != NEW and name_key(name) != BACKGROUND for name, row in zip(names, rows, strict=True))
    return rows if is_told else (NEW,) * len(names)
