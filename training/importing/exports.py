"""Finds out what a labelling tool exported, and reads it as documents of COCO's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.data.problems import DataError
from training.data.strict_text import require_json
from training.importing.coco import Document, make_document
from training.importing.label_studio.tasks import read_label_studio
from training.importing.labelme import labelme_files, read_labelme
from training.importing.omissions import Omissions

ROBOFLOW = "_annotations.coco.json"
CVAT = "instances_*.json"
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
KNOWN = (
    f"COCO's JSON, Label Studio's JSON, a folder of labelme's JSON files, Roboflow's splits (train/{ROBOFLOW}), or CVAT's "
    "annotations (annotations/instances_*.json)"
)
NO_FIELD = "--image-field is for the tasks of Label Studio's JSON"


@dataclass(frozen=True)
class ToolExport:
    """One document of an export.

    path: its file, or its folder if each image has a file of its own. split: the split that the tool put it into, empty without
    one. notes: facts for the user. errors: of a file that cannot be read, and of objects and images that are not in the
    document. They must end the import, and are kept until the photos have been looked for: all errors are told at once.
    """

    path: Path
    document: Document
    split: str = ""
    notes: list[str] = field(default_factory=list)
    errors: list[DataError] = field(default_factory=list)


def split_name(text: str) -> str:
    """The split that `--split` names, as trainings look for it; empty without one. Raises `DataError` for a path."""
    if text != Path(text).name:
        raise DataError(f"--split must be a name without folders, such as train, got {text!r}")
    return SPLITS.get(text.lower(), text)


def read_exports(path: Path, omissions: Omissions, image_field: str | None = None) -> list[ToolExport]:
    """The documents of a file or folder that a tool exported, one for each split.

    omissions: counts what is not drawn as an object; its errors must end the import as well. image_field: the field of Label
    Studio's tasks that holds the image. Files that cannot be read are among the errors of their exports. Raises `DataError`
    for an export of no known kind.
    """
    if not path.is_dir():
        return _read_files({path: ""}, omissions, image_field)
    roboflow = {file: SPLITS.get(file.parent.name.lower(), file.parent.name) for file in sorted(path.glob(f"*/{ROBOFLOW}"))}
    subsets = sorted([*path.glob(CVAT), *path.glob(f"annotations/{CVAT}")])
    cvat = {file: SPLITS.get(file.stem.removeprefix("instances_").lower(), "") for file in subsets}
    if splits := roboflow or cvat:
        return _read_files(splits, omissions, image_field)
    documents = sorted(path.glob("[!.]*.json"))
    labelme = labelme_files(path)
    if len(documents) == 1 and documents != labelme:
        return _read_files({documents[0]: ""}, omissions, image_field)
    if labelme and image_field:
        raise DataError(f"{NO_FIELD}, and {path} has labelme's files")
    if labelme:
        document, notes, errors = read_labelme(path, labelme, omissions)
        return [ToolExport(path, document, notes=notes, errors=errors)]
    raise DataError(f"{path} holds no known export; expected {KNOWN}; PNGs of Label Studio do not say of which image they are")


def _read_files(splits: Mapping[Path, str], omissions: Omissions, image_field: str | None) -> list[ToolExport]:
    """The exports of JSON files with these splits. A file that cannot be read gives an empty document with its errors."""
    exports: list[ToolExport] = []
    for path, split in splits.items():
        try:
            exports.append(_read_file(path, split, omissions, image_field))
        except DataError as error:
            exports.append(ToolExport(path, Document([], [], []), split, errors=error.each))
    return exports


def _read_file(path: Path, split: str, omissions: Omissions, image_field: str | None) -> ToolExport:
    """The export of a JSON file of COCO's or of Label Studio's form."""
    content: Any = require_json(path)
    if isinstance(content, list):
        document, notes, errors = read_label_studio(path, content, omissions, image_field)
        return ToolExport(path, document, split, notes, errors)
    if image_field:
        raise DataError(f"{NO_FIELD}, and {path} has none")
    if isinstance(content, dict) and "shapes" in content and "imagePath" in content:
        raise DataError(f"{path} is labelme's file of one image: give the folder {path.parent}")
    return ToolExport(path, make_document(path, content), split)
