"""Maps of class ids, for training or scoring on fewer classes than the labels have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.arrays import Ids
from model.labels import LabelClass, LabelSet, voc_color
from training.data.label_files import near_name


@dataclass(frozen=True)
class ClassMapping:
    """Maps class ids to fewer classes.

    table: 256 target ids as uint8; `ignore_index` for void and for ids that the mapping does not name.
    labels: the target classes. further: the target ids of names that a network has and the masks lack, and of `*` for all
    others of them.
    """

    table: Ids
    labels: LabelSet
    further: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, class_map: Ids) -> Ids:
        return self.table[class_map]

    def require_complete(self, classes: Iterable[LabelClass]) -> ClassMapping:
        """Returns the mapping itself; raises `ValueError` if it maps one of these classes to void.

        Masks may have void pixels, predictions may not. So a mapping of predictions must name every class.
        """
        missing = [entry.name for entry in classes if self.table[entry.id] >= len(self.labels)]
        if missing:
            raise ValueError(f"a class mapping of predictions names every class: {', '.join(missing)} missing; add *=...")
        return self


def parse_class_mapping(text: str, labels: LabelSet, network: Sequence[str] = ()) -> ClassMapping:
    """Parses a mapping such as `0=0,8=1,12=2,*=0`: source=target, with `*` for every other class; void stays void.

    A source is an id or a name in the label set. Targets are either all ids or all names, as in
    `cat=animal,dog=animal,*=other`; named targets get ids in the order of their first mention. A target has the colour of the
    lowest source id that is written for it, and also its name if the target is an id. network: names of a network's classes;
    those that the label set lacks are sources as well. Raises `ValueError` for a text of another form, an unknown class, a
    source that comes twice, and target ids that are not 0 to n-1.
    """
    others = set(network) - set(labels.names)
    source_targets = [_pair(item, text) for item in text.split(",")]
    targets = list(dict.fromkeys(target for _, target in source_targets))
    are_ids = [target.isdecimal() for target in targets]
    if any(are_ids) and not all(are_ids):
        raise ValueError(f"a class mapping's targets are all ids or all names, got {targets} in {text!r}")
    names = [] if all(are_ids) else targets
    target_of: dict[int | str, int] = {}
    for source, target_text in source_targets:
        key = source if source == "*" or (source in others and not source.isdecimal()) else _source(source, labels, others)
        if key in target_of:
            raise ValueError(f"a class mapping names each source once, got {source} again in {text!r}")
        target_of[key] = names.index(target_text) if names else int(target_text)
    pairs = {source: target for source, target in target_of.items() if isinstance(source, int)}
    further = {source: target for source, target in target_of.items() if isinstance(source, str)}
    if unknown := sorted(set(pairs) - set(range(len(labels)))):
        raise ValueError(f"the label set has ids 0 to {len(labels) - 1}; the mapping names {unknown}")
    defaults = dict.fromkeys(range(len(labels)), further["*"]) if "*" in further else {}
    return _mapping(defaults | pairs, set(pairs), labels, further if others else {}, names)


def _pair(item: str, text: str) -> tuple[str, str]:
    """The source and target of one item; raises `ValueError` for another form. text: the whole mapping, for the error."""
    source, _, target = (part.strip() for part in item.partition("="))
    if not source or not re.fullmatch(r"\d+|[^\W\d][^=*]*", target) or not re.fullmatch(r"\*|\d+|[^\W\d][^=*:]*", source):
        raise ValueError(f"a class mapping is written 0=0,8=1,*=0, or with names; got {item.strip()!r} in {text!r}")
    return source, target


def _source(text: str, labels: LabelSet, others: Iterable[str]) -> int:
    """The class id of a source; raises `ValueError` for a name that no class has, or that several have."""
    if text.isdecimal():
        return int(text)
    if labels.names.count(text) != 1:
        names = [*labels.names, *sorted(others)]
        raise ValueError(f"a class mapping's sources are ids or names among {', '.join(names)}; got {near_name(text, names)}")
    return labels.names.index(text)


def _mapping(
    pairs: dict[int, int], explicit: set[int], labels: LabelSet, further: dict[str, int], names: Sequence[str] = ()
) -> ClassMapping:
    """The mapping of these source and target ids.

    explicit: the sources that were written, not covered by `*`. names: of the targets, if they are no ids.
    """
    targets = sorted({*pairs.values(), *further.values()})
    if targets != list(range(len(targets))):
        raise ValueError(f"target ids must be 0 to n-1, got {targets}")
    table = np.full(256, labels.ignore_index, np.uint8)
    for source, target in pairs.items():
        table[source] = target
    classes = []
    for target in targets:
        sources = [labels.classes[source] for source, to in pairs.items() if to == target] or [
            LabelClass(target, name, voc_color(target)) for name, to in further.items() if to == target
        ]
        origin = min(sources, key=lambda source: (source.id not in explicit, source.id))
        classes.append(LabelClass(target, names[target] if names else origin.name, origin.color))
    return ClassMapping(table, LabelSet(tuple(classes), labels.ignore_index), further)


def identity_mapping(labels: LabelSet) -> ClassMapping:
    """The mapping that keeps every class; ids that are no class become void."""
    return _mapping({entry.id: entry.id for entry in labels.classes}, set(range(len(labels))), labels, {})
