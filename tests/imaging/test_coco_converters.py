"""COCO documents through the importers of the annotation tools themselves, where their packages are installed.

They ask for other versions of numpy and pillow than the service, hence for an environment of their own, with label-studio-sdk,
datumaro, pytest, contourpy and shapely; there: `python -m pytest -c /dev/null --rootdir . --noconftest` and this file.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imaging.coco import coco_document
from imaging.encoding import mask_png
from model.labels import numbered_labels

NAMES = ["background", "circle", "square"]
LABELS = numbered_labels(NAMES)


def class_map() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    made = np.zeros((60, 80), np.uint8)
    made[5:35, 5:35] = 1
    made[12:18, 12:18] = 0
    made[40:55, 40:70] = 2
    return made


def written(folder: Path, tolerance: float | None) -> Path:
    path = folder / "annotations" / "instances_default.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(coco_document(class_map(), LABELS.classes, "photo.png", tolerance)))
    (folder / "images" / "default").mkdir(parents=True)
    (folder / "images" / "default" / "photo.png").write_bytes(mask_png(class_map(), LABELS.palette))
    return path


def test_label_studio_imports_the_polygons(tmp_path: Path) -> None:
    coco = pytest.importorskip("label_studio_sdk.converter.imports.coco")
    out = tmp_path / "tasks.json"
    coco.convert_coco_to_ls(str(written(tmp_path, 1.0)), str(out), use_super_categories=False, out_type="annotations")
    (task,) = json.loads(out.read_text())
    results = [result for result in task["annotations"][0]["result"] if "polygonlabels" in result["value"]]
    names = [result["value"]["polygonlabels"] for result in results]
    assert names == [["circle"], ["circle"], ["square"]]
    square = np.array(results[-1]["value"]["points"]) * [0.8, 0.6]
    np.testing.assert_allclose([square.min(0), square.max(0)], [[40, 40], [70, 55]], atol=1)


@pytest.mark.parametrize("tolerance", [None, 1.0])
def test_datumaro_which_cvat_imports_with_reads_every_region(tmp_path: Path, tolerance: float | None) -> None:
    datumaro = pytest.importorskip("datumaro")
    written(tmp_path, tolerance)
    (item,) = datumaro.Dataset.import_from(str(tmp_path), "coco_instances")
    names = datumaro.Dataset.import_from(str(tmp_path), "coco_instances").categories()[datumaro.AnnotationType.label]
    drawn = {name: np.zeros((60, 80), bool) for name in NAMES[1:]}
    kind = datumaro.AnnotationType.mask if tolerance is None else datumaro.AnnotationType.polygon
    for annotation in (each for each in item.annotations if each.type == kind):
        mask = annotation.image if tolerance is None else _filled(annotation)
        drawn[names[annotation.label].name] |= mask.astype(bool)
    for id, name in enumerate(NAMES[1:], 1):
        expected = class_map() == id
        assert (drawn[name] & expected).sum() > 0.95 * (drawn[name] | expected).sum()


def _filled(annotation: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    from pycocotools import mask

    points = annotation.points  # type: ignore[attr-defined]
    return np.asarray(mask.decode(mask.frPyObjects([list(points)], 60, 80))[..., 0])
