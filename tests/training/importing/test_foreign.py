"""Exports that are not read are named in one line, with the export to choose, alone, in a folder and in a zip."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.training.coco import SQUARE, Import, document, thing, write_export, write_photo
from training.importing.exports import foreign_document, foreign_text, read_exports
from training.importing.omissions import Omissions

PANOPTIC = document(images=[], annotations=[{"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 1}]}])
RESULTS = [{"image_id": 1, "category_id": 1, "segmentation": [SQUARE], "score": 0.9}]
SUPERVISELY = {"description": "", "tags": [], "size": {"height": 9, "width": 9}, "objects": []}
VIA = {"a.png123": {"filename": "a.png", "size": 123, "regions": [], "file_attributes": {}}}
DATUMARO = {"info": {}, "categories": {"label": {"labels": []}}, "items": []}
CVAT_XML = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n</annotations>\n'
BOX_XML = "<annotation>\n<filename>a.png</filename><object><bndbox><xmin>1</xmin></bndbox></object></annotation>"
LABELME_XML = "<annotation><filename>a.png</filename><object><polygon><pt><x>1</x></pt></polygon></object></annotation>"
LABELBOX = '{"data_row": {"id": "x"}, "projects": {}}\n{"data_row": {"id": "y"}, "projects": {}}\n'

EXPORTS: dict[str, tuple[dict[str, Any], str]] = {
    "COCO panoptic": ({"annotations/panoptic_val.json": PANOPTIC}, "is COCO's panoptic format"),
    "COCO results": ({"results.json": RESULTS}, "is COCO's results, which lack images and categories"),
    "COCO captions": ({"captions.json": {"images": [], "annotations": [{"caption": "x"}]}}, "is COCO's captions"),
    "CVAT for images": ({"annotations.xml": CVAT_XML, "images/a.png": b""}, "is CVAT's XML: export COCO 1.0 or Segmentation"),
    "CVAT's Datumaro": ({"annotations/default.json": DATUMARO}, "is Datumaro's JSON: export COCO 1.0 from CVAT"),
    "CVAT's backup": ({"task.json": {"name": "x"}, "annotations.json": [{"shapes": [], "tracks": []}]}, "is CVAT's backup"),
    "CVAT's YOLO 1.1": (
        {"obj.data": "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n", "obj_train_data/a.txt": ""},
        "obj.data is YOLO's list of classes: export COCO (CVAT: COCO 1.0",
    ),
    "CVAT's LabelMe": ({"default/a.xml": LABELME_XML}, "is the XML of LabelMe for the web"),
    "Pascal VOC": ({"Annotations/a.xml": BOX_XML, "ImageSets/Main/train.txt": "a\n"}, "is Pascal VOC's XML, which has boxes"),
    "Ultralytics": ({"data.yaml": "# x\n\npath: .\nnames:\n 0: x\n", "labels/train/a.txt": ""}, "is YOLO's list of classes"),
    "YOLO's polygons": ({"labels/a.txt": "0 0.1 0.2 0.3 0.4 0.5 6e-1\n1 0 0 1 1 1 0\n"}, "a.txt is labels of YOLO"),
    "Label Studio's YOLO": (
        {"notes.json": {"categories": [], "info": {}}, "classes.txt": "leaf\n", "labels/a.txt": "0 .5 .5 .2 .2"},
        "a.txt is labels of YOLO: export COCO (CVAT: COCO 1.0; Roboflow: COCO Segmentation), or JSON from Label Studio",
    ),
    "Label Studio's CSV": ({"project.csv": "image,id,tag\n/data/a.png,1,[]\n"}, "is a table"),
    "Label Studio's NumPy": ({"task-1-tag.npy": b"\x93NUMPY\1\0"}, "export JSON from Label Studio"),
    "Supervisely": ({"meta.json": {"classes": [], "tags": []}, "ds/ann/a.png.json": SUPERVISELY}, "is Supervisely's list"),
    "Supervisely's file": ({"ann/a.png.json": SUPERVISELY}, "export COCO with its app Export to COCO"),
    "VIA": ({"via_region_data.json": VIA}, "is VIA's JSON: choose Annotation, Export Annotations (COCO format)"),
    "VIA's project": ({"via.json": {"_via_settings": {}, "_via_img_metadata": VIA}}, "is a project of VIA"),
    "VIA's CSV": ({"via.csv": "#filename,file_size,file_attributes\na.png,1,{}\n"}, "is a table"),
    "Labelbox": ({"export.ndjson": LABELBOX}, "is Labelbox's NDJSON: convert it to COCO's JSON"),
    "Labelbox's JSON": ({"export.json": [{"ID": "x", "Labeled Data": "a.png", "Label": {}}]}, "is Labelbox's JSON"),
    "Roboflow's JSONL": ({"train/x.jsonl": '{"image": "a.png"}\n{"image": "b.png"}\n'}, "is lines of JSON instead of one"),
    "Roboflow's CreateML": (
        {"train/x.createml.json": [{"image": "a.png", "annotations": [{"label": "x", "coordinates": {"x": 1}}]}]},
        "is CreateML's JSON, which has boxes alone",
    ),
    "V7": ({"a.json": {"version": "2.0", "item": {"name": "a.png"}, "annotations": []}}, "is V7's JSON of one image"),
    "GeoJSON": ({"a.geojson": {"type": "FeatureCollection", "features": []}}, "is GeoJSON: give it as --vector"),
    "GeoPackage": ({"a.gpkg": b"SQLite format 3\0"}, "is polygons of a GIS: give them as --vector"),
    "archive": ({"a.tar.gz": b"\x1f\x8b\x08\0"}, "is an archive: unpack it"),
    "nothing": ({"result.json": {}}, "is an empty JSON document, {}: label the images"),
    "nothing below": ({"a/b/result.json": {}}, "is an empty JSON document, {}: label the images"),
    "no entries": ({"result.json": [{}, {}]}, "is an empty JSON document, [{}, {}]: label the images"),
    "no list": ({"result.json": []}, "is an empty JSON document, []: label the images"),
    "null": ({"result.json": "null"}, "is an empty JSON document, null: label the images"),
    "two of nothing": ({"a.json": {}, "b.json": {}}, "a.json is an empty JSON document, {}: label the images"),
    "unknown JSON": ({"x.json": {"a": 1, "b": [2]}}, "has no images, annotations, categories, but a, b: is it COCO's format"),
    "unknown list": ({"x.json": [{"a": 1, "b": 2}]}, "lacks annotations, an entry has a, b: from Label Studio, export JSON"),
    "folder of files": ({"a/notes.md": "image formats"}, "holds no known export; expected COCO's JSON"),
}  # fmt: skip


@pytest.fixture(params=EXPORTS)
def export(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """The folder of an export, and what is said of it."""
    files, message = EXPORTS[request.param]
    for name, content in files.items():
        path = tmp_path / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            write_photo(path)
        else:
            data = content if isinstance(content, bytes | str) else json.dumps(content)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return tmp_path / "export", message


def test_an_export_that_is_not_read_is_named(export: tuple[Path, str], run_import: Import, tmp_path: Path) -> None:
    folder, message = export
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", folder))
    for path in (folder, archive):
        error = run_import(path, status=2)
        assert message in error
        assert error.startswith(f"fcn-import: {path}")
        assert error.count("\n") == 1
        assert not (tmp_path / "data").exists()
    if message.startswith(("is ", "a.txt is", "obj.data is")):
        first, _, words = run_import(folder, status=2).removeprefix("fcn-import: ").partition(" is ")
        assert run_import(Path(first), status=2) == f"fcn-import: {first} is {words}"


def test_several_documents_are_told(run_import: Import, tmp_path: Path) -> None:
    for name in ("train", "val"):
        write_export(tmp_path / "export" / f"{name}.json", document(thing()))
    error = run_import(tmp_path / "export", status=2)
    assert "holds 2 JSON files" in error
    assert "give one after the other, with its --split" in error


def test_what_is_read_is_not_named(tmp_path: Path) -> None:
    """Also with the parts that tools add."""
    content = document(thing(), info={"contributor": "Label Studio"}, licenses=[{"name": "", "id": 0}])
    file = write_export(tmp_path / "labels.json", content)
    assert foreign_text(file) is None
    assert foreign_document(content) is None
    assert [export.path for export in read_exports(tmp_path, Omissions())] == [file]
    for text in ("", " ", "{", "[" * 5000, "1 2 3", "1 " * 3_000 + "x", "a\n" * 30_000, "\n" * 60_000 + "x:", "<" * 60_000):
        file.write_text(text)
        assert foreign_text(file) is None
