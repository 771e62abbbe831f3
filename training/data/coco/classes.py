"""Turns the categories of a COCO document into classes: their names, their order, and which categories are no classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imaging.classes import VOID, is_background
from model.labels import LabelError, voc_color
from training.data.coco.files import Document, Key, is_key
from training.data.coco.objects import BACKGROUND
from training.data.label_files import IGNORED, class_name, read_labels
from training.data.problems import DataError


def find_groups(document: Document) -> dict[Key, str]:
    """Categories that only group others and have no objects, such as the first of each Roboflow export: their names by id."""
    used = {key for entry in document.annotations if is_key(key := entry.get("category_id"))}
    parents = {str(entry.get("supercategory")) for entry in document.categories if entry.get("supercategory") != entry["name"]}
    return {
        entry["id"]: str(entry["name"])
        for entry in document.categories
        if entry["id"] not in used and str(entry["name"]) in parents and not is_background(str(entry["name"]))
    }


def find_classes(
    categories: Sequence[Mapping[str, Any]], file: Path | None, annotations: Path
) -> tuple[list[str], dict[Key, int]]:
    """The classes' names, the background first, and the class id of each category's id.

    file: existing file of classes, if any: categories then become its classes of the same names. labelme's category
    `__ignore__` is void. Raises `DataError` if the file lacks a category, if its class 0 is not a background, for names that
    are no text, and for more than 255 classes.
    """
    try:
        names = {entry["id"]: class_name(entry["name"]) for entry in sorted(categories, key=_order)}
    except LabelError as error:
        raise DataError(f"{annotations}: a category: {error}") from error
    objects = [name for name in names.values() if name != IGNORED and not is_background(name)]
    labels = read_labels(str(file)).names if file else list(dict.fromkeys(["background", *objects]))
    if len(labels) > VOID:
        raise DataError(f"{annotations} has {len(labels)} classes with the background; a mask of 8 bits holds {VOID}")
    if not is_background(labels[BACKGROUND]):
        raise DataError(
            f"{file} has the class {labels[BACKGROUND]!r} as 0, but pixels without an object get 0: put a class background "
            "first, or give another --out"
        )
    if unknown := sorted(set(objects) - set(labels)):
        raise DataError(
            f"{annotations} has the categories {', '.join(unknown)}, which {file} lacks; its classes are "
            f"{', '.join(labels)}: import a file with all categories first, or remove {file}"
        )
    special = {key: VOID if name == IGNORED else BACKGROUND for key, name in names.items() if name not in objects}
    return labels, {key: special[key] if key in special else labels.index(name) for key, name in names.items()}


def _order(category: Mapping[str, Any]) -> tuple[bool, Any]:
    """Sort key by id: numbers first, then texts."""
    return isinstance(category["id"], str), category["id"]


def write_classes(path: Path, labels: Sequence[str]) -> None:
    """Writes a `classes.json` of these classes in VOC's colours."""
    colors = ("#{:02x}{:02x}{:02x}".format(*voc_color(index)) for index in range(len(labels)))
    classes = [
        {"id": index, "name": name, "color": color} for index, (name, color) in enumerate(zip(labels, colors, strict=True))
    ]
    path.write_text(json.dumps({"classes": classes, "ignore_index": VOID}, indent=1) + "\n", encoding="utf-8")
