"""Turns the categories of a COCO document into classes: their names, their order, and which categories are no classes."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from common.arrays import Ids
from common.whole_file import write_file
from imaging.classes import VOID, is_background
from model.labels import LabelError, numbered_labels
from training.data.label_files import FILES, IGNORED, class_name, read_labels
from training.data.problems import DataError, first_names, raise_all
from training.importing.coco import Document, Key, is_key
from training.importing.objects import BACKGROUND


def find_groups(documents: Sequence[Document]) -> list[str]:
    """The names of categories that only group others: they have no object in any document, such as Roboflow's first."""
    categories = [entry for document in documents for entry in document.categories]
    used_names: set[str] = set()
    for document in documents:
        keys = {key for entry in document.annotations if is_key(key := entry.get("category_id"))}
        used_names |= {str(entry["name"]) for entry in document.categories if entry["id"] in keys}
    parents = {str(entry.get("supercategory")) for entry in categories if entry.get("supercategory") != entry["name"]}
    names = dict.fromkeys(str(entry["name"]) for entry in categories)
    return [name for name in names if name not in used_names and name in parents and not is_background(name)]


@dataclass(frozen=True)
class Classes:
    """The classes' names, the background first, and for each document the class ids of its categories' ids.

    groups: names of categories that are no classes, since they only group others.
    """

    names: list[str]
    ids: list[dict[Key, int]]
    groups: list[str] = field(default_factory=list)


def find_classes(documents: Sequence[Document], out: Path) -> Classes:
    """The classes of all documents of an export: their categories in the order of their ids, without those that only group.

    out: the data set's folder. If it has a file of classes, categories become its classes of the
    same names. labelme's category `__ignore__` is void. Raises `DataError` if the file lacks a category, if its class 0 is no
    background, for names that are no text, and for more than 255 classes.
    """
    file = _classes_file(out)
    groups = find_groups(documents)
    names = [_names(document, groups) for document in documents]
    objects = [name for each in names for name in each.values() if name != IGNORED and not is_background(name)]
    labels = read_labels(str(file)).names if file else list(dict.fromkeys(["background", *objects]))
    if len(labels) > VOID:
        paths = first_names(document.path for document in documents)
        raise DataError(f"{paths} has {len(labels)} classes with the background; a mask of 8 bits holds {VOID}")
    if not is_background(labels[BACKGROUND]):
        raise DataError(
            f"{file} has the class {labels[BACKGROUND]!r} as 0, but pixels without an object get 0: put a class background "
            "first, or give another --out"
        )
    errors = []
    for document, by_id in zip(documents, names, strict=True):
        if unknown := sorted(set(by_id.values()) & set(objects) - set(labels)):
            errors.append(
                DataError(
                    f"{document.path} has the categories {', '.join(unknown)}, which {file} lacks; its classes are "
                    f"{', '.join(labels)}: import a file with all categories first, or remove {file}"
                )
            )
    raise_all(errors)
    values = {name: VOID if name == IGNORED else BACKGROUND for each in names for name in each.values()}
    values |= {name: labels.index(name) for name in objects}
    return Classes(labels, [{key: values[name] for key, name in each.items()} for each in names], groups)


def _names(document: Document, groups: Collection[str]) -> dict[Key, str]:
    """The names of a document's categories by id, in the order of the ids; raises `DataError` for one that is no text."""
    categories = [entry for entry in document.categories if str(entry["name"]) not in groups]
    try:
        categories.sort(key=lambda entry: (isinstance(entry["id"], str), entry["id"]))  # numbers first, then texts
        return {entry["id"]: class_name(entry["name"]) for entry in categories}
    except LabelError as error:
        raise DataError(f"{document.path}: a category: {error}") from error


def _classes_file(out: Path) -> Path | None:
    return next((out / name for name in FILES if (out / name).is_file()), None)


def save_mask(path: Path, mask: Ids, palette: bytes) -> None:
    """Writes class ids (H, W) as a PNG that viewers show in the classes' colours. palette: as of `mask_palette`."""
    image = Image.fromarray(mask)
    image.putpalette(palette)
    image.save(path)


def mask_palette(out: Path, labels: Sequence[str]) -> bytes:
    """The 256 colours of masks of these classes: those of the folder's file of classes, or else VOC's."""
    if not labels:  # after an error, so that no mask is kept
        return bytes(3 * 256)
    file = _classes_file(out)
    colors = (read_labels(str(file)) if file else numbered_labels(labels)).palette
    return bytes(value for color in colors for value in color)


def write_classes(out: Path, labels: Sequence[str]) -> None:
    """Writes a `classes.json` of these classes in VOC's colours, unless the folder has a file of classes."""
    if _classes_file(out):
        return
    document = {"classes": numbered_labels(labels).to_list(), "ignore_index": VOID}
    write_file(out / FILES[0], json.dumps(document, indent=1) + "\n", follow=False)
