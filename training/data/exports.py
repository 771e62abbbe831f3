"""Finds out what a labelling tool exported, and reads it as documents of COCO's form."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.data.coco.files import Document, make_document
from training.data.hints import BRUSH_MASK
from training.data.label_studio import read_label_studio
from training.data.labelme import labelme_files, read_labelme
from training.data.problems import DataError, first_names
from training.data.text_files import read_text

ROBOFLOW = "_annotations.coco.json"
CVAT = "instances_*.json"
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
KNOWN = (
    f"COCO's JSON, Label Studio's JSON, a folder of labelme's JSON files, Roboflow's splits (train/{ROBOFLOW}), or CVAT's "
    "annotations (annotations/instances_*.json)"
)


@dataclass(frozen=True)
class Export:
    """One document of an export.

    path: its file, or its folder if each image has a file of its own. split: the split that the tool put it into, empty without
    one. notes: facts for the user.
    """

    path: Path
    document: Document
    split: str = ""
    notes: list[str] = field(default_factory=list)


def read_exports(path: Path) -> list[Export]:
    """The documents of a file or folder that a tool exported, one for each split.

    Raises `DataError` if it is of no known kind, and for everything that is wrong in a document.
    """
    if not path.is_dir():
        return [_read_file(path)]
    if files := sorted(path.glob(f"*/{ROBOFLOW}")):
        return [_read_file(file, SPLITS.get(file.parent.name.lower(), file.parent.name)) for file in files]
    if files := sorted([*path.glob(CVAT), *path.glob(f"annotations/{CVAT}")]):
        return [_read_file(file, SPLITS.get(file.stem.removeprefix("instances_").lower(), "")) for file in files]
    documents = sorted(path.glob("[!.]*.json"))
    labelme = labelme_files(path)
    if len(documents) == 1 and documents != labelme:
        return [_read_file(documents[0])]
    if labelme:
        document, notes = read_labelme(path)
        return [Export(path, document, notes=notes)]
    if masks := sorted(file.name for file in path.rglob("*.png") if BRUSH_MASK.match(file.name)):
        raise DataError(
            f"{path} has Label Studio's PNGs, such as {first_names(masks, 1)}, whose names do not say of which image they are: "
            "export JSON"
        )
    raise DataError(f"{path} holds no known export; expected {KNOWN}")


def _read_file(path: Path, split: str = "") -> Export:
    """The export of a JSON file of COCO's or of Label Studio's form."""
    try:
        content: Any = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if isinstance(content, list):
        document, notes = read_label_studio(path, content)
        return Export(path, document, split, notes)
    if isinstance(content, dict) and "shapes" in content and "imagePath" in content:
        raise DataError(f"{path} is labelme's file of one image: give the folder {path.parent}")
    return Export(path, make_document(path, content), split)
