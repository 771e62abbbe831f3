"""Maps of class ids, for training or scoring on fewer classes than the labels have."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

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

    def of_predictions(self, labels: LabelSet) -> ClassMapping:
        """Itself, for a network of these classes: raises `ValueError` where it does not say what becomes of one of them."""
        missing = [entry.name for entry in labels.classes if self.table[entry.id] >= len(self.labels)]
        if missing:
            raise ValueError(f"a class mapping of predictions names every class: {', '.join(missing)} missing; add *=...")
        return self


def parse_class_mapping(text: str, labels: LabelSet) -> ClassMapping:
    """The mapping written `0=0,8=1,12=2,*=0`: source=target, `*` for every other class; void stays void.

    A source is an id or a name of the label set. Targets are ids, or all of them names, `cat=animal,dog=animal,*=other`:
    then their ids are in the order in which they are first named. A target is coloured, and where it is an id named,
    after the lowest source that is named for it. Raises `ValueError` with what was wrong.
    """
    written = [_pair(item, text) for item in text.split(",")]
    targets = list(dict.fromkeys(target for _, target in written))
    numbered = [target.isdecimal() for target in targets]
    if any(numbered) and not all(numbered):
        raise ValueError(f"a class mapping's targets are all ids or all names, got {targets} in {text!r}")
    names = [] if all(numbered) else targets
    pairs: dict[int, int] = {}
    others: int | None = None
    for source, given in written:
        target = names.index(given) if names else int(given)
        if source == "*" and others is None:
            others = target
        elif source != "*" and (index := _source(source, labels)) not in pairs:
            pairs[index] = target
        else:
            raise ValueError(f"a class mapping names each source once, got {source} again in {text!r}")
    if unknown := sorted(set(pairs) - set(range(len(labels)))):
        raise ValueError(f"the label set has ids 0 to {len(labels) - 1}; the mapping names {unknown}")
    everything = {} if others is None else dict.fromkeys(range(len(labels)), others)
    mapping = _mapping(everything | pairs, set(pairs), labels)
    if not names:
        return mapping
    classes = tuple(replace(entry, name=name) for entry, name in zip(mapping.labels.classes, names, strict=True))
    return replace(mapping, labels=replace(mapping.labels, classes=classes))


def _pair(item: str, text: str) -> tuple[str, str]:
    """Source and target of one item."""
    source, _, target = (part.strip() for part in item.partition("="))
    if not source or not re.fullmatch(r"\d+|[^\W\d][^=*]*", target) or not re.fullmatch(r"\*|\d+|[^\W\d][^=*:]*", source):
        raise ValueError(f"a class mapping is written 0=0,8=1,*=0, or with names; got {item.strip()!r} in {text!r}")
    return source, target


def _source(text: str, labels: LabelSet) -> int:
    """The id that a source means; raises `ValueError` for a name that no class has, or several."""
    if text.isdecimal():
        return int(text)
    if labels.names.count(text) != 1:
        raise ValueError(f"a class mapping's sources are ids or names among {', '.join(labels.names)}; got {text!r}")
    return labels.names.index(text)


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
