"""Names what people export from labelling tools and what is not read, with the export to choose instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from imaging.decoding import IMAGE_ENDINGS
from model.regular_file import open_regular_file
from training.data.problems import DataError
from training.data.strict_text import require_json

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
