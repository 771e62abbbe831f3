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
MOST_CLASSES = 253  # the ids of masks and scores have 8 bits, and two more mean no class and void
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
        place, why = ".".join(map(str, error.errors()[0]["loc"])), error.errors()[0]["msg"]
        raise DataError(f"{path}: {place}: {why}; a set has {', '.join(SetOptions.model_fields)}") from error
    except ValueError as error:
        raise DataError(f"{path} is not TOML: {error}") from error
    if not options:
        raise DataError(f"{path} names no set; write a table for each, such as [people], with the name of its folder")
    return [_read_set(root, name, each, labels) for name, each in options.items()]


def _read_set(root: Path, name: str, options: SetOptions, labels: LabelSet) -> FrameSet:
    folder = root / (options.path or name)
    if any((folder / file).is_file() for file in FILES) and (names := find_labels(None, folder).names) != labels.names:
        raise DataError(f"{folder} has the classes {', '.join(names)}, the mixture {root} has {', '.join(labels.names)}")
    return FrameSet(**options.model_dump(), name=name, folder=folder, labelled=_read_labelled(folder, labels))


def _read_labelled(folder: Path, labels: LabelSet) -> frozenset[int] | None:
    """The ids that a set's list names: ids or names between blanks, or a name on a line. None: all, also without a list."""
    path = folder / LABELLED
    if not path.is_file():
        return None
    lines = [line.strip() for line in read_text(path).splitlines()]
    words = [word for line in lines for word in ([line] if line in labels.names else line.split())]
    if words == [ALL]:
        return None
    ids = {text: each.id for each in labels.classes[1:] for text in (each.name, str(each.id))}
    wrong = [f"{near_name(word, [*ids])}, which a set cannot label" for word in words if word not in ids]
    if wrong or not words:
        what = (wrong or ["no class, so the set labels nothing"])[0]
        rule = f"write ids from 1 to {len(labels) - 1} or names of classes, without the background, or {ALL}"
        raise DataError(f"{path} names {what}; {rule}")
    if not is_background(labels.names[0]) or len(labels) > MOST_CLASSES:
        rule = f"class 0 must be background, of at most {MOST_CLASSES} classes"
        raise DataError(f"{path}: where a set labels some classes, {rule}, got {labels.names[0]!r} of {len(labels)}")
    return frozenset(ids[word] for word in words)
