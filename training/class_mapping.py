"""Maps of class ids, for training or scoring on fewer classes than the labels have."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.labels import LabelClass, LabelSet


@dataclass(frozen=True)
class ClassMapping:
    """A table of 256 target ids; ids that it does not name, and void, become `ignore_index`."""

    table: npt.NDArray[np.uint8]
    labels: LabelSet

    def __call__(self, class_map: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return self.table[class_map]


def parse_class_mapping(text: str, labels: LabelSet) -> ClassMapping:
    """The mapping written `0=0,8=1,12=2,*=0`: source=target, `*` for every other class; void stays void.

    A target is named and coloured after the lowest source that is named for it. Raises `ValueError` with what was wrong.
    """
    pairs: dict[int, int] = {}
    others: int | None = None
    seen: set[str] = set()
    for item in text.replace(" ", "").split(","):
        if not re.fullmatch(r"(\d+|\*)=\d+", item):
            raise ValueError(f"a class mapping is written 0=0,8=1,*=0; got {item!r} in {text!r}")
        source, target = item.split("=")
        if source in seen:
            raise ValueError(f"a class mapping names each source once, got {source} again in {text!r}")
        seen.add(source)
        if source == "*":
            others = int(target)
        else:
            pairs[int(source)] = int(target)
    if unknown := sorted(set(pairs) - set(range(len(labels)))):
        raise ValueError(f"the label set has ids 0 to {len(labels) - 1}; the mapping names {unknown}")
    everything = {} if others is None else dict.fromkeys(range(len(labels)), others)
    return _mapping(everything | pairs, set(pairs), labels)


def _mapping(pairs: dict[int, int], named: set[int], labels: LabelSet) -> ClassMapping:
    targets = sorted(set(pairs.values()))
    if targets != list(range(len(targets))):
        raise ValueError(f"target ids must be 0 to n-1, got {targets}")
    table = np.full(256, labels.ignore_index, np.uint8)
    for source, target in pairs.items():
        table[source] = target
    classes = []
    for target in targets:
        sources = [source for source, to in pairs.items() if to == target]
        origin = labels.classes[min(sources, key=lambda source: (source not in named, source))]
        classes.append(LabelClass(target, origin.name, origin.color))
    return ClassMapping(table, LabelSet(tuple(classes), labels.ignore_index))


def identity(labels: LabelSet) -> ClassMapping:
    """Every class as it is; ids that are no class become void."""
    return _mapping({entry.id: entry.id for entry in labels.classes}, set(range(len(labels))), labels)
