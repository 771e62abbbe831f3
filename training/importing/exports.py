"""Finds out what a labelling tool exported, and reads it as documents of COCO's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from training.data.label_files import FILES
from training.data.layouts import list_frames
from training.data.problems import DataError, first_names
from training.data.strict_text import require_json
from training.importing.coco import Document, make_document
from training.importing.foreign import foreign_document, foreign_file, foreign_text
from training.importing.label_studio.tasks import read_label_studio
from training.importing.labelme import is_labelme, read_labelme
from training.importing.omissions import Omissions

ROBOFLOW = "_annotations.coco.json"
CVAT = "instances_*.json"
NO_LABELS = (FILES[0], "notes.json")  # our own classes, and what Label Studio writes beside labels for YOLO
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
KNOWN = (
    f"COCO's JSON, Label Studio's JSON, a folder of labelme's JSON files, Roboflow's splits (train/{ROBOFLOW}), or CVAT's "
    "annotations (annotations/instances_*.json)"
)
NO_FIELD = "--image-field is for the tasks of Label Studio's JSON"


def split_name(text: str) -> str:
    """The split that `--split` names, as trainings look for it; empty without one. Raises `DataError` for a path."""
    if text != Path(text).name:
        raise DataError(f"--split must be a name without folders, such as train, got {text!r}")
    return SPLITS.get(text.lower(), text)


def read_exports(path: Path, omissions: Omissions, image_field: str | None = None) -> list[Document]:
    """The documents of a file or folder that a tool exported, one for each split.

    omissions: counts what is not drawn as an object; its errors must end the import as well. image_field: the field of Label
    Studio's tasks that holds the image. Files that cannot be read are among the errors of their documents. Raises `DataError`
    for an export of no known kind.
    """
    if not path.is_dir():
        return _read_files({path: ""}, omissions, image_field)
    roboflow = {file: SPLITS.get(file.parent.name.lower(), file.parent.name) for file in sorted(path.glob(f"*/{ROBOFLOW}"))}
    subsets = sorted([*path.glob(CVAT), *path.glob(f"annotations/{CVAT}")])
    cvat = {file: SPLITS.get(file.stem.removeprefix("instances_").lower(), "") for file in subsets}
    documents = [file for file in sorted(path.glob("[!.]*.json")) if file.name not in NO_LABELS]
    single = dict.fromkeys(documents if len(documents) == 1 and not _is_labelme_file(documents[0]) else (), "")
    if splits := roboflow or cvat or single:
        return _read_files(splits, omissions, image_field)
    if (labelme := read_labelme(path, omissions)) is not None:
        if image_field:
            raise DataError(f"{NO_FIELD}, and {path} has labelme's files")
        return [labelme]
    raise DataError(_no_export(path, documents))


def _is_labelme_file(path: Path) -> bool:
    """Whether a JSON file is labelme's, or damaged, so that whoever reads the folder says what is wrong."""
    try:
        return is_labelme(require_json(path))
    except DataError:
        return True


def _no_export(path: Path, documents: Sequence[Path]) -> str:
    """What a folder is without a known export, and what to do."""
    if is_data_set(path):
        return f"{path} holds masks that fcn-check and fcn-train read as they are: give them this folder"
    if (path / "SegmentationClass").is_dir() and not (path / "JPEGImages").is_dir():
        return f"{path} holds masks without photos: export them with images, or copy the photos into JPEGImages"
    if words := foreign_file(path):
        return words
    if documents:
        return f"{path} holds {len(documents)} JSON files, {first_names(documents)}: give one after the other, with its --split"
    return f"{path} holds no known export; expected {KNOWN}; PNGs of Label Studio do not say of which image they are"


def is_data_set(path: Path) -> bool:
    """Whether a folder has photos and masks that trainings read as they are."""
    for split in SPLITS:
        with suppress(DataError):
            if list_frames(path, split).frames:
                return True
    return False


def _read_files(splits: Mapping[Path, str], omissions: Omissions, image_field: str | None) -> list[Document]:
    """The documents of JSON files with these splits. A file that cannot be read gives an empty one with its errors."""
    documents: list[Document] = []
    for path, split in splits.items():
        try:
            documents.append(_read_file(path, omissions, image_field))
        except DataError as error:
            documents.append(Document(path, errors=error.each))
        documents[-1].split = split
    return documents


def _read_file(path: Path, omissions: Omissions, image_field: str | None) -> Document:
    """The document of a JSON file of COCO's or of Label Studio's form."""
    if words := foreign_text(path):
        raise DataError(f"{path} is {words}")
    content: Any = require_json(path)
    if words := foreign_document(content):
        raise DataError(f"{path} is {words}")
    if isinstance(content, list):
        return read_label_studio(path, content, omissions, image_field)
    if image_field:
        raise DataError(f"{NO_FIELD}, and {path} has none")
    if is_labelme(content):
        raise DataError(f"{path} is labelme's file of one image: give the folder {path.parent}")
    return make_document(path, content)
