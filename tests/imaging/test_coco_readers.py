"""COCO documents of polygons, read by Label Studio's own converter, which `make test-long` installs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from imaging.coco import coco_document
from model.labels import numbered_labels
from tests.support.checkout import ROOT
from tests.support.polling import HANG_S

CONVERTER = ROOT / "build" / "label-studio" / "bin" / "label-studio-converter"


@pytest.mark.long
@pytest.mark.skipif(not CONVERTER.exists(), reason="Label Studio is not installed")
def test_label_studio_s_converter_reads_one_polygon_for_each_region_with_its_holes(tmp_path: Path) -> None:
    class_map = np.zeros((240, 320), np.uint8)
    ys, xs = np.mgrid[:240, :320]
    class_map[np.hypot(xs - 160, ys - 120) < 100] = 1
    class_map[60:100, 100:150] = class_map[150:160, 200:240] = 0
    class_map[10:30, 10:40] = 2
    document = coco_document(class_map, numbered_labels(["background", "cup", "spoon"]).classes, range(256), "a.png", 0.0)
    labels, tasks = tmp_path / "labels.json", tmp_path / "tasks.json"
    labels.write_text(json.dumps(document))
    command = [CONVERTER, "import", "coco", "-i", labels, "-o", tasks, "--image-root-url", "/data/"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, timeout=HANG_S)
    (task,) = json.loads(tasks.read_text())
    polygons = [entry["value"] for entry in task["annotations"][0]["result"] if entry["type"] == "polygonlabels"]
    assert [value["polygonlabels"] for value in polygons] == [["cup"], ["spoon"]]
    for id, value in enumerate(polygons, 1):
        ring = (np.array(value["points"]) / 100 * [320, 240]).flatten().tolist()
        mask = coco.decode(coco.frPyObjects([ring], 240, 320))[:, :, 0].astype(bool)
        np.testing.assert_array_equal(mask, class_map == id)
