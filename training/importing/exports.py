"""Finds out what a labelling tool exported: reads it as documents of COCO's form, or names it with what to export instead."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.regular_file import open_regular_file
from imaging.decoding import IMAGE_ENDINGS
from training.data.label_files import FILES
from training.data.layouts import list_frames
from training.data.problems import DataError, first_names
from training.data.strict_text import require_json
from training.importing.coco import SHOWN, SPLITS, Document, make_document
from training.importing.label_studio.tasks import read_label_studio
from training.importing.labelme import is_labelme, read_labelme
from training.importing.omissions import Omissions
from training.importing.yolo import read_yolo, yolo_file

ROBOFLOW = "_annotations.coco.json"
CVAT = "instances_*.json"
NO_LABELS = (FILES[0], "notes.json")  # our own classes, and what Label Studio writes beside labels for YOLO
KNOWN = (
    f"COCO's JSON, Label Studio's JSON, a folder of labelme's JSON files, Roboflow's splits (train/{ROBOFLOW}), CVAT's "
    "annotations (annotations/instances_*.json), or YOLO's folders of polygons with data.yaml"
)
NO_FIELD = "--image-field is for the tasks of Label Studio's JSON"
COCO = "export COCO (CVAT: COCO 1.0; Roboflow: COCO Segmentation), or JSON from Label Studio"
HEAD = 1 << 13  # bytes of a file that tell what it is
MOST_FILES = 1000  # of a folder that are looked into
NUMBER = rb"[ \t]+-?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
TEXTS = (
    (rb"[\s\xef\xbb\xbf]*<(?:[^\0]*?<)?annotations\b", "CVAT's XML: export COCO 1.0 or Segmentation mask 1.1 from CVAT"),
    (rb"[\s\xef\xbb\xbf]*<(?:[^\0]*?<)?annotation\b[^\0]*<polygon\b", f"the XML of LabelMe for the web: {COCO}"),
    (rb"[\s\xef\xbb\xbf]*<(?:[^\0]*?<)?annotation\b", f"Pascal VOC's XML, which has boxes alone: {COCO}, with polygons"),
    (rb"(?!\s*[\[{<])(?=[^\0]*?^(names|nc)[ \t]*[:=])", f"YOLO's list of classes: {COCO}"),
    (rb"\s*\d+(?:" + NUMBER + rb"){4,}[ \t\r]*(\n|\Z)", f"labels of YOLO: {COCO}"),
    (rb'\s*\{[^\n\0]*"data_row"', "Labelbox's NDJSON: convert it to COCO's JSON for objects"),
    (rb"\s*\{[^\n\0]*\}\s*\n\s*\{", f"lines of JSON instead of one document: {COCO}"),
    (rb"#?\"?(filename|image|file_name|id)[^\n\0]*[,\t;][^\n\0]*\n", f"a table: {COCO}"),
    (rb"\x93NUMPY", "NumPy's array, as Label Studio exports brush labels: export JSON from Label Studio"),
    (rb"SQLite format 3|fgb\x03|\0\0\x27\x0a", "polygons of a GIS: give them as --vector, and their scene as --raster"),
    (rb"\xff\xd8\xff|\x89PNG|II\*\0|MM\0\*|GIF8|RIFF|BM", "an image: give what the tool exported, or --raster for maps"),
    (rb"PK\x03\x04", "a zip under another name: let it end in .zip"),
    (rb"\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|.{257}ustar", "an archive: unpack it and give the folder"),
)  # fmt: skip
"""Patterns of a file's first bytes, and what it is."""
DOCUMENTS = (
    (("annotations.*.segments_info",), "COCO's panoptic format, whose masks are PNGs: make COCO's JSON for objects of it with "
     "panoptic2detection_coco_format.py of panopticapi"),
    (("annotations.*.caption",), "COCO's captions: give the file of its objects (instances)"),
    (("*.image_id", "*.category_id"), "COCO's results, which lack images and categories: give the document of the labels"),
    (("type", "features"), "GeoJSON: give it as --vector, and its scene as --raster"),
    (("categories.label", "items"), "Datumaro's JSON: export COCO 1.0 from CVAT"),
    (("*.shapes", "*.tracks"), "CVAT's backup of a task: export the task as COCO 1.0"),
    (("classes", "tags"), "Supervisely's list of classes: export COCO with its app Export to COCO"),
    (("objects", "size.height"), "Supervisely's JSON of one image: export COCO with its app Export to COCO"),
    (("_via_img_metadata",), "a project of VIA: choose Annotation, Export Annotations (COCO format)"),
    (("*.filename", "*.regions"), "VIA's JSON: choose Annotation, Export Annotations (COCO format)"),
    (("*.data_row",), "Labelbox's JSON: convert it to COCO's JSON for objects"),
    (("*.Labeled Data",), "Labelbox's JSON: convert it to COCO's JSON for objects"),
    (("*.image", "*.annotations.*.coordinates"), f"CreateML's JSON, which has boxes alone: {COCO}"),
    (("item", "annotations"), "V7's JSON of one image: export COCO from V7"),
    (("metadata", "instances"), "SuperAnnotate's JSON of one image: convert it to COCO's JSON for objects"),
    (("asset", "regions"), "VoTT's JSON of one image: convert it to COCO's JSON for objects"),
    (("imgHeight", "objects"), "Cityscapes' polygons of one image: convert them to COCO's JSON for objects"),
)  # fmt: skip
"""Keys of a JSON document, as paths in which * is the first entry of a list or the first value of an object; what it is."""


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
    yolo = yolo_file(path)
    if not path.is_dir() and not yolo:
        return _read_files({path: ""}, omissions, image_field)
    roboflow = {file: SPLITS.get(file.parent.name.lower(), file.parent.name) for file in sorted(path.glob(f"*/{ROBOFLOW}"))}
    subsets = sorted([*path.glob(CVAT), *path.glob(f"annotations/{CVAT}")])
    cvat = {file: SPLITS.get(file.stem.removeprefix("instances_").lower(), "") for file in subsets}
    documents = [file for file in sorted(path.glob("[!.]*.json")) if file.name not in NO_LABELS]
    single = dict.fromkeys(documents if len(documents) == 1 and not _is_labelme_file(documents[0]) else (), "")
    if splits := roboflow or cvat or single:
        return _read_files(splits, omissions, image_field)
    if yolo:
        if image_field:
            raise DataError(f"{NO_FIELD}, and {yolo} is YOLO's")
        return read_yolo(yolo, omissions)
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


def foreign_text(path: Path) -> str | None:
    """What a file is by its first bytes, and what to export instead; None for one that may be read."""
    try:
        with open_regular_file(path) as (file, status):
            head = file.read(min(HEAD, status.st_size))
    except (OSError, ValueError):  # whoever reads it says why
        return None
    return next((words for pattern, words in TEXTS if re.match(pattern, head, re.DOTALL | re.MULTILINE)), None)


def foreign_document(content: Any) -> str | None:
    """What a JSON document is, and what to export instead; None for one that may be read."""
    if not content or (isinstance(content, list) and not any(content)):
        return f"an empty JSON document, {json.dumps(content)[:SHOWN]}: label the images, and export them again"
    return next((words for paths, words in DOCUMENTS if all(_has(content, path.split(".")) for path in paths)), None)


def _has(content: Any, keys: list[str]) -> bool:
    for key in keys:
        if key == "*" and isinstance(content, list | dict):
            content = next(iter(content.values() if isinstance(content, dict) else content), None)
        elif isinstance(content, dict) and key in content:
            content = content[key]
        else:
            return False
    return True


def foreign_file(folder: Path) -> str | None:
    """The first file of a folder that is known and not read, and what it is, in words; None if there is none."""
    files = sorted(folder.rglob("[!.]*"), key=lambda path: (len(path.parts), path))
    for path in [each for each in files if each.suffix.lower() not in IMAGE_ENDINGS and each.is_file()][:MOST_FILES]:
        words = foreign_text(path)
        if words is None and path.suffix.lower().endswith("json"):
            try:
                words = foreign_document(require_json(path))
            except DataError:
                continue
        if words:
            return f"{path} is {words}"
    return None
