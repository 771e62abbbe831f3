"""Networks that find objects are refused by the shapes of all their outputs, and semantic ones beside other outputs are not."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from model.labels import numbered_labels
from tests.support.training.conversions import converted
from tests.support.training.mask_networks import network_of_outputs
from training.converting.graph import ConversionError

SQUARE = (640, 640)
CELLS = 80 * 80 + 40 * 40 + 20 * 20  # of a photo of 640x640, at strides of 8, 16 and 32


COEFFICIENTS, QUERIES = {"output1": (32, 4)}, {"pred_masks": (20, 4)}  # outputs that are maps
OF_R_CNN = {"share": ["masks"], "whole_numbers": ["labels"]}
OBJECTS = {"boxes": (1, 4), "labels": (1,), "scores": (1,)}
DETECTORS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "YOLOv8-seg": ({"maps": COEFFICIENTS, "others": {"output0": (1, 116, CELLS)}, "sides": SQUARE}, [32]),
    "YOLOv5-seg": ({"maps": COEFFICIENTS, "others": {"output0": (1, 3 * CELLS, 117)}, "sides": SQUARE}, [32]),
    "YOLO of any size": ({"maps": COEFFICIENTS, "others": {"output0": (1, 116, 315)}, "sides": ("height", "width")}, [32]),
    "YOLO26-seg": ({"maps": COEFFICIENTS, "others": {"output0": (1, 300, 38)}}, [32]),
    "Mask R-CNN, one object": ({"maps": {"masks": (1, 1)}, "others": OBJECTS, **OF_R_CNN}, [2]),
    "MMDetection's": ({"maps": {"masks": (100, 1)}, "others": {"dets": (1, 100, 5), "labels": (1, 100)}, **OF_R_CNN}, [4]),
    "DETR": ({"maps": QUERIES, "others": {"pred_boxes": (1, 20, 4)}, "scores": {"logits": (20, 4)}}, [3]),
    "DETR of COCO": ({"maps": QUERIES, "others": {"pred_boxes": (1, 20, 4)}, "scores": {"logits": (20, 92)}}, [20]),
    "RF-DETR": ({"maps": {"masks": (20, 4)}, "others": {"dets": (1, 20, 4)}, "scores": {"labels": (20, 91)}}, [90]),
    "SparseInst": ({"maps": QUERIES, "scores": {"pred_logits": (20, 80), "pred_scores": (20, 1)}}, [79, 20]),
    "no object": ({"maps": {"masks": (0, 4)}, "others": {"boxes": (1, 0, 4), "logits": (1, 0, 92)}}, [91]),
    "auxiliary": ({"maps": QUERIES, "others": {"aux_boxes": (1, 20, 4)}, "scores": {"labels": (20, 4)}}, [3]),
}
"""Networks, and numbers of classes that may be named: also as many as there are masks."""


@pytest.mark.parametrize("detector", DETECTORS)
def test_boxes_are_refused(tmp_path: Path, detector: str) -> None:
    network, numbers = DETECTORS[detector]
    source = network_of_outputs(tmp_path / "net.onnx", **network)
    for classes, output in product(numbers, (None, *(["output1"] if "output1" in network["maps"] else []))):
        with pytest.raises(ConversionError, match="boxes of objects") as error:
            converted(source, labels=numbered_labels([f"class {index}" for index in range(classes)]), output=output)
        text = str(error.value)
        assert len(text.splitlines()) == 1
        assert all(name in text for name in (*network["maps"], "(1, classes, rows, columns)"))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_boxes_alone_are_refused(tmp_path: Path) -> None:
    """RT-DETR."""
    source = network_of_outputs(tmp_path / "net.onnx", {}, {"pred_boxes": (1, 300, 4)}, scores={"logits": (300, 80)})
    with pytest.raises(ConversionError, match=r"boxes of objects.*pred_boxes 1x300x4 float32"):
        converted(source)


def test_scores_of_whole_masks_are_refused(tmp_path: Path) -> None:
    """Segment Anything: three masks, and how good each of them is."""
    source = network_of_outputs(tmp_path / "net.onnx", {"low_res_masks": (3, 4)}, {"iou_predictions": (1, 3)})
    for output in (None, "low_res_masks"):
        with pytest.raises(ConversionError, match=r"the output iou_predictions is no map.* find objects are not served"):
            converted(source, output=output)


def test_a_semantic_network_that_names_the_photo_too_is_served_by_its_output(tmp_path: Path) -> None:
    """segmentation_models.pytorch with `aux_params`."""
    source = network_of_outputs(tmp_path / "net.onnx", {"mask": (3, 1)}, {"label": (1, 3)})
    with pytest.raises(ConversionError, match=r"label 1x3 .*: --output mask"):
        converted(source)
    assert converted(source, output="mask")[0].architecture.output == "logits"


def test_a_semantic_network_that_finds_objects_too_is_served_by_its_output(tmp_path: Path) -> None:
    """YOLOP: boxes, and maps of the photo's own size."""
    source = network_of_outputs(tmp_path / "net.onnx", {"lanes": (3, 1)}, {"boxes": (1, 315, 6)})
    with pytest.raises(ConversionError, match=r"boxes of objects.*--output lanes"):
        converted(source)
    assert converted(source, output="lanes")[0].training["output"].startswith("lanes")


@pytest.mark.parametrize(
    "network",
    [
        {"maps": {"out": (3, 8), "aux": (3, 8)}},
        {"maps": {"out": (3, 1), "aux": (3, 8)}, "others": {"aux_scores": (1, 3)}},
        {"maps": {"out": (3, 1)}, "others": {"loss": ()}},
    ],
)
def test_heads_for_training_are_left_out(tmp_path: Path, network: dict[str, Any]) -> None:
    source = network_of_outputs(tmp_path / "net.onnx", **network)
    assert converted(source)[0].training["output"].startswith("out:")
