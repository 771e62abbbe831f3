"""The sets of a data set: which classes each labels, and how a mixture uses them."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from imaging.classes import is_background
from model.labels import LabelSet
from training.data.files import read_text
from training.data.label_files import FILES, find_labels, near_name
from training.data.layouts import FrameSet, SetOptions
from training.data.problems import DataError

MIXTURE = "sets.toml"  # in the data's folder: a table for each set, named by its folder
LABELLED = "labelled.txt"  # in a set's folder: the ids or names of the classes that its masks label, or `all`
ALL = "all"
OPTIONS = TypeAdapter(dict[str, SetOptions])


def read_sets(root: Path, labels: LabelSet) -> list[FrameSet]:
    """The sets of a mixture; of another data set, the one that it is. labels: of the masks.

    Raises `DataError`, naming the file, for a mixture or a list of labelled classes that cannot be used.
    """
    path = root / MIXTURE
    if not path.is_file():
        return [FrameSet(folder=root, labelled=_read_labelled(root, labels))]
    try:
        options = OPTIONS.validate_python(tomllib.loads(read_text(path)))
    except ValidationError as error:
        item = error.errors()[0]
        place, keys = ".".join(map(str, item["loc"])), ", ".join(SetOptions.model_fields)
        raise DataError(f"{path}: {place}: {item['msg']}, got {item['input']!r}; a set has {keys}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not TOML: {error}") from error
    if not options:
        raise DataError(f"{path} names no set; write a table for each, such as [people], with the name of its folder")
    return [_read_set(root, name, each, labels) for name, each in options.items()]


def _read_set(root: Path, name: str, options: SetOptions, labels: LabelSet) -> FrameSet:
    folder = root / (options.path or name)
    if not folder.is_dir():
        raise DataError(f"{root / MIXTURE}: {name}: {folder} is not a folder")
    if any((folder / file).is_file() for file in FILES) and (names := find_labels(None, folder).names) != labels.names:
        raise DataError(f"{folder} has the classes {', '.join(names)}, the mixture {root} has {', '.join(labels.names)}")
    return FrameSet(**options.model_dump(), name=name, folder=folder, labelled=_read_labelled(folder, labels))


def _read_labelled(folder: Path, labels: LabelSet) -> frozenset[int] | None:
    """The ids that a set's list names: ids or names between blanks, or a name on a line. None: all, also without a list."""
    path, ids = folder / LABELLED, set()
    if not path.is_file():
        return None
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    if [line.strip() for line in lines if line.strip()] == [ALL]:
        return None
    for number, line in enumerate(lines, 1):
        for word in [line.strip()] if line.strip() in labels.names else line.split():
            class_id = int(word) if word.isdecimal() else labels.names.index(word) if word in labels.names else -1
            if not 0 < class_id < len(labels):
                reason = f"0 is what shows none of them: leave it out, or write {ALL}" if class_id == 0 else "no such class"
                raise DataError(f"{path}: line {number}: {near_name(word, labels.names)}: {reason}; {_rule(labels)}")
            ids.add(class_id)
    if not ids:
        raise DataError(f"{path} names no class, so the set labels nothing; {_rule(labels)}")
    if not is_background(labels.names[0]):
        raise DataError(f"{path}: where a set labels some classes, class 0 must be background, got {labels.names[0]!r}")
    return frozenset(ids)


def _rule(labels: LabelSet) -> str:
    return f"write ids from 1 to {len(labels) - 1} or names of classes, or {ALL}"
